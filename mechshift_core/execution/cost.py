"""What cells cost, in passes of one prompt through a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mechshift_core.execution.batches import known_states, role_names
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan
from mechshift_core.graph import Graph, component_names, components_by_depth
from mechshift_core.spec.interventions import (
    Ablation,
    ActivationPatching,
    Attention,
    CircuitPatching,
    EdgeAttribution,
    LogitLens,
    Neurons,
    Probe,
    TargetedAblation,
)


@dataclass(frozen=True, slots=True)
class Cost:
    """Passes of one prompt.

    Attributes:
        forward: Plain forward passes, `backward` with gradients.
        patched: Forward passes in which something is replaced, each a few times as long as a plain one; of circuits at
            most, since only the selected examples are run.
    """

    forward: int
    backward: int
    patched: int

    def __str__(self) -> str:
        patched = f", {self.patched} patched passes" if self.patched else ""
        return f"{self.forward} forward and {self.backward} backward passes of one prompt{patched}"


def cost(cells: Iterable[tuple[Plan, Cell]]) -> Cost:
    """The passes of some cells, each with its plan.

    Where a model chooses the order of revealing, as many states are counted as from left to right.
    """
    found = [_of_cell(plan, cell) for plan, cell in cells]
    return Cost(sum(c.forward for c in found), sum(c.backward for c in found), sum(c.patched for c in found))


def _of_cell(plan: Plan, cell: Cell) -> Cost:
    intervention = next(i for i in plan.spec.interventions if i.name == cell.intervention)
    facts, dataset = plan.models[cell.model], plan.dataset(cell.model, cell.task)
    reading, diffusion = plan.reading(cell.budget), facts.declared.paradigm == "masked_diffusion"
    read = [known_states(one, reading, diffusion=diffusion) for one in dataset.examples[cell.start : cell.stop]]
    examples = sum(map(len, read))  # in each of their states
    shape = facts.shape
    if isinstance(intervention, EdgeAttribution):
        if intervention.method == "exact":
            return Cost(2 * examples, 0, examples * len(Graph.of(shape).edges))
        steps = {"eap": 1, "clean-corrupted": 2}.get(intervention.method, intervention.steps)
        return Cost(examples * (2 + steps), examples * steps, 0)
    if isinstance(intervention, Ablation) and cell.part == "pairs":
        strongest = min(intervention.pairwise, len(component_names(shape, intervention.components)))
        return Cost(0, 0, examples * strongest * (strongest - 1) // 2)
    if isinstance(intervention, Ablation) and cell.part == "shapley":
        assert intervention.shapley is not None
        every = 2 ** min(intervention.shapley.components, len(component_names(shape, intervention.components)))
        return Cost(0, 0, examples * min(every, intervention.shapley.budget or every))
    if isinstance(intervention, ActivationPatching | Ablation):
        by_role = isinstance(intervention, ActivationPatching) and intervention.positions == "roles"
        times = len(role_names(dataset, reading, diffusion=diffusion)) if by_role else 1
        runs = times * (1 + len(component_names(shape, intervention.components)))
        return Cost(times * examples, 0, examples * runs)
    if isinstance(intervention, Attention | Probe | LogitLens):
        return Cost(examples, 0, 0)
    if isinstance(intervention, Neurons):
        return Cost(2 * examples, examples, 0)
    if isinstance(intervention, TargetedAblation):
        sizes = [len(found) for found in components_by_depth(shape).values()]
        groups = sum(size >= intervention.size for size in sizes) + intervention.random
        return Cost(examples, 0, examples * (1 + groups))
    circuits = len(intervention.sizes) * (1 + intervention.random) if isinstance(intervention, CircuitPatching) else 2
    return Cost(examples, 0, examples * (2 + circuits))
