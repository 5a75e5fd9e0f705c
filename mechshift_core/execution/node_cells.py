"""Cells of activation patching and ablation: the metric with one component replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import (
    batch_rows,
    is_diffusion,
    role_names,
    role_numbers,
    row_groups,
    to_batch,
)
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph, Shape
from mechshift_core.spec.interventions import Ablation, ActivationPatching
from stats.seeding import derived_seed

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.models import Model


def component_names(shape: Shape, components: Sequence[str]) -> list[str]:
    """Names of the components of some kinds (heads, mlps, residual), in the order in which they compute."""
    kinds = {"head": "heads", "mlp": "mlps"}
    names = [source.name for source in Graph.of(shape).sources if kinds.get(source.kind) in components]
    return [*names, *shape.residual_streams] if "residual" in components else names


def execute_nodes(
    plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: ActivationPatching | Ablation
) -> None:
    """Compute and store the metric with each component replaced: [components, examples], by role [roles, ...].

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    from mechshift_core.attribution import patch_nodes

    dataset = plan.datasets[cell.task]
    components = component_names(model.shape, intervention.components)
    by_role = isinstance(intervention, ActivationPatching) and intervention.positions == "roles"
    reading = plan.reading(cell.budget)
    roles = role_names(dataset, reading, diffusion=is_diffusion(model)) if by_role else ()
    count = cell.stop - cell.start
    halvings: list[int] = []
    clean = np.zeros(count, dtype=np.float32)
    metric = np.zeros((max(1, len(roles)), len(components), count), dtype=np.float32)
    for group in row_groups(model, dataset.examples, reading, by_state=True):
        # All examples of this length: `mean` and `resample` take their values from the whole task.
        places = [place for place, number in enumerate(group.numbers) if cell.start <= number < cell.stop]
        if not places:
            continue
        columns = [group.numbers[place] - cell.start for place in places]
        weights = np.array([group.weights[place] for place in places], dtype=np.float32)
        of_group = [dataset.examples[number] for number in group.numbers]
        numbers = role_numbers(of_group, group.states, roles) if roles else None
        batch = to_batch(model, dataset, of_group, group.states)
        found = patch_nodes(
            model,
            batch,
            [[], *([name] for _ in range(len(metric)) for name in components)],
            ablation=intervention.ablation if isinstance(intervention, Ablation) else "counterfactual",
            positions=None if numbers is None else _positions(numbers, len(roles), len(components)),
            seed=derived_seed(plan.spec.seed, "resample", cell.task),
            only=places,
            rows=batch_rows(plan.spec),
            halvings=halvings,
        ).numpy()
        clean[columns] += weights * found[0]
        metric[:, :, columns] += weights * found[1:].reshape(*metric.shape[:2], len(places))
    if not np.isfinite(metric).all() or not np.isfinite(clean).all():
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    description = {
        **describe_cell(plan, cell, model),
        "components": components,
        "roles": list(roles),
        "halvings": halvings,
    }
    tensors = {"metric": metric if roles else metric[0], "clean_metric": clean}
    folder.write_cell(cell.key, description, tensors)
    folder.log_halvings(cell, halvings)


def _positions(numbers: Tensor, roles: int, components: int) -> Tensor:
    """Where each run replaces, [1 + roles x components, examples, positions]: the clean run, then role by role."""
    import torch

    by_role = torch.stack([numbers == role for role in range(roles)]).repeat_interleave(components, dim=0)
    return torch.cat([torch.zeros_like(by_role[:1]), by_role])
