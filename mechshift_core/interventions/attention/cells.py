"""Cells of attention: where every head looks, by token role and direction.

Where an example is read in several states of its completion, what a group of queries does is averaged over the states
in which it is there, by their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import (
    batch_rows,
    cell_groups,
    is_diffusion,
    role_names,
    role_numbers,
    to_batch,
)
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.lengths import padded_rows
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.attention.section import Attention
from mechshift_core.tasks.counterfactual import Example

if TYPE_CHECKING:
    from mechshift_core.models import Model

Floats = npt.NDArray[np.float32]
PARTS = ("prompt", "revealed", "masked")
"""What a position is a part of: the prompt, what is revealed of the answer, or what of it is masked."""


def execute_attention(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Attention) -> None:
    """Compute and store `mass` [layers, heads, 1 + roles, roles + 3, examples], `uniform` [1 + roles, roles + 3,
    examples] and `queries` [1 + roles, examples], see :class:`.mass.AttentionMass`.

    With `completion` also `parts` [layers, heads, parts, examples] and `even_parts` [parts, examples], what the
    position read looks at of :data:`PARTS`, and `shown` [examples], how many tokens of the answer are revealed, mean
    over states.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.interventions.attention.mass import DIRECTIONS, attention_mass

    dataset, reading = plan.dataset(cell.model, cell.task), plan.reading(cell.budget)
    examples = dataset.examples[cell.start : cell.stop]
    names = role_names(dataset, reading, diffusion=is_diffusion(model))
    queries, keys, count = 1 + len(names), len(names) + len(DIRECTIONS), len(examples)
    mass: Floats = np.zeros((count, model.shape.layers, model.shape.heads, queries, keys), dtype=np.float32)
    uniform: Floats = np.zeros((count, queries, keys), dtype=np.float32)
    present: Floats = np.zeros((count, queries), dtype=np.float32)
    number: Floats = np.zeros((count, queries), dtype=np.float32)
    halvings: list[int] = []
    for group in cell_groups(plan, cell, model, examples):
        of_group = [examples[place] for place in group.numbers]
        found = attention_mass(
            model,
            to_batch(model, dataset, of_group, group.states),
            role_numbers(of_group, group.states, names),
            count=len(names),
            rows=batch_rows(plan.spec),
            halvings=halvings,
        )
        weights = np.array(group.weights, dtype=np.float32)
        np.add.at(mass, group.numbers, weights[:, None, None, None, None] * found.mass.numpy())
        np.add.at(uniform, group.numbers, weights[:, None, None] * found.uniform.numpy())
        np.add.at(number, group.numbers, weights[:, None] * found.queries.numpy())
        np.add.at(present, group.numbers, weights[:, None] * (found.queries.numpy() > 0))
    share = np.where(present > 0, present, 1)
    mass /= share[:, None, None, :, None]
    uniform /= share[:, :, None]
    if not np.isfinite(mass).all():
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    description = {
        **describe_cell(plan, cell, model),
        "attention": "eager",
        "roles": list(names),
        "halvings": halvings,
    }
    tensors = {"mass": np.moveaxis(mass, 0, -1), "uniform": np.moveaxis(uniform, 0, -1), "queries": number.T}
    if own.completion:
        tensors |= _by_part(plan, cell, model, examples, halvings)
    folder.write_cell(cell.key, description, {name: np.ascontiguousarray(array) for name, array in tensors.items()})
    folder.log_halvings(cell, halvings)


def _by_part(
    plan: Plan, cell: Cell, model: Model, examples: Sequence[Example], halvings: list[int]
) -> dict[str, Floats]:
    """What the position read looks at by part of the input, mean over the states of an example, by their weights."""
    from mechshift_core.interventions.attention.mass import attention_mass

    dataset, parts, count = plan.dataset(cell.model, cell.task), len(PARTS), len(examples)
    mass: Floats = np.zeros((count, model.shape.layers, model.shape.heads, parts), dtype=np.float32)
    even: Floats = np.zeros((count, parts), dtype=np.float32)
    shown: Floats = np.zeros(count, dtype=np.float32)
    for group in cell_groups(plan, cell, model, examples):
        of_group = [examples[place] for place in group.numbers]
        places = [parts_of(one, state) for one, state in zip(of_group, group.states, strict=True)]
        found = attention_mass(
            model,
            to_batch(model, dataset, of_group, group.states),
            padded_rows(places, 0),
            count=parts,
            rows=batch_rows(plan.spec),
            halvings=halvings,
        )
        weights = np.array(group.weights, dtype=np.float32)
        np.add.at(mass, group.numbers, weights[:, None, None, None] * found.mass[:, :, :, 0, :parts].numpy())
        np.add.at(even, group.numbers, weights[:, None] * found.uniform[:, 0, :parts].numpy())
        np.add.at(shown, group.numbers, weights * np.array([sum(state) for state in group.states]))
    return {"parts": np.moveaxis(mass, 0, -1), "even_parts": even.T, "shown": shown}


def parts_of(example: Example, state: Sequence[bool]) -> list[int]:
    """The number of the part of every position of an input, see :data:`PARTS`.

    Args:
        state: Which tokens of the completion are visible, as far as it is read.
    """
    whole = len(state) == example.revealed + example.masks
    behind = len(example.clean_behind_ids) if whole else 0
    return [*[0] * (len(example.clean_ids) - example.revealed), *(1 if seen else 2 for seen in state), *[0] * behind]
