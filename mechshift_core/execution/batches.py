"""From examples of any length to batches, of one length or padded to one; what positions are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.lengths import (
    Length,
    common_lengths,
    length_of,
    mask_of,
    padded_rows,
    padded_widths,
)
from mechshift_core.execution.reading import (
    Reading,
    State,
    WeightedStates,
    completed,
    invisible_right,
    left_to_right,
    states_of,
)
from mechshift_core.kinds import INTERVENTIONS
from mechshift_core.spec.schema import Spec
from mechshift_core.tasks.counterfactual import Dataset, Example

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.plan import Plan
    from mechshift_core.models import Model

PADDING = 0
"""What padding is filled with: a token that every model has, and no model sees."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs that go through a model together: examples in states of their completions.

    Attributes:
        numbers: The example of each row.
        states: Which tokens of its completion are visible in it.
        weights: The state's share in the example's results; they sum to one over an example's rows.
        last: Whether it is the example's last state, in which the answer is decided.
    """

    numbers: list[int] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    last: list[bool] = field(default_factory=list)

    def add(self, number: int, state: State, weight: float, *, last: bool) -> None:
        """Append a row."""
        self.numbers.append(number)
        self.states.append(state)
        self.weights.append(weight)
        self.last.append(last)

    def part(self, rows: slice) -> Rows:
        """Some of the rows."""
        return Rows(self.numbers[rows], self.states[rows], self.weights[rows], self.last[rows])


def cell_groups(
    plan: Plan, cell: Cell, model: Model, examples: Sequence[Example], *, by_state: bool = False
) -> list[Rows]:
    """What a cell reads of some examples of its task, see :func:`row_groups`; padded where its kind says so."""
    own = plan.spec.intervention(cell.intervention)
    common = None
    if INTERVENTIONS[own.kind].cells.pads(own):
        every = plan.dataset(cell.model, cell.task).examples
        common = common_lengths(every, diffusion=is_diffusion(model))
    return row_groups(model, examples, plan.reading(cell.budget), by_state=by_state, common=common)


def row_groups(
    model: Model,
    examples: Sequence[Example],
    reading: Reading,
    *,
    by_state: bool = False,
    common: frozenset[Length] | None = None,
) -> list[Rows]:
    """What a model reads of some examples, in groups that a batch is made of; an example's rows follow one another.

    Args:
        by_state: Group the examples' first states, their second ones and so on apart, so that no example is twice in a
            group.
        common: The lengths that have groups of their own; examples of others are together, to be padded, where that
            pads little. None has a group for every length.
    """
    lengths = [length_of(example, diffusion=is_diffusion(model)) for example in examples]
    widths = {} if common is None else padded_widths([sum(length) for length in {*lengths} - common])
    groups: dict[tuple[Length | int, int], Rows] = defaultdict(Rows)
    for number, (length, states) in enumerate(zip(lengths, states_of(model, examples, reading), strict=True)):
        together = length if common is None or length in common else widths[sum(length)]
        for index, (state, weight) in enumerate(states):
            groups[together, index if by_state else 0].add(number, state, weight, last=index == len(states) - 1)
    return list(groups.values())


def is_diffusion(model: Model) -> bool:
    """Whether the model sees masks after the prompt."""
    return model.paradigm == "masked_diffusion"


def to_batch(
    model: Model, dataset: Dataset, examples: Sequence[Example], states: Sequence[State] | None = None
) -> CounterfactualBatch:
    """Examples as a batch, padded on the right, read where this model predicts the token after the prompt.

    Args:
        states: Which tokens of each completion are visible; unless given, those before the answer.
    """
    import torch

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.metrics import NO_TOKEN

    if states is None:
        states = [states[0][0] for states in states_of(model, examples, Reading())]
    read = list(zip(examples, states, strict=True))
    clean = [completed(one, state, model.mask_token_id) for one, state in read]
    corrupt = [completed(one, state, model.mask_token_id, corrupted=True) for one, state in read]
    return CounterfactualBatch(
        clean_ids=padded_rows(clean, PADDING),
        corrupt_ids=padded_rows(corrupt, PADDING),
        answer_ids=padded_rows([example.answer_ids for example in examples], NO_TOKEN),
        foil_ids=padded_rows([example.foil_ids for example in examples], NO_TOKEN),
        position=torch.tensor([len(example.clean_ids) - int(model.shifted) for example in examples]),
        attention_mask=mask_of(clean),
        metric=dataset.metric,
    )


def batch_rows(spec: Spec) -> int | None:
    """Sequences that a spec lets through a model at once; None where memory decides."""
    size = spec.execution.batch_size
    return None if isinstance(size, str) else size


def known_states(example: Example, reading: Reading, *, diffusion: bool) -> WeightedStates:
    """The states in which an example is read where no model chooses them: those of the order left to right."""
    states = left_to_right(example, reading)
    return states if diffusion else invisible_right(states, example)


def roles_read(example: Example, reading: Reading, *, diffusion: bool) -> frozenset[str]:
    """The token roles that an example's positions have in any of the states in which it is read."""
    states = known_states(example, reading, diffusion=diffusion)
    return frozenset(role for state, _ in states for role in example.position_roles(state))


def role_names(dataset: Dataset, reading: Reading, *, diffusion: bool) -> tuple[str, ...]:
    """The token roles of a task's positions as a model reads them, sorted; roles are numbered in this order.

    Raises:
        ExecutionError: if an example's roles are unknown.
    """
    unknown = sum(not example.roles for example in dataset.examples)
    if unknown:
        raise ExecutionError(
            f"task {dataset.task!r}: the token roles of {unknown} of {len(dataset.examples)} examples are unknown; "
            "give `roles` in the data set (of text, use a fast tokenizer), or ask for nothing by token role"
        )
    return tuple(sorted({r for example in dataset.examples for r in roles_read(example, reading, diffusion=diffusion)}))


def role_numbers(examples: Sequence[Example], states: Sequence[State], names: Sequence[str]) -> Tensor:
    """Number of the role of every position of a batch, [examples, positions]; that of padding means nothing."""
    numbers = {name: number for number, name in enumerate(names)}
    read = [example.position_roles(state) for example, state in zip(examples, states, strict=True)]
    return padded_rows([[numbers[role] for role in roles] for roles in read], 0)
