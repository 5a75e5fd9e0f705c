"""Second-stage cells of the path between two models' weights, read as one of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import batch_rows, cell_groups, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.partners import partner_of
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.selected import examples_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.weight_interpolation.section import WeightInterpolation

if TYPE_CHECKING:
    from mechshift_core.models import Model


def execute_path(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: WeightInterpolation) -> None:
    """Compute and store the path of one pair and task, read as the model of the side: `loss`, `metric` and `correct`.

    Each is [points, selected examples], the mean over the states of an example; `correct` of the last state, in which
    the answer is decided.

    Raises:
        ExecutionError: if no path leads from the one to the other, a number is not finite, or the cell can't be
            written.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.interventions.weight_interpolation.path import read_point
    from mechshift_core.models.weight_path import weight_path

    selected = examples_of(plan, folder, cell)
    points = np.linspace(0, 1, intervention.points)
    description = {**describe_cell(plan, cell, model), "points": points.tolist(), "paradigm": model.paradigm}
    if not len(selected):
        folder.write_cell(cell.key, description, {"examples": selected})
        return
    partner = partner_of(plan, cell, model)
    before, after = (model, partner) if cell.side == "before" else (partner, model)
    path = weight_path(before, after, model)
    dataset = plan.dataset(cell.model, cell.task)
    examples = [dataset.examples[number] for number in selected]
    groups = [
        (group, to_batch(model, dataset, [examples[number] for number in group.numbers], group.states))
        for group in cell_groups(plan, cell, model, examples)
    ]
    few = groups[0][1].rows(slice(0, 2))
    path.check_ends(few.clean_ids, few.attention_mask)
    halvings: list[int] = []
    found = {name: np.zeros((len(points), len(selected)), dtype=np.float32) for name in ("loss", "metric", "correct")}
    for at, point in enumerate(points.tolist()):
        weights = path.weights(point)
        for name, values in read_point(path, weights, groups, len(selected), batch_rows(plan.spec), halvings).items():
            found[name][at] = values
    if not all(np.isfinite(values).all() for values in found.values()):
        raise ExecutionError(f"{cell.intervention} of {cell.pair!r} on {cell.task!r} is not finite")
    folder.write_cell(cell.key, {**description, "halvings": halvings}, {**found, "examples": selected})
    folder.log_halvings(cell, halvings)
