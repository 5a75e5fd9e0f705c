"""Cells of the logit lens: residual streams step by step of the denoising, components averaged over the steps.

Tensors have the examples last: `steps` [examples]; `stream_log_prob`, `stream_foil_log_prob`, `stream_rank`,
`stream_entropy` and `stream_top` [steps, layers + 1, examples], zero beyond an example's last step; the same of the
components [components, examples], with `top` as in the last step; and `direct` [components + 1, examples].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import Rows, batch_rows, cell_groups, is_diffusion, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.reading import steps_in
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Array

if TYPE_CHECKING:
    from mechshift_core.interventions.logit_lens.lens import Lens
    from mechshift_core.models import Model

FIELDS: Mapping[str, type[np.generic]] = {
    "log_prob": np.float32,
    "foil_log_prob": np.float32,
    "rank": np.float32,
    "entropy": np.float32,
    "top": np.int64,
}


def execute_lens(plan: Plan, cell: Cell, model: Model, folder: RunFolder) -> None:
    """Compute and store the logit lens and the direct logit attributions of one cell.

    Raises:
        ExecutionError: if a number is not finite, attributions do not sum to the logits, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.interventions.logit_lens.lens import lens_names, read_lens

    dataset, reading = plan.dataset(cell.model, cell.task), plan.reading(cell.budget)
    examples = dataset.examples[cell.start : cell.stop]
    names = lens_names(model)
    groups = cell_groups(plan, cell, model, examples)
    lengths = [
        [
            steps_in(weight, examples[number], reading, diffusion=is_diffusion(model))
            for number, weight in zip(group.numbers, group.weights, strict=True)
        ]
        for group in groups
    ]
    steps = np.zeros(len(examples), dtype=np.int64)
    for group, own in zip(groups, lengths, strict=True):
        np.add.at(steps, group.numbers, own)
    tensors = _empty(steps, streams=model.shape.layers + 1, names=len(names))
    halvings: list[int] = []
    for group, own in zip(groups, lengths, strict=True):
        batch = to_batch(model, dataset, [examples[number] for number in group.numbers], group.states)
        found = read_lens(model, batch, rows=batch_rows(plan.spec), halvings=halvings)
        _fill(tensors, group, found, own)
    if not all(np.isfinite(values).all() for values in tensors.values()):
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    description = {
        **describe_cell(plan, cell, model),
        "components": names,
        "tokens": _texts(model, tensors),
        "halvings": halvings,
    }
    folder.write_cell(cell.key, description, tensors)
    folder.log_halvings(cell, halvings)


def _empty(steps: Array, *, streams: int, names: int) -> dict[str, Array]:
    count, most = len(steps), int(steps.max())
    return {
        "steps": steps,
        "direct": np.zeros((names, count), dtype=np.float32),
        **{name: np.zeros((names - 1, count), dtype=dtype) for name, dtype in FIELDS.items()},
        **{f"stream_{name}": np.zeros((most, streams, count), dtype=dtype) for name, dtype in FIELDS.items()},
    }


def _fill(tensors: dict[str, Array], group: Rows, found: Lens, lengths: Sequence[int]) -> None:
    """Take in the rows of a group, each some steps long; those of an example come in the order of its states."""
    seen = dict.fromkeys(group.numbers, 0)  # steps of each example so far
    for row, (number, weight, length) in enumerate(zip(group.numbers, group.weights, lengths, strict=True)):
        step, stop = seen[number], seen[number] + length
        seen[number] = stop
        tensors["direct"][:, number] += weight * found.direct[row].numpy()
        for name in FIELDS:
            tensors[f"stream_{name}"][step:stop, :, number] = getattr(found.streams, name)[row].numpy()
            values = getattr(found.components, name)[row].numpy()
            if name == "top":
                tensors[name][:, number] = values
            else:
                tensors[name][:, number] += weight * values


def _texts(model: Model, tensors: Mapping[str, Array]) -> dict[str, str]:
    """Every token that is the most likely one somewhere, as text; its number where there is no tokenizer."""
    numbers = np.unique(np.concatenate([tensors[name].ravel() for name in ("top", "stream_top")])).tolist()
    tokenizer = model.tokenizer
    if tokenizer is None:
        return {str(number): f"#{number}" for number in numbers}
    return {str(number): str(tokenizer.decode([number])).strip() or f"#{number}" for number in numbers}
