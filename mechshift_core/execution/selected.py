"""What a cell of a pair starts from: the examples selected for it, the scores of its models, and the folds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.scores import (
    EdgeScoreStore,
    Numbers,
    halves,
    judgement,
    read_answers,
    selected_examples,
    task_seed,
)
from mechshift_core.execution.store import RunFolder
from stats.minimums import FEWEST_FOR_FOLDS
from stats.seeding import generator
from stats.split_half import draw_halves, prompts

Circuit = npt.NDArray[np.bool_]
FEWEST = FEWEST_FOR_FOLDS
"""Selected examples below which there are no folds."""


def examples_of(plan: Plan, folder: RunFolder, cell: Cell, *, of: str | None = None) -> Numbers:
    """The examples that are kept for the cell's side of its pair, by the answers that an edge attribution stored.

    Args:
        of: Its name; the first of the spec unless given.
    """
    first = plan.spec.edge_attribution
    assert first is not None  # a spec without one is refused
    attribution, pair, dataset = of or first.name, plan.spec.pair(cell.pair), plan.datasets[cell.task]
    by = judgement(plan.spec, dataset)
    answers = [
        read_answers(folder, plan.cells_of(attribution, name, cell.task, budget=cell.budget), dataset, by)
        for name in pair.judged
    ]
    kept = selected_examples(answers, plan.spec.select.correct)
    if pair.prompts == "halves":
        return halves(kept, dataset, task_seed(plan.spec.seed, cell.task))[cell.side == "after"]
    return kept


def scores_of(plan: Plan, folder: RunFolder, attribution: str, model: str, cell: Cell) -> EdgeScoreStore:
    """The edge scores of a model on the cell's task."""
    cells = plan.cells_of(attribution, model, cell.task, budget=cell.budget)
    return EdgeScoreStore([folder.cell_file(other.key) for other in cells])


def halves_of(plan: Plan, task: str, selected: Numbers, *, held_out: bool) -> list[tuple[Circuit, Circuit]]:
    """(which of the selected examples rank, which are evaluated)."""
    if not held_out:
        everything = np.ones(len(selected), dtype=bool)
        return [(everything, everything)]
    templates = [plan.datasets[task].examples[number].template for number in selected]
    chosen = prompts(len(selected), examples=None, total=None, templates=templates)
    first = draw_halves(chosen, 1, generator(task_seed(plan.spec.seed, task), "cross-fitting"))[0]
    return [(first, ~first), (~first, first)]
