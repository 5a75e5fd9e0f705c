"""What cells cost, in passes of one prompt through a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mechshift_core.execution.batches import known_states, role_names
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import Reading
from mechshift_core.graph import Shape
from mechshift_core.kinds import INTERVENTIONS
from mechshift_core.kinds.cost import Cost
from mechshift_core.tasks.counterfactual import Dataset

__all__ = ["Cost", "Reads", "cost"]


@dataclass(frozen=True, slots=True)
class Reads:
    """What a cell reads.

    Attributes:
        inputs: Prompts, each in all of its states.
        prompts: Number of prompts.
        shape: The model's.
        part: Which part of an intervention the cell is of; empty for the first.
        dataset: The examples; `diffusion`, whether the model sees masks after them.
    """

    inputs: int
    prompts: int
    shape: Shape
    part: str
    dataset: Dataset
    reading: Reading
    diffusion: bool

    @property
    def roles(self) -> int:
        """Number of token roles."""
        return len(role_names(self.dataset, self.reading, diffusion=self.diffusion))


def cost(cells: Iterable[tuple[Plan, Cell]]) -> Cost:
    """The passes of some cells, each with its plan; what several share is computed once.

    Where a model chooses the order of revealing, as many states are counted as from left to right.
    """
    found = [_of_cell(plan, cell) for plan, cell in {cell.key: (plan, cell) for plan, cell in cells}.values()]
    return Cost(sum(c.forward for c in found), sum(c.backward for c in found), sum(c.patched for c in found))


def _of_cell(plan: Plan, cell: Cell) -> Cost:
    intervention = plan.spec.intervention(cell.intervention)
    facts, dataset = plan.models[cell.model], plan.dataset(cell.model, cell.task)
    reading, diffusion = plan.reading(cell.budget), facts.declared.paradigm == "masked_diffusion"
    read = [known_states(one, reading, diffusion=diffusion) for one in dataset.examples[cell.start : cell.stop]]
    reads = Reads(sum(map(len, read)), len(read), facts.shape, cell.part, dataset, reading, diffusion)
    return INTERVENTIONS[intervention.kind].cost(reads, intervention)
