"""Greater-Than to tokenizers that read years differently: two digits a token, merged years, one or three digits."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_draws import drawn_pairs
from transformers import PreTrainedTokenizerFast

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks import TASKS, CounterfactualText
from mechshift_core.tasks.counterfactual import Example, align, generated_dataset
from mechshift_core.tasks.options import EXTREME_TENS, SEVERAL_TOKENS, SPLIT_ELSEWHERE

UNEQUAL = "clean and corrupted prompt differ in their number of tokens"
TASK = TASKS["greater_than"]


def pair(century: int, start: int) -> CounterfactualText:
    """The pair of a start year, whatever its sentence."""
    for seed in range(20):
        for text in drawn_pairs("greater_than", 2000, seed=seed):
            if f"{century}{start:02d}" in text.clean:
                return text
    raise AssertionError(f"no prompt of {century}{start:02d}")


def shown(tokenizer: PreTrainedTokenizerFast, ids: tuple[int, ...]) -> list[str]:
    return [tokenizer.decode([token]) for token in ids]


def aligned(text: CounterfactualText, tokenizer: PreTrainedTokenizerFast) -> Example:
    example = align(text, tokenizer)
    assert isinstance(example, Example), example
    return example


def test_the_tokenizers_of_these_tests_split_years_as_their_models_do(
    byte_pairs: PreTrainedTokenizerFast,
    merged_years: PreTrainedTokenizerFast,
    single_digits: PreTrainedTokenizerFast,
    three_digits: PreTrainedTokenizerFast,
) -> None:
    assert [t.tokenize(" 1732") for t in (byte_pairs, merged_years, single_digits, three_digits)] == [
        ["Ġ17", "32"], ["Ġ17", "32"], ["Ġ", "1", "7", "3", "2"], ["Ġ", "173", "2"],
    ]  # fmt: skip
    merged = [merged_years.tokenize(year) for year in (" 1800", " 1830", " 1789", " 1102", " 00")]
    assert merged == [["Ġ1800"], ["Ġ1830"], ["Ġ1789"], ["Ġ110", "2"], ["Ġ", "00"]]


@pytest.mark.parametrize("century", [12, 17, 18])
def test_a_merged_year_is_represented_by_the_token_of_its_two_digits(
    century: int, merged_years: PreTrainedTokenizerFast
) -> None:
    example = aligned(pair(century, 32), merged_years)
    assert shown(merged_years, example.answer_ids) == [f"{year:02d}" for year in range(33, 100)]
    assert shown(merged_years, example.foil_ids) == [f"{year:02d}" for year in range(33)]
    assert example.masks == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("century", "start", "reason"),
    [(18, 30, UNEQUAL), (17, 89, UNEQUAL), (11, 5, SPLIT_ELSEWHERE), (11, 32, SPLIT_ELSEWHERE)],
)
def test_a_start_year_that_is_merged_is_dropped(
    century: int, start: int, reason: str, merged_years: PreTrainedTokenizerFast
) -> None:
    assert align(pair(century, start), merged_years) == reason


@pytest.mark.long
def test_merged_years_are_dropped_and_counted_and_the_rest_is_enough(merged_years: PreTrainedTokenizerFast) -> None:
    dataset = generated_dataset(TASK, merged_years, examples=100, seed=0)
    assert dataset.dropped[SPLIT_ELSEWHERE] > 0 and dataset.dropped.keys() <= {SPLIT_ELSEWHERE, UNEQUAL}
    assert len(dataset.examples) == 100
    for example in dataset.examples:
        assert len(example.answer_ids) + len(example.foil_ids) == 100
        start = int(re.search(r"\d\d(\d\d)", example.clean)[1])  # type: ignore[index]
        assert len(example.foil_ids) == start + 1
        century, year = (example.roles.index(role) for role in ("century", "start_year"))
        assert shown(merged_years, example.clean_ids[year : year + 1]) == [f"{start:02d}"]
        assert (year, example.roles.count("century"), example.roles.count("start_year")) == (century + 1, 1, 1)


def test_digits_that_alone_are_another_token_than_after_a_century_represent_nothing(
    merged_years: PreTrainedTokenizerFast,
) -> None:
    # With a space in front, two digits alone are two tokens: nothing is known of how 1800 would go on after 18.
    assert align(replace(pair(18, 32), joiner=" "), merged_years) == SEVERAL_TOKENS


@pytest.mark.parametrize(
    ("start", "greater", "smaller"), [(32, "456789", "012"), (10, "23456789", "0"), (89, "9", "01234567")]
)
def test_where_digits_are_tokens_the_tens_digit_is_read(
    start: int, greater: str, smaller: str, single_digits: PreTrainedTokenizerFast
) -> None:
    text = pair(17, start)
    example = aligned(text, single_digits)
    assert shown(single_digits, example.answer_ids) == list(greater)
    assert shown(single_digits, example.foil_ids) == list(smaller)
    assert single_digits.decode(example.clean_ids) == text.clean, "the prompt still ends with the century"
    assert single_digits.decode(example.corrupt_ids) == text.corrupt
    assert example.masks == 2, "the units digit is not written yet either"
    year = [at for at, role in enumerate(example.roles) if role == "start_year"]
    assert shown(single_digits, example.clean_ids[year[0] : year[1] + 1]) == list(f"{start:02d}")
    assert shown(single_digits, example.corrupt_ids[year[0] : year[1] + 1]) == ["0", "1"]


def test_every_year_with_an_answer_s_tens_digit_is_later_and_none_with_a_foil_s(
    single_digits: PreTrainedTokenizerFast,
) -> None:
    dataset = generated_dataset(TASK, single_digits, examples=100, seed=1)
    assert dataset.dropped.keys() == {EXTREME_TENS} and dataset.dropped[EXTREME_TENS] > 0
    for example in dataset.examples:
        answers, foils = shown(single_digits, example.answer_ids), shown(single_digits, example.foil_ids)
        for tens in "0123456789":
            later = {TASK.is_correct(example.clean, f"{tens}{units}") for units in range(10)}
            expected = {True} if tens in answers else {False} if tens in foils else None
            # Of the start year's own tens digit it depends on the next digit, but of 39 no year is left.
            start = re.search(r"\d\d(\d)\d", example.clean)[1]  # type: ignore[index]
            assert later == expected or (expected is None and tens == start)


@pytest.mark.parametrize("start", [5, 95])
def test_a_start_year_without_a_smaller_or_a_greater_tens_digit_is_dropped(
    start: int, single_digits: PreTrainedTokenizerFast
) -> None:
    assert align(pair(17, start), single_digits) == EXTREME_TENS


def test_a_tokenizer_that_splits_years_after_three_digits_does_not_suit_the_task(
    three_digits: PreTrainedTokenizerFast,
) -> None:
    with pytest.raises(ExecutionError, match=rf"only 0 aligned prompts of 10 asked for \(201 x {SPLIT_ELSEWHERE}\)"):
        generated_dataset(TASK, three_digits, examples=10, seed=0)


def test_a_space_that_is_a_token_of_its_own_counts_among_the_masks(single_digits: PreTrainedTokenizerFast) -> None:
    seen = set()
    for example in generated_dataset(TASKS["countdown"], single_digits, examples=40, seed=0).examples:
        _, _, revealed = example.clean.partition(" :")
        seen.add(example.answer in "+-*")
        operands = re.findall(r"\d+", example.clean.partition(" target")[0])
        for number in re.findall(r"\d+", revealed):
            operands.remove(number)
        operators = 2 - len(re.findall(r"[-+*]", revealed))
        space = example.clean.endswith(" ")  # the one in front of the answer is read with the prompt
        assert example.masks == operators + sum(1 + len(number) for number in operands) - space
        assert space == (example.answer not in "+-*")
    assert seen == {True, False}


@pytest.mark.long
@settings(deadline=None, derandomize=True, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["byte_pairs", "merged_years", "single_digits"]))
def test_answers_and_foils_are_apart_and_prompts_equally_long_whatever_the_tokenizer(
    seed: int, kind: str, request: pytest.FixtureRequest
) -> None:
    tokenizer = request.getfixturevalue(kind)
    for text in drawn_pairs("greater_than", 5, seed=seed):
        example = align(text, tokenizer)
        if isinstance(example, str):
            assert example in {UNEQUAL, SPLIT_ELSEWHERE, EXTREME_TENS}
            continue
        assert example.answer_ids and example.foil_ids and not set(example.answer_ids) & set(example.foil_ids)
        assert len(example.clean_ids) == len(example.corrupt_ids) == len(example.roles)
        assert example.roles[-1] == "end" and {"century", "start_year", "noun"} <= set(example.roles)
