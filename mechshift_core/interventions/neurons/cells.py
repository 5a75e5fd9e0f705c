"""Cells of neurons: what each neuron of the MLPs contributes, and the token at which it is most active.

Where an example is read in several states of its completion, scores and activations are averaged over them by their
weights; the token is that of the last state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import batch_rows, cell_groups, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.store import RunFolder

if TYPE_CHECKING:
    from mechshift_core.models import Model


def execute_neurons(plan: Plan, cell: Cell, model: Model, folder: RunFolder) -> None:
    """Compute and store `score`, `activation` and `token`, [layers, neurons, examples] each.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.interventions.neurons.scores import neuron_scores

    dataset = plan.dataset(cell.model, cell.task)
    examples = dataset.examples[cell.start : cell.stop]
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    halvings: list[int] = []
    for group in cell_groups(plan, cell, model, examples):
        batch = to_batch(model, dataset, [examples[number] for number in group.numbers], group.states)
        found = neuron_scores(model, batch, rows=batch_rows(plan.spec), halvings=halvings)
        values = {"score": found.values.numpy(), "activation": found.activations.numpy()}
        if not tensors:
            shape = (len(examples), *values["score"].shape[1:])
            tensors = {name: np.zeros(shape, dtype=np.float32) for name in values}
            tensors["token"] = np.zeros(shape, dtype=np.int64)
        weights = np.array(group.weights, dtype=np.float32)[:, None, None]
        for name, value in values.items():
            np.add.at(tensors[name], group.numbers, weights * value)
        ids = batch.clean_ids.numpy()
        tensors["token"][group.numbers] = ids[np.arange(len(ids))[:, None, None], found.positions.numpy()]
    if not all(np.isfinite(tensors[name]).all() for name in ("score", "activation")):
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    description = {**describe_cell(plan, cell, model), "tokens": _texts(model, tensors), "halvings": halvings}
    last = {name: np.ascontiguousarray(np.moveaxis(array, 0, -1)) for name, array in tensors.items()}
    folder.write_cell(cell.key, description, last)
    folder.log_halvings(cell, halvings)


def _texts(model: Model, tensors: Mapping[str, npt.NDArray[np.generic]]) -> dict[str, str]:
    """Every token at which some neuron is most active, as text; its number where there is no tokenizer."""
    numbers = [int(number) for number in np.unique(tensors["token"])]
    if model.tokenizer is None:
        return {str(number): f"#{number}" for number in numbers}
    return {str(number): str(model.tokenizer.decode([number])).strip() or f"#{number}" for number in numbers}
