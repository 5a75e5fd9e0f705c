"""Cells of the comparison on prompts: what a model's streams and predictions are, to be held against another's.

A prompt that is read in several states of its completion is read in the first one alone: in it nothing is revealed that
the denoising steps reveal, whatever the order, so that both models of a pair see the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.movement.section import Movement

if TYPE_CHECKING:
    from mechshift_core.models import Model

Floats = npt.NDArray[np.float32]


def execute_movement(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Movement) -> None:
    """Compute and store `streams` [layers + 1, 1 + roles, hidden, examples], `tokens` [1 + roles, examples] and
    `log_probs` [vocabulary, examples]; see :class:`.Streams`.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.interventions.movement.streams import read_streams

    dataset, reading = plan.dataset(cell.model, cell.task), plan.reading(cell.budget)
    examples = dataset.examples[cell.start : cell.stop]
    names = role_names(dataset, reading, diffusion=is_diffusion(model)) if own.by_role else ()
    shape = model.shape
    streams: Floats = np.zeros((shape.layers + 1, 1 + len(names), shape.hidden_size, len(examples)), dtype=np.float32)
    tokens: Floats = np.zeros((1 + len(names), len(examples)), dtype=np.float32)
    log_probs: Floats | None = None
    halvings: list[int] = []
    for group in map(_first_states, cell_groups(plan, cell, model, examples)):
        of_group = [examples[number] for number in group.numbers]
        found = read_streams(
            model,
            to_batch(model, dataset, of_group, group.states),
            role_numbers(of_group, group.states, names) if own.by_role else None,
            count=len(names),
            rows=batch_rows(plan.spec),
            halvings=halvings,
        )
        if log_probs is None:
            log_probs = np.zeros((found.log_probs.shape[1], len(examples)), dtype=np.float32)
        streams[..., group.numbers] = np.moveaxis(found.streams.numpy(), 0, -1)
        tokens[:, group.numbers] = found.tokens.numpy().T
        log_probs[:, group.numbers] = found.log_probs.numpy().T
    assert log_probs is not None  # a cell has examples
    description = {**describe_cell(plan, cell, model), "roles": list(names), "halvings": halvings}
    folder.write_cell(cell.key, description, {"streams": streams, "tokens": tokens, "log_probs": log_probs})
    folder.log_halvings(cell, halvings)


def _first_states(group: Rows) -> Rows:
    """Each example of a group in its first state alone; those of an example come in order."""
    found = Rows()
    seen: set[int] = set()
    for number, state, last in zip(group.numbers, group.states, group.last, strict=True):
        if number not in seen:
            found.add(number, state, 1.0, last=last)
            seen.add(number)
    return found
