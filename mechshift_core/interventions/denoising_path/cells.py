"""Cells of denoising paths: what a model says at the position of the answer, step by step.

Tensors have the examples last: `steps` [examples]; `answer`, `others`, `confidence` and `top` (see
:class:`.readout.Readout`) [steps, examples], zero beyond an example's last step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.execution.batches import batch_rows, cell_groups, is_diffusion, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.lengths import length_of
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.reading import steps_in
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Array
from mechshift_core.interventions.denoising_path.section import DenoisingPath
from mechshift_core.tasks.counterfactual import Example

if TYPE_CHECKING:
    from mechshift_core.interventions.denoising_path.readout import Readout
    from mechshift_core.models import Model

FIELDS = {"answer": np.float32, "others": np.float32, "confidence": np.float32, "top": np.int64}


def execute_path(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: DenoisingPath) -> None:
    """Compute and store the paths of one cell.

    Raises:
        ExecutionError: if a number is not finite, a mask token is missing, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    dataset = plan.dataset(cell.model, cell.task)
    examples = dataset.examples[cell.start : cell.stop]
    halvings: list[int] = []
    paths = (_own if own.tokens == "own" else _given)(plan, cell, model, examples, halvings)
    steps = np.array([len(path["top"]) for path in paths], dtype=np.int64)
    tensors = {name: np.zeros((int(steps.max()), len(paths)), dtype=dtype) for name, dtype in FIELDS.items()}
    for number, path in enumerate(paths):
        for name, values in path.items():
            tensors[name][: len(values), number] = values
    folder.write_cell(cell.key, {**describe_cell(plan, cell, model), "halvings": halvings}, {"steps": steps, **tensors})
    folder.log_halvings(cell, halvings)


def _given(
    plan: Plan, cell: Cell, model: Model, examples: Sequence[Example], halvings: list[int]
) -> list[dict[str, Array]]:
    """Of each example what is read in its states, in their order; a state of several steps counts as often."""
    from mechshift_core.interventions.denoising_path.readout import read_out

    dataset, reading = plan.dataset(cell.model, cell.task), plan.reading(cell.budget)
    rows: list[list[dict[str, Array]]] = [[] for _ in examples]
    for group in cell_groups(plan, cell, model, examples):
        batch = to_batch(model, dataset, [examples[number] for number in group.numbers], group.states)
        found = _arrays(read_out(model, batch, rows=batch_rows(plan.spec), halvings=halvings))
        for row, (number, weight) in enumerate(zip(group.numbers, group.weights, strict=True)):
            times = steps_in(weight, examples[number], reading, diffusion=is_diffusion(model))
            rows[number].append({name: np.repeat(values[row], times) for name, values in found.items()})
    return [{name: np.concatenate([part[name] for part in parts]) for name in FIELDS} for parts in rows]


def _own(
    plan: Plan, cell: Cell, model: Model, examples: Sequence[Example], halvings: list[int]
) -> list[dict[str, Array]]:
    """Of each example what is read while the model denoises its completion by itself."""
    from mechshift_core.interventions.denoising_path.readout import own_path

    groups: dict[object, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        groups[length_of(example, diffusion=True), example.revealed].append(number)
    paths: dict[int, dict[str, Array]] = {}
    for numbers in groups.values():
        found = own_path(
            model,
            [examples[number] for number in numbers],
            plan.reading(cell.budget),
            rows=batch_rows(plan.spec),
            halvings=halvings,
        )
        paths |= {number: _arrays(path) for number, path in zip(numbers, found, strict=True)}
    return [paths[number] for number in range(len(examples))]


def _arrays(found: Readout) -> dict[str, Array]:
    return {name: getattr(found, name).numpy().astype(dtype) for name, dtype in FIELDS.items()}
