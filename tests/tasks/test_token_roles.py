from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks import BUNDLED_TASKS, TASKS, CounterfactualText, RoleSpan, Task
from mechshift_core.tasks.counterfactual import Dataset, Example, align, generated_dataset
from mechshift_core.tasks.custom import custom_dataset
from mechshift_core.tasks.infilling import ACTIONS, PLACES
from mechshift_core.tasks.roles import filled, following, joined, token_roles

EXAMPLE = Example("t", (1, 2, 3), (1, 4, 3), (5,), (7,), 2, "a b c", "a d c", "e", "g", ("s1", "other", "end"))
DATASET = Dataset("ioi", "logit_difference", 2, (EXAMPLE, replace(EXAMPLE, masks=1)), {})
TEXT = {"clean": "Mary and John gave", "corrupt": "Mary and Tom gave", "answer": "Mary", "foil": "John"}
TOKENS = {"clean_ids": [4, 5, 6], "corrupt_ids": [4, 7, 6], "answer_ids": 8, "foil_ids": 9}

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
every_bundled_task = pytest.mark.parametrize("task", [TASKS[name] for name in BUNDLED_TASKS], ids=BUNDLED_TASKS)


def roles_of_words(example: Example) -> list[tuple[str, str]]:
    """(word, role) under the bundled tokenizer, of which every token is a word, a sign or a two-digit number."""
    words = re.findall(r"\d{1,2}|[A-Za-z]+|[^\sA-Za-z\d]", example.clean)
    return list(zip(words, example.roles, strict=True))


def ioi(example: Example) -> list[str]:
    words = [word for word, _ in roles_of_words(example)]
    expected = ["other"] * len(words)
    places = "store park school office garden station".split()
    s1, s2 = (at for at, word in enumerate(words) if word == example.foil)
    expected[words.index(example.answer)] = "io"
    expected[s1], expected[s1 + 1], expected[s2], expected[s2 + 1] = "s1", "s1+1", "s2", "verb"
    expected[s2 + 3] = "object"
    expected[next(at for at, word in enumerate(words) if word in places)] = "place"
    return [*expected[:-1], "end"]


def greater_than(example: Example) -> list[str]:
    words = [word for word, _ in roles_of_words(example)]
    century, start, _ = (at for at, word in enumerate(words) if word.isdigit())
    named = {century: "century", start: "start_year", len(words) - 1: "end"}
    nouns = "war trip project trial feast journey".split()
    return [named.get(at, "noun" if word in nouns else "other") for at, word in enumerate(words)]


def countdown(example: Example) -> list[str]:
    revealed = example.clean.partition(" : ")[2].split()
    shown = ["operator" if word in "+-*" else "revealed" for word in revealed]
    tokens = ["operand", "operand", "operand", "other", "target", "separator", *shown]
    return [*tokens[:-1], "end"]


def infilling(example: Example) -> list[str]:
    words = example.clean.split()
    blank = words.index("_")
    action = next(at for at in range(blank, len(words)) if words[at] in ACTIONS)
    place = next(at for at in range(blank, len(words)) if words[at] in PLACES)
    sides = ["left_context"] * blank + ["blank"] + ["right_context"] * (len(words) - blank - 2) + ["end"]
    return [{action: "action", place: "place"}.get(at, side) for at, side in enumerate(sides)]


def sudoku(example: Example) -> list[str]:
    prompt, _, shown = example.clean.partition(" :")
    revealed = shown.split()
    cells = ["blank" if cell == "_" else "given" for cell in prompt.split()]
    cells[len(revealed)] = "asked"
    tokens = [*cells, "separator", *["revealed"] * len(revealed)]
    return [*tokens[:-1], "end"]


EXPECTED: dict[str, Callable[[Example], list[str]]] = {
    "ioi": ioi, "greater_than": greater_than, "countdown": countdown, "infilling": infilling, "sudoku": sudoku,
}  # fmt: skip


@every_bundled_task
def test_every_token_of_a_generated_prompt_has_the_role_that_is_read_off_its_words(
    task: Task, tokenizer: PreTrainedTokenizerBase
) -> None:
    for example in generated_dataset(task, tokenizer, examples=60, seed=0).examples:
        assert list(example.roles) == EXPECTED[task.name](example), example.clean


@pytest.mark.long
@every_task
def test_a_task_declares_the_roles_that_occur_and_only_the_last_token_is_the_end(
    task: Task, tokenizer_for: Callable[[Task], PreTrainedTokenizerBase]
) -> None:
    examples = generated_dataset(task, tokenizer_for(task), examples=120, seed=1).examples
    assert {role for example in examples for role in example.roles} - {"other"} == {*task.roles, "end"}
    assert all(example.roles.index("end") == len(example.clean_ids) - 1 for example in examples)


@pytest.mark.long
@every_bundled_task
def test_byte_level_tokens_have_the_role_of_the_word_that_they_are_part_of(
    task: Task, tokenizer: PreTrainedTokenizerBase, byte_pairs: PreTrainedTokenizerBase
) -> None:
    by_words = {e.clean: e for e in generated_dataset(task, tokenizer, examples=40, seed=0).examples}
    compared = 0
    for example in generated_dataset(task, byte_pairs, examples=40, seed=0).examples:
        if example.clean not in by_words:
            continue
        words, pieces = defaultdict(str), defaultdict(str)
        for word, role in roles_of_words(by_words[example.clean]):
            words[role] += word
        for token, role in zip(example.clean_ids, example.roles, strict=True):
            pieces[role] += str(byte_pairs.decode([token])).strip()
        assert pieces == words
        compared += 1
    assert compared > 20


def test_a_token_belongs_to_the_span_that_covers_most_of_it_and_to_the_first_of_equals() -> None:
    text = "abcdef gh"
    spans = (RoleSpan("one", 0, 2), RoleSpan("two", 2, 6), RoleSpan("same", 2, 6))
    assert token_roles(text, spans, [(0, 3), (1, 4), (3, 6), (6, 9)]) == ("one", "two", "two", "end")
    assert token_roles(text, spans, [(0, 4), (4, 9)]) == ("one", "two")
    assert token_roles(text, (), [(0, 6), (7, 9)]) == ("other", "end")
    assert token_roles(text, spans, []) == ()


def test_white_space_in_front_of_a_token_belongs_to_no_span() -> None:
    spans = (RoleSpan("verb", 2, 3), RoleSpan("rest", 0, 5))
    assert token_roles("a b c", spans, [(0, 1), (1, 3), (3, 5)]) == ("rest", "verb", "rest")
    assert token_roles("a b c", spans, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 0)]) == (
        "rest", "other", "verb", "other", "end",
    )  # fmt: skip


ranges = st.tuples(st.integers(0, 12), st.integers(1, 6)).map(lambda r: (r[0], r[0] + r[1]))


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    text=st.text(st.sampled_from("ab "), min_size=18, max_size=18),
    places=st.lists(ranges, max_size=4),
    offsets=st.lists(ranges, max_size=4),
)
def test_roles_are_those_of_counting_the_characters_one_by_one(
    text: str, places: list[tuple[int, int]], offsets: list[tuple[int, int]]
) -> None:
    spans = [RoleSpan(f"r{n}", *place) for n, place in enumerate(places)]
    expected = []
    for start, stop in offsets:
        seen = [at for at in range(start, stop) if text[at] != " "]
        inside = set(range(seen[0], seen[-1] + 1)) if seen else set()
        counts = {span.role: len(inside & set(range(span.start, span.stop))) for span in spans}
        best = max(counts, key=lambda role: counts[role], default="other")
        expected.append(best if counts.get(best) else "other")
    if expected and expected[-1] == "other":
        expected[-1] = "end"
    assert list(token_roles(text, spans, offsets)) == expected


def test_a_frame_is_filled_and_its_slots_are_marked_where_they_stand() -> None:
    text, spans = filled("{a} and {b}, {a}{c}", {"a": "Ann", "b": "Bob", "c": "17"}, {"b": "s1", "c": "year"})
    assert text == "Ann and Bob, Ann17"
    assert [(span.role, text[span.start : span.stop]) for span in spans] == [("s1", "Bob"), ("year", "17")]
    after = following(text, spans, "s1", "s1+1")
    assert text[after.start : after.stop] == "Ann17"
    with pytest.raises(AssertionError, match="no word follows year"):
        following(text, spans, "year", "next")


def test_joined_words_are_marked_except_the_last() -> None:
    text, spans = joined([("operand", "3"), ("other", "target"), ("target", "22"), ("separator", ":")])
    assert text == "3 target 22 :"
    assert [(span.role, text[span.start : span.stop]) for span in spans] == [("operand", "3"), ("target", "22")]


@pytest.mark.parametrize("span", [("", 0, 1), ("s1", -1, 1), ("s1", 2, 2), ("s1", 3, 2)])
def test_a_span_without_a_role_or_characters_is_refused(span: tuple[str, int, int]) -> None:
    with pytest.raises(ValueError, match="expected a role and a span of at least one character"):
        RoleSpan(*span)


class Slow:
    """A tokenizer that cannot say where its tokens stand, as those written in Python."""

    is_fast = False

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __call__(self, text: str | list[str], *, add_special_tokens: bool = True) -> Any:
        return self.tokenizer(text, add_special_tokens=add_special_tokens)


def test_a_tokenizer_without_offsets_leaves_the_roles_unknown(tokenizer: PreTrainedTokenizerBase) -> None:
    text = CounterfactualText(
        "t", TEXT["clean"], TEXT["corrupt"], ("Mary",), ("John",), "k", roles=(RoleSpan("io", 0, 4),)
    )
    slow, fast = align(text, Slow(tokenizer)), align(text, tokenizer)  # type: ignore[arg-type]
    assert isinstance(slow, Example) and isinstance(fast, Example)
    assert fast.roles == ("io", "other", "other", "end")
    assert slow == replace(fast, roles=()) and slow.position_roles([False, False]) == ()


def test_masked_positions_after_the_prompt_are_masks() -> None:
    assert EXAMPLE.position_roles([]) == EXAMPLE.roles
    assert EXAMPLE.position_roles([False, False]) == ("s1", "other", "end", "mask", "mask")


def test_roles_that_do_not_fit_the_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="roles: expected one for each of 3 tokens of the prompt, got 2"):
        replace(EXAMPLE, roles=("s1", "end"))
    content = json.loads(DATASET.to_json())
    content["examples"][0]["roles"] = ["end"]
    with pytest.raises(ValueError, match="roles: expected one for each of 3 tokens"):
        Dataset.from_json(json.dumps(content))


@every_bundled_task
def test_roles_survive_json_and_a_data_set_without_them_can_still_be_read(
    task: Task, tokenizer: PreTrainedTokenizerBase
) -> None:
    dataset = generated_dataset(task, tokenizer, examples=5, seed=0)
    assert Dataset.from_json(dataset.to_json()).examples == dataset.examples
    content = json.loads(dataset.to_json())
    for row in content["examples"]:
        del row["roles"]
    older = Dataset.from_json(json.dumps(content))
    assert [example.roles for example in older.examples] == [()] * 5
    assert older.digest() == dataset.digest() and older.role_digest() != dataset.role_digest()


def test_only_the_role_digest_depends_on_roles_and_it_depends_on_the_tokens_too() -> None:
    renamed = replace(DATASET, examples=(replace(EXAMPLE, roles=("s2", "other", "end")), *DATASET.examples[1:]))
    assert renamed.digest() == DATASET.digest()
    assert renamed.role_digest() != DATASET.role_digest()
    assert renamed.role_digest(slice(1, 2)) == DATASET.role_digest(slice(1, 2)) != DATASET.role_digest(slice(0, 1))
    other_token = replace(DATASET, examples=(replace(EXAMPLE, clean_ids=(1, 9, 3)), *DATASET.examples[1:]))
    assert other_token.role_digest() != DATASET.role_digest()
    assert replace(DATASET, metric="probability_difference").role_digest() != DATASET.role_digest()


def load(path: Path, *rows: dict[str, Any], tokenizer: PreTrainedTokenizerBase | None = None) -> Dataset:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return custom_dataset("mine", path, tokenizer, examples=10, vocabulary=1000)


def test_lines_of_token_ids_give_one_role_per_token_or_none(tmp_path: Path) -> None:
    named, unnamed, claimed = load(
        tmp_path / "pairs.jsonl",
        {**TOKENS, "roles": ["s1", "verb", "other"]},
        {**TOKENS, "clean_ids": [4, 5, 7]},
        {**TOKENS, "clean_ids": [4, 5, 8], "roles": ["a", "b", "c"]},
    ).examples
    assert named.roles == ("s1", "verb", "other"), "what the user says is taken as it is"
    assert unnamed.roles == ("other", "other", "end")
    assert claimed.roles == ("a", "b", "c")


def test_lines_of_text_give_spans_of_the_clean_prompt(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    spans = [["io", 0, 4], ["s1", 9, 13]]
    marked, plain, claimed = load(
        tmp_path / "pairs.jsonl",
        {**TEXT, "roles": spans},
        {**TEXT, "clean": TEXT["clean"].replace("John", "Paul")},
        {**TEXT, "clean": TEXT["clean"].replace("John", "Mark"), "roles": [*spans, ["verb", 14, 18]]},
        tokenizer=tokenizer,
    ).examples
    assert marked.roles == ("io", "other", "s1", "end")
    assert plain.roles == ("other", "other", "other", "end")
    assert claimed.roles == ("io", "other", "s1", "verb")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({**TOKENS, "roles": ["a"]}, "roles: expected one role for each of the 3 tokens of clean_ids, got 1"),
        ({**TOKENS, "roles": []}, "roles: expected one role for each of the 3 tokens of clean_ids, got 0"),
        ({**TOKENS, "roles": ["a", "b", ""]}, "roles.2: expected text that is not empty, got ''"),
        ({**TOKENS, "roles": ["a", "b", 3]}, "roles.2: expected text, got 3 (write it in quotes for text)"),
        ({**TOKENS, "roles": [["a", 0, 1]]}, "roles.0: expected text, got a list"),
        ({**TOKENS, "roles": "abc"}, "roles: expected a list, got 'abc'"),
        ({**TOKENS, "clean_ids": [], "roles": ["a"]}, "clean_ids: expected at least 1 item, got 0"),
        ({**TEXT, "roles": ["io"]}, "roles.0: expected a list, got 'io'"),
        ({**TEXT, "roles": [["io", 0]]}, "roles.0.2: missing"),
        ({**TEXT, "roles": [["io", 0, 4, 5]]}, "roles.0: expected at most 3 items, got 4"),
        ({**TEXT, "roles": [["io", 0, "4"]]}, "roles.0.2: expected an integer, got '4'"),
        ({**TEXT, "roles": [["io", False, 4]]}, "roles.0.1: expected an integer, got false"),
        ({**TEXT, "roles": [["", 0, 4]]}, "roles.0.0: expected text that is not empty, got ''"),
        ({**TEXT, "roles": None}, "roles: expected a list, got nothing"),
        *(
            (
                {**TEXT, "roles": [["io", 0, 4], ["s1", start, stop]]},
                f"roles: expected the span of 's1' within the 18 characters of clean, got {start} to {stop}",
            )
            for start, stop in ((9, 9), (9, 8), (-1, 4), (9, 19), (9, 10**30))
        ),
    ],
)
def test_malformed_roles_are_named_by_the_number_of_their_line(
    row: dict[str, Any], complaint: str, tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    path = tmp_path / "pairs.jsonl"
    with pytest.raises(ExecutionError) as error:
        load(path, TOKENS, row, tokenizer=tokenizer)
    (message,) = str(error.value).splitlines()
    assert message.startswith(f"{path}:2: {complaint}")
