"""The natural banks: many wordings, and prompts whose right answers are found here without the tasks' own code."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from small_tokenizers import trained
from task_draws import grids_by_brute_force
from transformers import PreTrainedTokenizerFast

from mechshift_core.tasks import TASKS, CounterfactualText, Task
from mechshift_core.tasks.banks import NATURAL, Bank, banks_of
from mechshift_core.tasks.counterfactual import generated_dataset
from mechshift_core.tasks.natural import infilling, sva

STORIES = ("ioi", "greater_than", "sva", "infilling")
FORMATS = ("countdown", "sudoku", "path_star")
BANKS: dict[str, Bank] = {name: banks_of(task)[NATURAL].bank for name, task in TASKS.items()}
EVERY = pytest.mark.parametrize("name", TASKS)
DRAWS = 400
SHAPES = {"century": r"\d\d", "year": r"\d\d", "again": r"\d\d", "target": r"\d+"}


def natural(name: str) -> Task:
    task: Task = banks_of(TASKS[name])[NATURAL]
    return task


def pairs(name: str, count: int = DRAWS, *, seed: int = 0) -> list[CounterfactualText]:
    rng = np.random.default_rng(seed)
    drawn = (natural(name).counterfactual(rng) for _ in range(count))
    return [text for text in drawn if text is not None]


def wording(bank: Bank, text: CounterfactualText, prompt: str) -> dict[str, list[str]]:
    """The words in the slots of a prompt's wording, in the order of the slots."""
    parts = re.split(r"\{(\w+)\}", bank.frames[text.template])
    pattern = "".join(f"({SHAPES.get(part, '.+?')})" if n % 2 else re.escape(part) for n, part in enumerate(parts))
    found = re.fullmatch(pattern, prompt)
    assert found is not None, (prompt, bank.frames[text.template])
    words: dict[str, list[str]] = {}
    for slot, word in zip(parts[1::2], found.groups(), strict=True):
        words.setdefault(slot, []).append(word)
    return words


@EVERY
def test_a_bank_has_twenty_wordings_or_five_formats(name: str) -> None:
    assert len(BANKS[name].frames) >= (20 if name in STORIES else 5)
    assert len(set(BANKS[name].frames.values())) == len(BANKS[name].frames)
    beginnings = {frame.split("{")[0] or frame[:12] for frame in BANKS[name].frames.values()}
    assert len(beginnings) > len(BANKS[name].frames) // 3, "wordings begin in different ways"


@pytest.mark.parametrize(
    ("name", "lists"),
    [
        ("ioi", ["names"]),
        ("greater_than", ["nouns"]),
        ("sva", ["subject", "verbs"]),
        ("infilling", ["names", "things"]),
    ],
)
def test_a_bank_has_sixty_names_nouns_and_verbs_each_once(name: str, lists: list[str]) -> None:
    for words in lists:
        listed = BANKS[name].lists[words]
        assert len(set(listed)) == len(listed) >= 60, words


@EVERY
def test_templates_are_the_wordings_and_all_are_drawn(name: str) -> None:
    counts = Counter(text.template for text in pairs(name))
    assert counts.keys() == BANKS[name].frames.keys()


@EVERY
def test_no_slot_stands_behind_a_or_an_that_does_not_fit(name: str) -> None:
    for text in pairs(name):
        for article, word in re.findall(r"\b([Aa]n?) (\w+)", text.clean + text.behind):
            assert (article.lower() == "an") == (word[0] in "aeiou" or word == "hour"), text.clean


@EVERY
def test_exercises_are_solved_by_their_completion_and_by_nothing_less(name: str) -> None:
    rng = np.random.default_rng(1)
    for exercise in (natural(name).exercise(rng) for _ in range(DRAWS // 4)):
        assert natural(name).is_correct(exercise.prompt, exercise.completion), exercise
        assert not natural(name).is_correct(exercise.prompt, f"{exercise.completion} {exercise.completion[-1]}")
        assert not natural(name).is_correct(exercise.prompt, "")


def right_names(text: CounterfactualText, prompt: str) -> set[str]:
    words = wording(BANKS["ioi"], text, prompt)
    (a, b), (s,) = (words["a"] + words["b"], words["s"])
    return {a, b} - {s}


def later_years(text: CounterfactualText, prompt: str) -> set[str]:
    words = wording(BANKS["greater_than"], text, prompt)
    assert words["century"] == words["again"]
    return {f"{year:02d}" for year in range(int(words["year"][0]) + 1, 100)}


def agreeing_verbs(text: CounterfactualText, prompt: str) -> set[str]:
    subject = wording(BANKS["sva"], text, prompt)["subject"][0]
    plural = subject.endswith("s")
    assert (subject[:-1] if plural else subject) in (*sva.PEOPLE, *sva.THINGS)
    return {verb.split("/")[0 if plural else 1] for verb in sva.VERBS}


def cued_things(text: CounterfactualText, prompt: str) -> set[str]:
    words = wording(BANKS["infilling"], text, prompt.removesuffix(infilling.QUESTION))
    lines = [line for kind in infilling.KINDS.values() for line in kind]
    done = {f"{verb} {words['object'][0]}" for verb in words.get("verb", []) + words.get("past", [])}
    return {
        line.split(":")[0]
        for line in lines
        if done & {f"{form} {line.split(' ', 2)[2]}" for form in line.split(" ")[1].split("/")}
    }


@pytest.mark.parametrize(
    ("name", "right"),
    [("ioi", right_names), ("greater_than", later_years), ("sva", agreeing_verbs), ("infilling", cued_things)],
)
def test_the_answers_of_a_story_are_all_that_is_right_and_no_foil_is(
    name: str, right: Callable[[CounterfactualText, str], set[str]]
) -> None:
    for text in pairs(name):
        assert right(text, text.clean) == set(text.answers)
        assert not right(text, text.clean) & set(text.foils)
        if name in ("sva", "infilling"):
            assert right(text, text.corrupt) == set(text.foils)
        elif name == "greater_than":
            assert len(right(text, text.corrupt)) == 98, "the corrupted year is 01"
        else:
            assert right(text, text.corrupt) == {*text.answers, *text.foils}, "the third name is neither"


@pytest.mark.parametrize("name", STORIES)
def test_the_rule_of_a_story_takes_every_answer_and_no_foil(name: str) -> None:
    task = natural(name)
    for text in pairs(name, DRAWS // 8, seed=1):
        assert all(task.is_correct(text.clean, answer) for answer in text.answers)
        assert not any(task.is_correct(text.clean, foil) for foil in text.foils)


def test_what_is_done_with_a_thing_is_done_with_no_other_and_never_held_against_its_kind() -> None:
    cues = [line.split(" ", 2) for kind in infilling.KINDS.values() for line in kind]
    assert len({tuple(cue[1:]) for cue in cues}) == len({cue[2] for cue in cues}) == len(cues)
    assert all(len(cue[2].split()) == 2 for cue in cues), "one cue can stand for another"
    kind_of = {line.split(":")[0]: kind for kind, lines in infilling.KINDS.items() for line in lines}
    assert all(kind_of[text.answers[0]] != kind_of[text.foils[0]] for text in pairs("infilling"))


def expressions(numbers: list[int]) -> dict[tuple[str, ...], int]:
    """Every expression of three numbers, each once, by Python's own arithmetic."""
    return {
        tokens: eval(" ".join(tokens))
        for a, b, c in itertools.permutations(map(str, numbers))
        for first, second in itertools.product("+-*", repeat=2)
        for tokens in [(a, first, b, second, c)]
    }


def test_no_countdown_foil_begins_a_solution_and_no_answer_one_of_the_corrupted_target() -> None:
    for text in pairs("countdown"):
        for prompt, word, other, rest in (
            (text.clean, text.answers[0], text.foils[0], text.remainder),
            (text.corrupt, text.foils[0], text.answers[0], text.corrupt_remainder),
        ):
            asked = prompt[: len(prompt) - len(text.clean[text.completion_start :])]
            begun = tuple(prompt[len(asked) :].split())
            words = wording(BANKS["countdown"], text, asked)
            table = expressions([int(words[slot][0]) for slot in "abc"])
            reached = [tokens for tokens, value in table.items() if value == int(words["target"][0])]
            solved = [tokens for tokens in reached if tokens[: len(begun)] == begun]
            assert (*begun, word, *rest.split()) in solved
            assert other not in {tokens[len(begun)] for tokens in solved}
            allowed = text.right if prompt == text.clean else text.right_for_corrupt
            assert {tokens[len(begun)] for tokens in solved} == set(allowed)
            assert natural("countdown").is_correct(asked, " ".join((*begun, word, *rest.split())))


def test_a_sudoku_has_one_solution_and_the_answer_is_a_digit_of_it() -> None:
    grids = grids_by_brute_force()
    for text in pairs("sudoku", DRAWS // 2):
        for prompt, digit, rest in (
            (text.clean, text.answers[0], text.remainder),
            (text.corrupt, text.foils[0], text.corrupt_remainder),
        ):
            asked, revealed = prompt[: text.completion_start], prompt[text.completion_start :]
            cells = np.array([0 if word == "_" else int(word) for word in asked.split() if word in set("_1234")])
            (solution,) = grids[((cells == 0) | (grids == cells)).all(1)].tolist()
            written = [int(word) for word in f"{revealed} {digit} {rest}".split() if word in set("1234")]
            assert written == solution
            assert natural("sudoku").is_correct(asked, f"{revealed} {digit} {rest}".strip())


def test_a_path_star_goes_one_way_from_the_centre_to_each_goal() -> None:
    for text in pairs("path_star"):
        for prompt, hop, rest in (
            (text.clean, text.answers[0], text.remainder),
            (text.corrupt, text.foils[0], text.corrupt_remainder),
        ):
            *nodes, start, goal, at = re.findall(r"\b[A-Z]\b", prompt)
            back = {b: a for a, b in zip(nodes[::2], nodes[1::2], strict=True)}
            path = [goal]
            while path[0] != start:
                path.insert(0, back[path[0]])
            assert (at, path[1:]) == (start, [hop, *rest.split()])


@EVERY
def test_roles_are_those_of_the_task_and_leave_the_last_word_free(name: str) -> None:
    for text in pairs(name, 100):
        assert {span.role for span in text.roles} <= set(natural(name).roles)
        assert all(text.clean[span.start : span.stop].strip() and span.stop < len(text.clean) for span in text.roles)


@pytest.fixture(scope="module")
def natural_words() -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the natural banks, to which every digit is a token, as it is to Llama and Qwen."""
    rng = np.random.default_rng(0)
    exercises = [task.exercise(rng) for task in map(natural, TASKS) for _ in range(300)]
    listed = [f" {form}" for bank in BANKS.values() for words in bank.lists.values() for word in words
              for form in [*word.split("/"), f"{word}s"]]  # fmt: skip
    return trained(r"\d", [*(f"{e.prompt} {e.completion}" for e in exercises), *listed * 3], vocabulary=3000)


@pytest.mark.nightly
@EVERY
def test_every_wording_is_among_the_prompts_of_a_tokenizer_that_splits_digits(
    name: str, natural_words: PreTrainedTokenizerFast
) -> None:
    dataset = generated_dataset(natural(name), natural_words, examples=200, seed=0)
    assert {example.template for example in dataset.examples} == BANKS[name].frames.keys()
    assert dataset.words == NATURAL and dataset.account.templates == len(BANKS[name].frames)
    for example in dataset.examples:
        assert len(example.clean_ids) == len(example.corrupt_ids)
        assert not set(example.answer_ids) & set(example.foil_ids)
        assert example.roles[-1] == "end"
