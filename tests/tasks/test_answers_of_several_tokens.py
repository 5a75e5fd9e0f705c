"""Answers that a tokenizer takes apart: compared at their first tokens, with the rest of the completion known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import ALPHABET, byte_level, fast, trained
from task_draws import drawn_pairs
from tokenizers import models
from transformers import PreTrainedTokenizerFast

from mechshift_core.tasks import TASKS, CounterfactualText
from mechshift_core.tasks.counterfactual import Example, align, generated_dataset
from mechshift_core.tasks.options import BEGINS_RIGHT, SAME_BEGINNING, SEVERAL_TOKENS, UNEQUAL_COMPLETIONS

PAIR = CounterfactualText("t", "ask Jo or An", "ask Jo or Bo", ("Jo",), ("An",), "k")


@pytest.fixture(scope="module")
def pieces() -> PreTrainedTokenizerFast:
    """A tokenizer of a few pieces; letters that no piece has stand alone."""
    merges: list[tuple[str, str]] = []
    for word in ("Ġask", "ask", "ĠJo", "Ġor", "ĠAn", "ĠBo", "ni"):
        merges += [(word[:at], word[at]) for at in range(1, len(word))]
    tokens = dict.fromkeys([*ALPHABET, *(first + second for first, second in merges)])
    model = models.BPE({token: at for at, token in enumerate(tokens)}, list(dict.fromkeys(merges)))
    return fast(byte_level(model, r" ?\d"))


@pytest.fixture(scope="module")
def lone_digits() -> PreTrainedTokenizerFast:
    """A tokenizer to which every digit is a token, and so is the space in front of one, as to Qwen and SmolLM2."""
    return trained(r"\d", ["ask Jo or An : 1 2 3 4"], vocabulary=400)


def aligned(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> Example:
    example = align(replace(PAIR, **changes), tokenizer)
    assert isinstance(example, Example), example
    return example


def shown(tokenizer: PreTrainedTokenizerFast, ids: tuple[int, ...]) -> list[str]:
    return [tokenizer.decode([token]) for token in ids]


def test_two_names_of_two_tokens_are_compared_at_the_first(pieces: PreTrainedTokenizerFast) -> None:
    example = aligned(pieces, answers=("Joni",), foils=("Anni",))
    assert (shown(pieces, example.answer_ids), shown(pieces, example.foil_ids)) == ([" Jo"], [" An"])
    assert (example.answer, example.foil) == ("Joni", "Anni")
    assert example.masks == 2 and example.revealed == 0
    assert shown(pieces, example.clean_rest_ids) == shown(pieces, example.corrupt_rest_ids) == ["ni"]


def test_what_follows_is_the_rest_too(pieces: PreTrainedTokenizerFast) -> None:
    rest = {"remainder": "or Jo", "corrupt_remainder": "ask An"}
    example = aligned(pieces, answers=("Joni",), foils=("Anni",), **rest)
    assert example.masks == 4
    assert shown(pieces, example.clean_rest_ids) == ["ni", " or", " Jo"]
    assert shown(pieces, example.corrupt_rest_ids) == ["ni", " ask", " An"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"answers": ("Joni",), "foils": ("Joan",)}, SAME_BEGINNING),
        ({"answers": ("Joni",), "foils": ("Jo",)}, SAME_BEGINNING),
        # As many masks as an answer has tokens would say which one it is.
        ({"answers": ("Joni",), "foils": ("An",)}, UNEQUAL_COMPLETIONS),
        ({"answers": ("Jo",), "foils": ("Anni",)}, UNEQUAL_COMPLETIONS),
        ({"answers": ("Joni", "Boni"), "foils": ("An",)}, SEVERAL_TOKENS),
        ({"answers": ("Jo", "Boni"), "foils": ("An", "Or")}, SEVERAL_TOKENS),
        # The prompt would go on rightly by what begins as the foil does, or the corrupted one as the answer does.
        ({"answers": ("Joni",), "foils": ("Anni",), "right": ("Joni", "Anna")}, BEGINS_RIGHT),
        ({"answers": ("Jo",), "foils": ("An",), "right": ("Jo", "Anna")}, BEGINS_RIGHT),
        ({"answers": ("Jo",), "foils": ("An",), "right_for_corrupt": ("An", "Jon")}, BEGINS_RIGHT),
    ],
)
def test_a_pair_that_says_too_much_or_nothing_is_dropped_with_the_reason(
    changes: dict[str, Any], reason: str, pieces: PreTrainedTokenizerFast
) -> None:
    assert align(replace(PAIR, **changes), pieces) == reason


def test_right_answers_that_begin_otherwise_drop_nothing(pieces: PreTrainedTokenizerFast) -> None:
    right = {"right": ("Joni", "Boni"), "right_for_corrupt": ("Anni", "Bo")}
    assert aligned(pieces, answers=("Joni",), foils=("Anni",), **right) == aligned(
        pieces, answers=("Joni",), foils=("Anni",)
    )


def test_forms_of_a_word_that_are_not_both_one_token_are_left_out(pieces: PreTrainedTokenizerFast) -> None:
    forms = {"answers": ("Jo", "or", "Joni"), "foils": ("An", "ask", "Bo"), "forms": True}
    example = aligned(pieces, **forms)
    assert shown(pieces, example.answer_ids) == [" Jo", " or"]
    assert shown(pieces, example.foil_ids) == [" An", " ask"]
    assert (example.answer, example.foil) == ("Jo or", "An ask")
    assert align(replace(PAIR, **{**forms, "answers": ("Joni", "Anni", "Boni")}), pieces) == SEVERAL_TOKENS


def test_a_space_of_its_own_in_front_of_both_answers_belongs_to_the_prompt(
    lone_digits: PreTrainedTokenizerFast,
) -> None:
    example = aligned(lone_digits, clean="ask Jo :", corrupt="ask An :", answers=("3",), foils=("4",))
    assert lone_digits.decode(example.clean_ids) == example.clean == "ask Jo : "
    assert lone_digits.decode(example.corrupt_ids) == "ask An : "
    assert (shown(lone_digits, example.answer_ids), shown(lone_digits, example.foil_ids)) == (["3"], ["4"])
    assert example.masks == 1 and example.revealed == 0, "it says nothing"


def test_numbers_of_two_digits_are_compared_at_the_first(lone_digits: PreTrainedTokenizerFast) -> None:
    change = {"clean": "ask Jo :", "corrupt": "ask An :", "answers": ("31",)}
    example = aligned(lone_digits, **change, foils=("42",))
    assert (shown(lone_digits, example.answer_ids), shown(lone_digits, example.foil_ids)) == (["3"], ["4"])
    assert (example.masks, shown(lone_digits, example.clean_rest_ids)) == (2, ["1"])
    assert align(replace(PAIR, **change, foils=("32",)), lone_digits) == SAME_BEGINNING


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["countdown", "sudoku", "ioi", "path_star"]))
def test_prompt_answer_and_rest_are_the_tokens_of_the_completed_text(
    seed: int, name: str, single_digits: PreTrainedTokenizerFast
) -> None:
    for text in drawn_pairs(name, 6, seed=seed):
        example = align(text, single_digits)
        if isinstance(example, str):
            continue
        for prompt, ids, first, rest, word, remainder in (
            (text.clean, example.clean_ids, example.answer_ids, example.clean_rest_ids, text.answers[0],
             text.remainder),
            (text.corrupt, example.corrupt_ids, example.foil_ids, example.corrupt_rest_ids, text.foils[0],
             text.corrupt_remainder),
        ):  # fmt: skip
            whole = f"{prompt} {word} {remainder}".strip()
            assert [*ids, *first, *rest] == single_digits(whole)["input_ids"]
        assert len(example.clean_rest_ids) == len(example.corrupt_rest_ids) == example.masks - 1


@pytest.mark.long
@pytest.mark.parametrize("name", ["countdown", "sudoku"])
def test_numbers_whose_digits_are_tokens_do_for_countdown_and_sudoku(
    name: str, single_digits: PreTrainedTokenizerFast
) -> None:
    for example in generated_dataset(TASKS[name], single_digits, examples=60, seed=0).examples:
        assert not set(example.answer_ids) & set(example.foil_ids)
        assert single_digits.decode(example.answer_ids) in (*"0123456789", " +", " -", " *")
        assert example.roles[-1] == "end" and len(example.roles) == len(example.clean_ids)
