"""Cells of activation patching and ablation: the metric with one component replaced."""

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
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import component_names
from mechshift_core.kinds.section import AblationMethod
from stats.seeding import derived_seed

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.models import Model

Floats = npt.NDArray[np.float32]


def execute_nodes(
    plan: Plan,
    cell: Cell,
    model: Model,
    folder: RunFolder,
    kinds: Sequence[str],
    ablation: AblationMethod = "counterfactual",
    *,
    by_role: bool = False,
) -> None:
    """Compute and store the metric with each component replaced: [components, examples], by role [roles, ...].

    Args:
        kinds: Which components: `heads`, `mlps`, `residual`.
        ablation: What takes the place of a component's output.
        by_role: Whether it is replaced at the positions of each token role separately.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    dataset = plan.dataset(cell.model, cell.task)
    components = component_names(model.shape, kinds)
    roles = role_names(dataset, plan.reading(cell.budget), diffusion=is_diffusion(model)) if by_role else ()
    runs = [[], *([name] for _ in range(max(1, len(roles))) for name in components)]
    halvings: list[int] = []
    examples = range(cell.start, cell.stop)
    found = patched_metric(plan, cell, model, runs, ablation, examples=examples, roles=roles, halvings=halvings)
    by_run = found[1:].reshape(max(1, len(roles)), len(components), -1)
    description = {
        **describe_cell(plan, cell, model),
        "components": components,
        "roles": list(roles),
        "halvings": halvings,
    }
    folder.write_cell(cell.key, description, {"metric": by_run if roles else by_run[0], "clean_metric": found[0]})
    folder.log_halvings(cell, halvings)


def patched_metric(
    plan: Plan,
    cell: Cell,
    model: Model,
    runs: Sequence[Sequence[str]],
    ablation: AblationMethod,
    *,
    examples: Sequence[int],
    roles: Sequence[str] = (),
    halvings: list[int],
) -> Floats:
    """The metric of examples of a task with nodes replaced, [runs, examples]; the mean over the states of each.

    Args:
        runs: The nodes that each run replaces.
        ablation: What they are replaced by.
        examples: Numbers of the examples, ascending.
        roles: Token roles; the runs after the first then replace at the positions of one role each, as many for each.
        halvings: Receives the numbers of rows that did not fit into memory.

    Raises:
        ExecutionError: if a number is not finite.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.attribution import patch_nodes

    dataset = plan.dataset(cell.model, cell.task)
    metric = np.zeros((len(runs), len(examples)), dtype=np.float32)
    column = {number: place for place, number in enumerate(examples)}
    for group in cell_groups(plan, cell, model, dataset.examples, by_state=True):
        # With all examples of the task: `mean` and `resample` take their values from those of this length.
        places = [place for place, number in enumerate(group.numbers) if number in column]
        if not places:
            continue
        columns = [column[group.numbers[place]] for place in places]
        weights = np.array([group.weights[place] for place in places], dtype=np.float32)
        of_group = [dataset.examples[number] for number in group.numbers]
        numbers = role_numbers(of_group, group.states, roles) if roles else None
        found = patch_nodes(
            model,
            to_batch(model, dataset, of_group, group.states),
            runs,
            ablation=ablation,
            positions=None if numbers is None else _positions(numbers, len(roles), (len(runs) - 1) // len(roles)),
            seed=derived_seed(plan.spec.seed, "resample", cell.task),
            only=places,
            rows=batch_rows(plan.spec),
            halvings=halvings,
        )
        metric[:, columns] += weights * found.numpy()
    if not np.isfinite(metric).all():
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    return metric


def _positions(numbers: Tensor, roles: int, components: int) -> Tensor:
    """Where each run replaces, [1 + roles x components, examples, positions]: the clean run, then role by role."""
    import torch

    by_role = torch.stack([numbers == role for role in range(roles)]).repeat_interleave(components, dim=0)
    return torch.cat([torch.zeros_like(by_role[:1]), by_role])
