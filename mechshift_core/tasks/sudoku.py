"""Sudoku 4x4: fill a grid with one solution; corrupted by exchanging two digits throughout."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from mechshift_core.tasks.banks import BUNDLED, Bank
from mechshift_core.tasks.base import CounterfactualText, Exercise, Judgement, Metric, Regime, choose
from mechshift_core.tasks.natural import formats as natural
from mechshift_core.tasks.roles import OTHER, joined

SIZE, BOX = 4, 2
MOST_BLANKS, FEWEST_BLANKS = 8, 3
BLANK = 0
Grid = tuple[int, ...]
Parts = list[tuple[str, str]]
BANK = Bank(BUNDLED, {"plain": "{row} {row} {row} {row} :"}, fine=True)


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

    def __init__(self, bank: Bank = BANK) -> None:
        self.bank = bank

    @property
    def banks(self) -> Mapping[str, Sudoku]:
        return {bank.name: Sudoku(bank) for bank in (BANK, natural.SUDOKU)}

    def _draw(self, rng: np.random.Generator) -> tuple[str, Grid, tuple[int, ...], str]:
        """(frame, solution, blank cells, key)."""
        frames = tuple(self.bank.frames)
        # The single wording of the bundled models was never drawn.
        frame = choose(rng, frames) if len(frames) > 1 else frames[0]
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
        return frame, solution, tuple(sorted(blanks)), key

    def exercise(self, rng: np.random.Generator) -> Exercise:
        frame, solution, blanks, key = self._draw(rng)
        wording = self.bank.frames[frame]
        prompt, _ = joined(_prompt(wording, solution, blanks))
        return Exercise(self._template(frame, blanks), prompt, _completion(wording, solution), key)

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        frame, solution, blanks, key = self._draw(rng)
        cell = blanks[int(rng.integers(len(blanks)))]
        others = [d for d in range(1, SIZE + 1) if d != solution[cell]]
        foil = others[int(rng.integers(len(others)))]
        exchange = {solution[cell]: foil, foil: solution[cell]}
        swapped = tuple(exchange.get(d, d) for d in solution)
        wording = self.bank.frames[frame]
        revealed, remainder = _cut(wording, solution, cell)
        swapped_revealed, swapped_remainder = _cut(wording, swapped, cell)
        clean, spans = joined([*_prompt(wording, solution, blanks, asked=cell), *revealed])
        return CounterfactualText(
            self._template(frame, blanks),
            clean,
            joined([*_prompt(wording, swapped, blanks), *swapped_revealed])[0],
            (str(solution[cell]),),
            (str(foil),),
            key,
            remainder=remainder,
            corrupt_remainder=swapped_remainder,
            completion_start=len(joined(_prompt(wording, solution, blanks))[0]),
            roles=spans,
        )

    def is_correct(self, prompt: str, completion: str) -> bool:
        given = [word for word in prompt.split() if word in set("_1234")]
        filled = [word for word in completion.split() if word in set("1234")]
        digits = tuple(map(int, filled))
        asked = (wording for wording in self.bank.frames.values() if prompt.endswith(_around(wording)[-1]))
        if len(filled) != SIZE * SIZE or completion not in [_completion(wording, digits) for wording in asked]:
            return False
        consistent = all(g in ("_", f) for g, f in zip(given, filled, strict=True))
        return consistent and all(digits[c] != digits[p] for c in range(SIZE * SIZE) for p in PEERS[c])

    def _template(self, frame: str, blanks: tuple[int, ...]) -> str:
        return f"blanks{len(blanks)}" if self.bank.fine else frame


def _around(wording: str) -> list[str]:
    """What stands before the first row, after each, and after the last."""
    return re.split(r" ?\{row\} ?", wording)


def _rows(wording: str, cells: Sequence[tuple[str, str]]) -> Parts:
    """Cells with what the wording has between two rows."""
    _, *between, _ = _around(wording)
    found: Parts = []
    for cell, part in enumerate(cells):
        if cell and cell % SIZE == 0 and (text := between[cell // SIZE - 1]):
            found.append((OTHER, text))
        found.append(part)
    return found


def _prompt(wording: str, solution: Grid, blanks: tuple[int, ...], *, asked: int | None = None) -> Parts:
    """(role, word) of what stands before the grid, of every cell, and of what stands behind."""
    cells = [("blank", "_") if c in blanks else ("given", str(d)) for c, d in enumerate(solution)]
    if asked is not None:
        cells[asked] = ("asked", "_")
    before, *_, after = _around(wording)
    return [*([(OTHER, before)] if before else []), *_rows(wording, cells), ("separator", after)]


def _completion(wording: str, solution: Grid) -> str:
    """The digits, row by row."""
    return " ".join(word for _, word in _rows(wording, [("", str(digit)) for digit in solution]))


def _cut(wording: str, solution: Grid, cell: int) -> tuple[Parts, str]:
    """What stands before a cell of the solution as (role, word), and what stands behind it."""
    parts = _rows(wording, [("revealed", str(digit)) for digit in solution])
    at = [place for place, (role, _) in enumerate(parts) if role == "revealed"][cell]
    return parts[:at], " ".join(word for _, word in parts[at + 1 :])
