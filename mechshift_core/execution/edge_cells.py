"""Cells of an edge attribution: scores go to the file as they come, so that memory does not grow with the examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import batch_rows, length_groups, role_names, role_numbers, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Layout
from mechshift_core.graph import Graph
from mechshift_core.spec.interventions import EdgeAttribution
from mechshift_core.tasks.counterfactual import Dataset, Example

if TYPE_CHECKING:
    from mechshift_core.attribution import EdgeScores
    from mechshift_core.models import Model


def execute_edges(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: EdgeAttribution) -> None:
    """Compute and store the edge scores of one cell.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    dataset = plan.datasets[cell.task]
    examples = dataset.examples[cell.start : cell.stop]
    edges, count = len(Graph.of(model.shape).edges), len(examples)
    names = role_names(dataset, diffusion=model.paradigm == "masked_diffusion") if intervention.by_role else ()
    layout: Layout = {
        "scores": (np.float32, (count, edges)),
        "clean_metric": (np.float32, (count,)),
        "corrupt_metric": (np.float32, (count,)),
        "predicted": (np.int64, (count,)),
    }
    if names:
        layout = {**layout, "by_role": (np.float32, (count, len(names), edges))}
    description = {**describe_cell(plan, cell, model), "roles": list(names)}
    sizes: list[int] = []
    halvings: list[int] = []
    with folder.new_cell(cell.key, description, layout) as file:
        for rows, block, last in _blocks(model, dataset, examples, intervention, batch_rows(plan.spec), names):
            _check_finite(cell, block)
            file.write("scores", rows, block.values.numpy())
            file.write("clean_metric", rows, block.clean_metric.float().numpy())
            file.write("corrupt_metric", rows, block.corrupt_metric.float().numpy())
            file.write("predicted", rows, block.predicted.numpy())
            if block.by_role is not None:
                by_role = np.zeros((len(rows), len(names), edges), dtype=np.float32)
                by_role[:, : block.by_role.shape[1]] = block.by_role.numpy()
                file.write("by_role", rows, by_role)
            if last and block.batching is not None:
                sizes.append(block.batching.size)
                halvings += block.batching.halvings
        description |= {"batch_size": min(*sizes, count), "halvings": halvings}
    folder.log_halvings(cell, halvings)


def _blocks(
    model: Model,
    dataset: Dataset,
    examples: Sequence[Example],
    intervention: EdgeAttribution,
    batch_size: int | None,
    names: Sequence[str],
) -> Iterator[tuple[list[int], EdgeScores, bool]]:
    """(numbers of examples, their scores, whether they are the last of their length)."""
    from mechshift_core.attribution import edge_score_blocks

    for group in length_groups(model, examples):
        of_group = [examples[number] for number in group]
        blocks = edge_score_blocks(
            model,
            to_batch(model, dataset, of_group),
            method=intervention.method,
            steps=intervention.steps,
            quadrature=intervention.quadrature,
            batch_size=batch_size,
            roles=role_numbers(model, of_group, names) if names else None,
        )
        start = 0
        for block in blocks:
            stop = start + len(block.values)
            yield group[start:stop], block, stop == len(group)
            start = stop


def _check_finite(cell: Cell, block: EdgeScores) -> None:
    import torch

    if not all(bool(torch.isfinite(part).all()) for part in (block.values, block.clean_metric, block.corrupt_metric)):
        raise ExecutionError(f"attribution of {cell.model!r} on {cell.task!r} is not finite")
