"""From examples of any length to batches, grouped by length so that nothing is padded; what positions are called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.reading import (
    Reading,
    State,
    WeightedStates,
    completed,
    invisible_right,
    left_to_right,
    states_of,
)
from mechshift_core.spec.schema import Spec
from mechshift_core.tasks.counterfactual import Dataset, Example

if TYPE_CHECKING:
    from torch import Tensor

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.models import Model


@dataclass(frozen=True, slots=True)
class Rows:
    """Inputs of equal length: examples in states of their completions.

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


def row_groups(model: Model, examples: Sequence[Example], reading: Reading, *, by_state: bool = False) -> list[Rows]:
    """What a model reads of some examples, in groups of equal length; an example's rows follow one another.

    Args:
        by_state: Group the examples' first states, their second ones and so on apart, so that no example is twice in a
            group.
    """
    groups: dict[tuple[int, tuple[int, int], int], Rows] = defaultdict(Rows)
    for number, (example, states) in enumerate(zip(examples, states_of(model, examples, reading), strict=True)):
        for index, (state, weight) in enumerate(states):
            key = (len(example.clean_ids), read_after(example, diffusion=is_diffusion(model)), index if by_state else 0)
            groups[key].add(number, state, weight, last=index == len(states) - 1)
    return list(groups.values())


def is_diffusion(model: Model) -> bool:
    """Whether the model sees masks after the prompt."""
    return model.paradigm == "masked_diffusion"


def read_after(example: Example, *, diffusion: bool) -> tuple[int, int]:
    """Masks that follow the prompt, and tokens behind them.

    What follows the position read is invisible to an autoregressive model.
    """
    return (example.masks, len(example.clean_behind_ids)) if diffusion else (0, 0)


def to_batch(
    model: Model, dataset: Dataset, examples: Sequence[Example], states: Sequence[State] | None = None
) -> CounterfactualBatch:
    """Examples of equal length as a batch, read where this model predicts the token after the prompt.

    Args:
        states: Which tokens of each completion are visible; unless given, those before the answer.
    """
    import torch

    from mechshift_core.attribution import CounterfactualBatch
    from mechshift_core.attribution.batch import NO_TOKEN

    if states is None:
        states = [states[0][0] for states in states_of(model, examples, Reading())]
    length = len(examples[0].clean_ids)
    read = list(zip(examples, states, strict=True))

    def sets(rows: list[tuple[int, ...]]) -> Tensor:
        width = max(map(len, rows))
        return torch.tensor([[*row, *[NO_TOKEN] * (width - len(row))] for row in rows])

    def inputs(*, corrupted: bool) -> Tensor:
        return torch.tensor([completed(one, state, model.mask_token_id, corrupted=corrupted) for one, state in read])

    return CounterfactualBatch(
        clean_ids=inputs(corrupted=False),
        corrupt_ids=inputs(corrupted=True),
        answer_ids=sets([example.answer_ids for example in examples]),
        foil_ids=sets([example.foil_ids for example in examples]),
        position=length - 1 if model.shifted else length,
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
    """Number of the role of every position of examples of equal length, [examples, positions]."""
    import torch

    numbers = {name: number for number, name in enumerate(names)}
    read = [example.position_roles(state) for example, state in zip(examples, states, strict=True)]
    return torch.tensor([[numbers[role] for role in roles] for roles in read])
