"""Second-stage cells of cross-model patching: one model of a pair runs with the other's activations, and with its own.

Both read the same prompts, each as it does otherwise: with its own beginning of a text, with the masks behind a prompt
or without, and with its own attention. Only positions that both have are patched, with the donor's activations or the
model's own, so that the two can be compared. The donor reads the completion in the state in which the model does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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
from mechshift_core.execution.partners import partner_of
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.reading import State
from mechshift_core.execution.selected import examples_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.cross_patching.section import CrossPatching
from mechshift_core.tasks.counterfactual import Example

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.models import Model

Floats = npt.NDArray[np.float32]
RESTORED, CROSSED, FLOOR, KEPT = "own", "cross", "floor", "kept"
"""Tensors of a cell: the corrupted run with the model's own clean activations, with the donor's clean ones, with the
donor's corrupted ones; and the clean run with the donor's clean ones."""


def execute_crossed(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: CrossPatching) -> None:
    """Compute and store the patched runs of one pair, side and task, of the selected examples.

    `own`, `cross`, `floor` and `kept` are [1 + roles, components, examples], all positions first; `clean_metric`,
    `corrupt_metric` and `shared`, the share of an example's positions that the donor has, are [examples].

    Raises:
        ExecutionError: if a number is not finite, the other model can't be loaded, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.attribution import moved_names

    selected = examples_of(plan, folder, cell)
    dataset = plan.dataset(cell.model, cell.task)
    components = moved_names(model.shape, intervention.components)
    by_role = intervention.positions == "roles"
    roles = role_names(dataset, plan.reading(cell.budget), diffusion=is_diffusion(model)) if by_role else ()
    description = {**describe_cell(plan, cell, model), "components": components, "roles": list(roles)}
    if not len(selected):
        folder.write_cell(cell.key, description, {"examples": selected})
        return
    halvings: list[int] = []
    found = _patched(plan, cell, model, components, roles, selected.tolist(), halvings)
    if not all(np.isfinite(values).all() for values in found.values()):
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    folder.write_cell(cell.key, {**description, "halvings": halvings}, {**found, "examples": selected})
    folder.log_halvings(cell, halvings)


def _patched(
    plan: Plan,
    cell: Cell,
    model: Model,
    components: Sequence[str],
    roles: Sequence[str],
    selected: Sequence[int],
    halvings: list[int],
) -> dict[str, Floats]:
    """The tensors of a cell, each number the mean over the states of an example."""
    donor = partner_of(plan, cell, model)
    own_data, other_data = (plan.dataset(name, cell.task) for name in (cell.model, plan.partner(cell)))
    own, other = ([data.examples[number] for number in selected] for data in (own_data, other_data))
    runs: list[list[str]] = [[], *([name] for _ in range(1 + len(roles)) for name in components)]
    metric = {name: np.zeros((len(runs), len(selected))) for name in (RESTORED, CROSSED, FLOOR, KEPT)}
    shared = np.zeros(len(selected))
    for group in cell_groups(plan, cell, model, own):
        examples, others = ([of[number] for number in group.numbers] for of in (own, other))
        batch = to_batch(model, own_data, examples, group.states)
        states = _states(donor, others, group)
        given = to_batch(donor, other_data, others, states)
        columns = _columns(examples, others, batch.present, given.present)
        numbers = role_numbers(examples, group.states, roles) if roles else None
        where = _positions(numbers, len(roles), len(components), columns >= 0)
        results = _metrics(model, donor, batch, given, columns, where, runs, batch_rows(plan.spec), halvings)
        weights = np.array(group.weights)
        for name, values in results.items():
            np.add.at(metric[name].T, group.numbers, (weights * values.double().numpy()).T)
        share = (columns >= 0).sum(1) / batch.present.sum(1)
        np.add.at(shared, group.numbers, weights * share.double().numpy())
    shape = (1 + len(roles), len(components), len(selected))
    by_place = {name: values[1:].reshape(shape).astype(np.float32) for name, values in metric.items()}
    ends = {"clean_metric": metric[KEPT][0], "corrupt_metric": metric[RESTORED][0], "shared": shared}
    return by_place | {name: values.astype(np.float32) for name, values in ends.items()}


def _metrics(
    model: Model,
    donor: Model,
    batch: CounterfactualBatch,
    given: CounterfactualBatch,
    columns: Tensor,
    where: Tensor,
    runs: Sequence[Sequence[str]],
    rows: int | None,
    halvings: list[int],
) -> dict[str, Tensor]:
    """The patched runs of a batch, [runs, examples] each; `given` is the batch as the donor reads it."""
    from mechshift_core.attribution import cross_patch

    crossed = partial(
        cross_patch,
        model,
        donor,
        batch,
        runs,
        donor_batch=given,
        columns=columns,
        positions=where,
        rows=rows,
        halvings=halvings,
    )
    return {
        RESTORED: cross_patch(model, model, batch, runs, positions=where, rows=rows, halvings=halvings),
        CROSSED: crossed(),
        FLOOR: crossed(given="corrupted"),
        KEPT: crossed(into="clean"),
    }


def _states(donor: Model, examples: Sequence[Example], group: Rows) -> list[State]:
    """The states in which the donor reads: what is visible to the model is to it, and nothing else.

    Raises:
        ExecutionError: if something is hidden from a donor that has no mask token.
    """
    states = []
    for example, state in zip(examples, group.states, strict=True):
        whole = (*state, *[False] * (example.revealed + example.masks - len(state)))
        states.append(whole if is_diffusion(donor) else whole[: example.revealed])
    if donor.mask_token_id is None and not all(map(all, states)):
        raise ExecutionError(
            f"{donor.source} has no mask token, but tokens of an answer are hidden from the model that is to use its "
            "activations; use `denoising: {steps: per_token, reveal: left_to_right}`, or give it a `mask_token`"
        )
    return states


def _columns(own: Sequence[Example], other: Sequence[Example], present: Tensor, known: Tensor) -> Tensor:
    """[examples, positions]: the donor's column of each position; -1 where it has none, as before the prompt itself."""
    import torch

    columns = torch.full(present.shape, -1)
    for row, (mine, theirs) in enumerate(zip(own, other, strict=True)):
        begin, begun = len(mine.added or ()), len(theirs.added or ())
        places = torch.arange(int(present[row].sum()))
        there = places + begun - begin
        kept = (there < int(known[row].sum())) & ((places >= begin) if begin != begun else (places >= 0))
        columns[row, : len(places)] = torch.where(kept, there, -1)
    return columns


def _positions(numbers: Tensor | None, roles: int, components: int, shared: Tensor) -> Tensor:
    """Where each run patches, [1 + (1 + roles) x components, examples, positions]: all positions, then role by role."""
    import torch

    places = [torch.ones_like(shared), *([] if numbers is None else [numbers == role for role in range(roles)])]
    masks = torch.stack([place & shared for place in places]).repeat_interleave(components, dim=0)
    return torch.cat([torch.zeros_like(masks[:1]), masks])
