"""What each generated task promises: which answers are right, and what its corruption changes."""

from __future__ import annotations

import itertools
import re
from functools import cache

import numpy as np
import pytest
from task_draws import (
    drawn_exercises,
    drawn_pairs,
    grids_by_brute_force,
    operands_and_target,
    prompt_and_revealed,
    solutions_of,
)

from mechshift_core.tasks import TASKS
from mechshift_core.tasks.countdown import solutions
from mechshift_core.tasks.infilling import WORDS
from mechshift_core.tasks.ioi import NAMES
from mechshift_core.tasks.sudoku import solution_grids

# IOI


def test_ioi_corruption_replaces_the_repeated_subject_and_nothing_else() -> None:
    for text in drawn_pairs("ioi", 200):
        clean, corrupt = (re.findall(r"\w+", prompt) for prompt in (text.clean, text.corrupt))
        (changed,) = [at for at, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b]
        assert clean[changed] == text.foils[0] and clean.count(clean[changed]) == 2
        assert clean.index(clean[changed]) < changed
        assert corrupt[changed] in set(NAMES) - set(clean)
        assert clean.count(text.answers[0]) == 1


def test_ioi_templates_say_in_which_order_the_names_came() -> None:
    seen = set()
    for text in drawn_pairs("ioi", 200):
        first = next(word for word in re.findall(r"\w+", text.clean) if word in NAMES)
        assert text.template.endswith("ABBA" if first == text.answers[0] else "BABA")
        seen.add(text.template)
    assert len(seen) == 8


def test_ioi_takes_only_the_name_that_is_not_repeated() -> None:
    for exercise in drawn_exercises(TASKS["ioi"], 30):
        assert [name for name in NAMES if TASKS["ioi"].is_correct(exercise.prompt, name)] == [exercise.completion]


# Greater-Than


def test_greater_than_answers_and_foils_part_the_century_at_the_start_year() -> None:
    for text in drawn_pairs("greater_than", 200):
        century, start, again = re.findall(r"\d\d", text.clean)
        assert century == again and text.clean.endswith(again) and text.joiner == ""
        assert [*text.foils, *text.answers] == [f"{year:02d}" for year in range(100)]
        assert text.foils[-1] == start and text.answers
        assert text.corrupt == text.clean.replace(f"{century}{start}", f"{century}01")


def test_greater_than_takes_exactly_the_later_years() -> None:
    task = TASKS["greater_than"]
    right = [
        year
        for year in range(100)
        if task.is_correct("The war lasted from the year 1732 to the year 17", f"{year:02d}")
    ]
    assert right == list(range(33, 100))
    assert not any(task.is_correct("The war began in 1732 and ended in 17", w) for w in ("32", "5", "133", "later"))


# Countdown


@cache
def brute_force(numbers: tuple[int, ...]) -> dict[int, set[tuple[str, ...]]]:
    """Target -> every expression that reaches it, as Python evaluates it."""
    reached: dict[int, set[tuple[str, ...]]] = {}
    for a, b, c in itertools.permutations(map(str, numbers)):
        for first, second in itertools.product("+-*", repeat=2):
            reached.setdefault(eval(f"{a} {first} {b} {second} {c}"), set()).add((a, first, b, second, c))
    return reached


def test_countdown_solutions_are_those_that_python_finds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        numbers = tuple(sorted(int(n) + 1 for n in rng.permutation(25)[:3]))
        found = solutions(numbers)
        assert {target: set(e) for target, e in found.items()} == {
            target: e for target, e in brute_force(numbers).items() if 0 <= target <= 99
        }
        assert all(len(set(e)) == len(e) for e in found.values())


def test_countdown_takes_every_expression_of_the_three_numbers_that_reaches_the_target() -> None:
    for exercise in drawn_exercises(TASKS["countdown"], 30):
        numbers, target = operands_and_target(exercise.prompt)
        for value, expressions in brute_force(numbers).items():
            for expression in expressions:
                assert TASKS["countdown"].is_correct(exercise.prompt, " ".join(expression)) == (value == target)


@pytest.mark.parametrize(
    "completion",
    ["2 + 3 + 5 + 0", "5 + 5 + 0", "2 + 8", "10", "3 + 3 + 4", "2 + 3 5 +", "+ 2 3 + 5", "2 + 3 + five", "2 - -3 + 5"],
)
def test_countdown_takes_no_other_numbers_and_no_other_form(completion: str) -> None:
    assert TASKS["countdown"].is_correct("2 3 5 target 10 :", "2 + 3 + 5")
    assert not TASKS["countdown"].is_correct("2 3 5 target 10 :", completion)


def test_countdown_pairs_are_read_at_a_decisive_token() -> None:
    pairs = drawn_pairs("countdown", 400)
    assert 50 < len(pairs) < 400, "some draws have no decisive token"
    assert {text.template for text in pairs} >= {"three-at0", "three-at1", "three-at2"}
    for text in pairs:
        (clean, revealed), (corrupt, same) = prompt_and_revealed(text.clean), prompt_and_revealed(text.corrupt)
        (numbers, target), (others, other) = operands_and_target(clean), operands_and_target(corrupt)
        prefix = tuple(revealed.split())
        assert numbers == others and revealed == same and target != other
        right = {e[: len(prefix) + 1] for e in brute_force(numbers)[target]}
        right_corrupt = {e[: len(prefix) + 1] for e in brute_force(numbers)[other]}
        answer, foil = (*prefix, text.answers[0]), (*prefix, text.foils[0])
        assert answer in right and foil not in right
        assert foil in right_corrupt and answer not in right_corrupt


# Infilling


def test_infilling_asks_for_a_function_of_the_clause_after_the_blank_only() -> None:
    words: dict[tuple[str, ...], set[str]] = {}
    surroundings: dict[tuple[str, ...], set[str]] = {}
    for exercise in drawn_exercises(TASKS["infilling"], 3000):
        clause = re.search(r"_ (?:that )?(\w+) in the (\w+)", exercise.prompt)
        assert clause is not None
        words.setdefault(clause.groups(), set()).add(exercise.completion)
        surroundings.setdefault(clause.groups(), set()).add(exercise.prompt.replace(clause[0], ""))
    assert len(words) == 16 and all(len(options) == 1 for options in words.values())
    assert len({word for options in words.values() for word in options}) == 16
    assert all(len(options) > 20 for options in surroundings.values())


def test_infilling_corruption_changes_one_word_after_the_blank() -> None:
    for text in drawn_pairs("infilling", 200):
        clean, corrupt = text.clean.split(), text.corrupt.split()
        (changed,) = [at for at, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b]
        assert changed > clean.index("_")
        assert TASKS["infilling"].is_correct(text.corrupt, text.foils[0])


def test_infilling_takes_no_other_word() -> None:
    for exercise in drawn_exercises(TASKS["infilling"], 30):
        right = [word for word in WORDS.values() if TASKS["infilling"].is_correct(exercise.prompt, word)]
        assert right == [exercise.completion]


# Sudoku


def test_there_are_288_sudoku_grids() -> None:
    assert len(grids_by_brute_force()) == 288
    assert set(solution_grids()) == set(map(tuple, grids_by_brute_force().tolist()))
    assert len(solution_grids()) == 288


def test_sudoku_puzzles_have_three_to_eight_blanks_and_one_solution() -> None:
    seen = set()
    for exercise in drawn_exercises(TASKS["sudoku"], 200):
        blanks = exercise.prompt.count("_")
        seen.add(blanks)
        assert exercise.template == f"blanks{blanks}"
        assert [" ".join(map(str, grid)) for grid in solutions_of(exercise.prompt).tolist()] == [exercise.completion]
    assert seen == set(range(3, 9))


def test_sudoku_takes_exactly_the_grids_that_keep_what_is_given() -> None:
    (exercise,) = drawn_exercises(TASKS["sudoku"], 1)
    grids = [" ".join(map(str, grid)) for grid in grids_by_brute_force().tolist()]
    assert [grid for grid in grids if TASKS["sudoku"].is_correct(exercise.prompt, grid)] == [exercise.completion]
    assert [grid for grid in grids if TASKS["sudoku"].is_correct("_ " * 16 + ":", grid)] == grids


@pytest.mark.parametrize("cell", ["12", "34", "5", "0", "_", "<mask>"])
def test_sudoku_takes_single_digits_from_1_to_4_only(cell: str) -> None:
    rest = "2 3 4 3 4 1 2 2 1 4 3 4 3 2 1"
    assert TASKS["sudoku"].is_correct(f"_ {rest} :", f"1 {rest}")
    assert not TASKS["sudoku"].is_correct(f"_ {rest} :", f"{cell} {rest}")


def test_sudoku_corruption_exchanges_two_digits_and_keeps_the_blanks() -> None:
    for text in drawn_pairs("sudoku", 100):
        (answer,), (foil,) = text.answers, text.foils
        assert text.corrupt == text.clean.translate(str.maketrans(answer + foil, foil + answer))
        prompt, revealed = prompt_and_revealed(text.clean)
        corrupt, shown = prompt_and_revealed(text.corrupt)
        cell = len(revealed.split())
        assert prompt.split()[cell] == corrupt.split()[cell] == "_"
        for puzzle, written, digit in ((prompt, revealed, answer), (corrupt, shown, foil)):
            (solution,) = solutions_of(puzzle).tolist()
            assert [*map(str, solution[: cell + 1])] == [*written.split(), digit]
