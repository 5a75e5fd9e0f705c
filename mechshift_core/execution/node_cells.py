"""Cells of activation patching and ablation: the metric with one component replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import batch_rows, length_groups, role_names, role_numbers, to_batch
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
    return names + ([f"x{layer}" for layer in range(shape.layers + 1)] if "residual" in components else [])


def execute_nodes(
    plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: ActivationPatching | Ablation
) -> None:
    """Compute and store the metric with each component replaced: [components, examples], by role [roles, ...].

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    dataset = plan.datasets[cell.task]
    components = component_names(model.shape, intervention.components)
    by_role = isinstance(intervention, ActivationPatching) and intervention.positions == "roles"
    roles = role_names(dataset, diffusion=model.paradigm == "masked_diffusion") if by_role else ()
    count = cell.stop - cell.start
    halvings: list[int] = []
    clean = np.zeros(count, dtype=np.float32)
    metric = np.zeros((max(1, len(roles)), len(components), count), dtype=np.float32)
    for group in length_groups(model, dataset.examples):
        # All examples of this length: `mean` and `resample` take their values from the whole task.
        places = [place for place, number in enumerate(group) if cell.start <= number < cell.stop]
        if not places:
            continue
        columns = [group[place] - cell.start for place in places]
        of_group = [dataset.examples[number] for number in group]
        numbers = role_numbers(model, of_group, roles) if roles else None
        for role in range(len(metric)):
            chosen = None if numbers is None else numbers == role
            found = _patched(plan, cell, model, group, places, components, intervention, chosen, halvings)
            clean[columns], metric[role][:, columns] = found[0], found[1:]
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


def _patched(
    plan: Plan,
    cell: Cell,
    model: Model,
    group: Sequence[int],
    places: Sequence[int],
    components: Sequence[str],
    intervention: ActivationPatching | Ablation,
    chosen: Tensor | None,
    halvings: list[int],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Clean metric, then that with each component replaced, [1 + components, places]."""
    from mechshift_core.attribution import patch_nodes

    dataset = plan.datasets[cell.task]
    batch = to_batch(model, dataset, [dataset.examples[number] for number in group])
    nodes: list[list[str]] = [[], *([name] for name in components)]
    found = patch_nodes(
        model,
        batch,
        nodes,
        ablation=intervention.ablation if isinstance(intervention, Ablation) else "counterfactual",
        positions=None if chosen is None else chosen[None].expand(len(nodes), -1, -1),
        seed=derived_seed(plan.spec.seed, "resample", cell.task),
        only=places,
        rows=batch_rows(plan.spec),
        halvings=halvings,
    )
    return found.numpy()
