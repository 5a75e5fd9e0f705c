"""Sudoku 4x4: fill a grid with one solution; corrupted by exchanging two digits throughout."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime
from mechshift_core.tasks.roles import joined

SIZE, BOX = 4, 2
MOST_BLANKS, FEWEST_BLANKS = 8, 3
BLANK = 0
Grid = tuple[int, ...]


def _peers(cell: int) -> frozenset[int]:
    row, column = divmod(cell, SIZE)
    return frozenset(
        other
        for other in range(SIZE * SIZE)
        if other != cell
        and (
            other // SIZE == row
            or other % SIZE == column
            or (other // SIZE // BOX == row // BOX and other % SIZE // BOX == column // BOX)
        )
    )


PEERS = tuple(_peers(cell) for cell in range(SIZE * SIZE))


def solve(grid: Grid, *, limit: int = 2) -> list[Grid]:
    """Up to `limit` solutions of a partly blank grid, by backtracking on the most constrained cell."""
    blanks = [cell for cell in range(SIZE * SIZE) if grid[cell] == BLANK]
    if not blanks:
        return [grid]
    options = {cell: [d for d in range(1, SIZE + 1) if all(grid[p] != d for p in PEERS[cell])] for cell in blanks}
    cell = min(blanks, key=lambda c: len(options[c]))
    found: list[Grid] = []
    for digit in options[cell]:
        found += solve((*grid[:cell], digit, *grid[cell + 1 :]), limit=limit - len(found))
        if len(found) >= limit:
            break
    return found


@lru_cache(maxsize=1)
def solution_grids() -> tuple[Grid, ...]:
    """All 288 complete 4x4 grids."""
    return tuple(solve((BLANK,) * SIZE * SIZE, limit=1000))


class Sudoku:
    """A 4x4 grid with blanks -> the full grid, row by row; the metric is read at one blank cell."""

    name = "sudoku"
    regime: Regime = "global"
    metric: Metric = "logit_difference"
    judged_by: Judgement = "argmax"
    summary = "the digit of a blank cell; corrupted by exchanging two digits throughout, same blanks"
    roles: tuple[str, ...] = ("given", "blank", "asked", "separator", "revealed")

    def _draw(self, rng: np.random.Generator) -> tuple[Grid, tuple[int, ...], str]:
        grids = solution_grids()
        solution = grids[int(rng.integers(len(grids)))]
        blanks: list[int] = []
        puzzle = solution
        wanted = int(rng.integers(FEWEST_BLANKS, MOST_BLANKS + 1))
        for cell in (int(c) for c in rng.permutation(SIZE * SIZE)):
            trial = (*puzzle[:cell], BLANK, *puzzle[cell + 1 :])
            if len(solve(trial)) == 1:
                puzzle, blanks = trial, [*blanks, cell]
            if len(blanks) == wanted:
                break
        relabel = {digit: str(rank) for rank, digit in enumerate(dict.fromkeys(solution))}
        key = f"sudoku:{''.join(relabel[d] for d in solution)}:{'-'.join(map(str, sorted(blanks)))}"
        return solution, tuple(sorted(blanks)), key

    def exercise(self, rng: np.random.Generator) -> Exercise:
        solution, blanks, key = self._draw(rng)
        return Exercise(f"blanks{len(blanks)}", joined(_prompt(solution, blanks))[0], " ".join(map(str, solution)), key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        solution, blanks, key = self._draw(rng)
        cell = blanks[int(rng.integers(len(blanks)))]
        others = [d for d in range(1, SIZE + 1) if d != solution[cell]]
        foil = others[int(rng.integers(len(others)))]
        exchange = {solution[cell]: foil, foil: solution[cell]}
        swapped = tuple(exchange.get(d, d) for d in solution)
        clean, spans = joined([*_prompt(solution, blanks, asked=cell), *_revealed(solution, cell)])
        return CounterfactualText(
            f"blanks{len(blanks)}",
            clean,
            joined([*_prompt(swapped, blanks), *_revealed(swapped, cell)])[0],
            (str(solution[cell]),),
            (str(foil),),
            key,
            remainder=" ".join(map(str, solution[cell + 1 :])),
            corrupt_remainder=" ".join(map(str, swapped[cell + 1 :])),
            completion_start=len(joined(_prompt(solution, blanks))[0]),
            roles=spans,
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        given = prompt.removesuffix(":").split()
        filled = completion.split()
        if len(filled) != SIZE * SIZE or not set(filled) <= set("1234"):
            return False
        digits = [int(d) for d in filled]
        consistent = all(g in ("_", f) for g, f in zip(given, filled, strict=True))
        return consistent and all(digits[c] != digits[p] for c in range(SIZE * SIZE) for p in PEERS[c])


def _prompt(solution: Grid, blanks: tuple[int, ...], *, asked: int | None = None) -> list[tuple[str, str]]:
    """(role, word) of every cell and of the colon."""
    cells = [("blank", "_") if c in blanks else ("given", str(d)) for c, d in enumerate(solution)]
    if asked is not None:
        cells[asked] = ("asked", "_")
    return [*cells, ("separator", ":")]


def _revealed(solution: Grid, cells: int) -> list[tuple[str, str]]:
    return [("revealed", str(digit)) for digit in solution[:cells]]
