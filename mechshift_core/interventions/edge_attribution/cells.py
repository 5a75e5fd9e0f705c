"""Cells of an edge attribution: scores go to the file as they come, so that memory does not grow with the examples.

Where an example is read in several states of its completion, its scores and metrics are their weighted mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import (
    Rows,
    batch_rows,
    cell_groups,
    is_diffusion,
    role_names,
    role_numbers,
    to_batch,
)
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.reading import Reading
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Array, Layout, TensorFile
from mechshift_core.graph import Graph
from mechshift_core.interventions.edge_attribution.section import EdgeAttribution
from mechshift_core.tasks.counterfactual import Dataset, Example

if TYPE_CHECKING:
    from mechshift_core.attribution import EdgeScores
    from mechshift_core.models import Model

DRAWS = "draw_variance"
"""The tensor of the variance of one draw's scores, [examples, edges]."""


def execute_edges(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: EdgeAttribution) -> None:
    """Compute and store the edge scores of one cell.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    dataset, reading = plan.dataset(cell.model, cell.task), plan.reading(cell.budget)
    examples = dataset.examples[cell.start : cell.stop]
    edges, count = len(Graph.of(model.shape).edges), len(examples)
    names = role_names(dataset, reading, diffusion=is_diffusion(model)) if intervention.by_role else ()
    layout: Layout = {
        "scores": (np.float32, (count, edges)),
        "clean_metric": (np.float32, (count,)),
        "corrupt_metric": (np.float32, (count,)),
        "predicted": (np.int64, (count,)),
        "masks": (np.int64, (count,)),
        "states": (np.int64, (count,)),
    }
    if intervention.method == "expected-gradients" and intervention.draws > 1:
        layout = {**layout, DRAWS: (np.float32, (count, edges))}
    if names:
        layout = {**layout, "by_role": (np.float32, (count, len(names), edges))}
    description = {**describe_cell(plan, cell, model), "roles": list(names)}
    sizes: list[int] = []
    halvings: list[int] = []
    groups = cell_groups(plan, cell, model, examples)
    with folder.new_cell(cell.key, description, layout) as file:
        for group in groups:
            _write_reading(file, group, examples, reading)
            options = {"batch_size": batch_rows(plan.spec), "seed": plan.spec.seed}
            blocks = _blocks(model, dataset, examples, group, intervention, options, names)
            sums = _Sums()
            for rows, block in blocks:
                _check_finite(cell, block)
                for name, values in sums.add(rows, _arrays(block, len(names))).items():
                    file.write(
                        name, [number for number, last in zip(rows.numbers, rows.last, strict=True) if last], values
                    )
            if block.batching is not None:
                sizes.append(block.batching.size)
                halvings += block.batching.halvings
        description |= {"batch_size": min(*sizes, count), "halvings": halvings}
    folder.log_halvings(cell, halvings)


class _Sums:
    """Weighted means over the states of each example, whose rows come one after the other.

    The points of each state are drawn on their own, so that the variance of the mean is a sum of variances.
    """

    def __init__(self) -> None:
        self._open: dict[str, Array] = {}

    def add(self, rows: Rows, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Take in some rows; returns what is known of the examples of which they hold the last state, in their order.

        The predicted token is that of the last state.
        """
        if not self._open and all(weight == 1 for weight in rows.weights):
            return dict(arrays)
        done: dict[str, list[Array]] = {name: [] for name in arrays}
        for place, (weight, last) in enumerate(zip(rows.weights, rows.last, strict=True)):
            for name, values in arrays.items():
                if name == "predicted":
                    self._open[name] = values[place]
                else:
                    share = np.float32(weight**2 if name == DRAWS else weight)
                    self._open[name] = self._open.get(name, np.float32(0)) + share * values[place]
                if last:
                    done[name].append(self._open.pop(name))
        return {name: np.array(values, dtype=arrays[name].dtype) for name, values in done.items() if values}


def _arrays(block: EdgeScores, roles: int) -> dict[str, Array]:
    """What a block holds, row by row."""
    arrays = {
        "scores": block.values.float().numpy(),
        "clean_metric": block.clean_metric.float().numpy(),
        "corrupt_metric": block.corrupt_metric.float().numpy(),
        "predicted": block.predicted.numpy(),
    }
    if block.draw_variance is not None:
        arrays[DRAWS] = block.draw_variance.float().numpy()
    if block.by_role is not None:
        by_role = np.zeros((len(block.values), roles, block.values.shape[1]), dtype=np.float32)
        by_role[:, : block.by_role.shape[1]] = block.by_role.numpy()
        arrays["by_role"] = by_role
    return arrays


def _write_reading(file: TensorFile, group: Rows, examples: Sequence[Example], reading: Reading) -> None:
    """How many tokens are hidden when an example is read first, and in how many states of the budget it is read."""
    for number, states in Counter(group.numbers).items():
        first = group.states[group.numbers.index(number)]
        counted = states if reading.holds(first, examples[number]) else 0
        file.write("masks", [number], np.array([len(first) - sum(first)], dtype=np.int64))
        file.write("states", [number], np.array([counted], dtype=np.int64))


def _blocks(
    model: Model,
    dataset: Dataset,
    examples: Sequence[Example],
    group: Rows,
    intervention: EdgeAttribution,
    options: Mapping[str, Any],
    names: Sequence[str],
) -> Iterator[tuple[Rows, EdgeScores]]:
    """The rows of a group and their scores, some at a time."""
    from mechshift_core.attribution import edge_score_blocks

    of_group = [examples[number] for number in group.numbers]
    blocks = edge_score_blocks(
        model,
        to_batch(model, dataset, of_group, group.states),
        method=intervention.method,
        steps=intervention.steps,
        quadrature=intervention.quadrature,
        draws=intervention.draws,
        methods=intervention.methods,
        **options,
        roles=role_numbers(of_group, group.states, names) if names else None,
    )
    start = 0
    for block in blocks:
        stop = start + len(block.values)
        yield group.part(slice(start, stop)), block
        start = stop


def _check_finite(cell: Cell, block: EdgeScores) -> None:
    import torch

    if not all(bool(torch.isfinite(part).all()) for part in (block.values, block.clean_metric, block.corrupt_metric)):
        raise ExecutionError(f"attribution of {cell.model!r} on {cell.task!r} is not finite")
