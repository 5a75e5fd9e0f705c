"""Draws of the generated tasks, and what can be read off their prompts without the tasks' own code."""

from __future__ import annotations

import itertools
import re
from functools import cache

import numpy as np

from mechshift_core.tasks import TASKS, CounterfactualText, Exercise, Task


def drawn_exercises(task: Task, count: int, *, seed: int = 0) -> list[Exercise]:
    rng = np.random.default_rng(seed)
    return [task.exercise(rng) for _ in range(count)]


def drawn_pairs(name: str, count: int, *, seed: int = 0) -> list[CounterfactualText]:
    rng = np.random.default_rng(seed)
    return [text for _ in range(count) if (text := TASKS[name].counterfactual(rng)) is not None]


def prompt_and_revealed(text: str) -> tuple[str, str]:
    """A pair's prompt without what is already revealed of the completion, and that."""
    head, colon, revealed = text.partition(" :")
    return head + colon, revealed


def operands_and_target(prompt: str) -> tuple[tuple[int, ...], int]:
    *numbers, target = map(int, re.findall(r"\d+", prompt))
    return tuple(numbers), target


def graph(prompt: str) -> frozenset[tuple[str, str]]:
    """The edges of a star graph, read off its prompt."""
    *nodes, _, _, _ = re.findall(r"\b[A-Z]\b", prompt)
    return frozenset(zip(nodes[::2], nodes[1::2], strict=True))


@cache
def grids_by_brute_force() -> np.ndarray:
    """Every 4x4 grid of four permuted rows whose columns and boxes hold each digit once, [grids, 16]."""
    rows = np.array(list(itertools.permutations((1, 2, 3, 4))))
    grids = rows[np.array(list(itertools.product(range(24), repeat=4)))]
    columns = grids.transpose(0, 2, 1)
    boxes = grids.reshape(-1, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 4)
    right = [(np.sort(lines, -1) == [1, 2, 3, 4]).all((1, 2)) for lines in (columns, boxes)]
    found: np.ndarray = grids[right[0] & right[1]].reshape(-1, 16)
    return found


def solutions_of(prompt: str) -> np.ndarray:
    given = np.array([0 if cell == "_" else int(cell) for cell in prompt.removesuffix(":").split()])
    found: np.ndarray = grids_by_brute_force()[((given == 0) | (grids_by_brute_force() == given)).all(1)]
    return found
