"""How answers of several tokens are read: in which states of the completion, and with which weight.

A completion has the tokens that a prompt asks for; one of them, the answer, is read. A state says which of the others
are visible; all that is hidden is the mask token. Both runs of a counterfactual pair share the states, and what is
measured in them (metrics, scores) is averaged. An autoregressive model is read at the same positions and in the same
states; what follows the position read is invisible to it, so that only the states to its left tell apart.

- `per_token`: one state, in which the answer is decided if one token is revealed at a time: in the order left to right
  all before the answer is visible.
- `all_masked`: one state, in which nothing is visible.
- n steps: the completion is revealed in n equal steps; the states are those in which the answer is still hidden.
- a part of these steps: one of them, or those in which a share of the completion is masked. A prompt without such a
  state is read where its answer is decided, so that its answer is known, and counts nowhere (:meth:`Reading.holds`).

The order is left to right, or by confidence: the hidden token whose most likely value is most probable on the clean run
comes first. Visible tokens are those of the prompt's own solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from mechshift_core.execution.lengths import mask_of, padded_rows, padded_widths
from mechshift_core.spec.tasks import Denoising, PartOfSteps
from mechshift_core.tasks.counterfactual import Example

if TYPE_CHECKING:
    from mechshift_core.models import Model

State: TypeAlias = tuple[bool, ...]
"""Which tokens of the completion are visible."""
WeightedStates = tuple[tuple[State, float], ...]
MOST_STEPS = 1000
"""Steps in which any completion is revealed token by token."""
ROWS = 64
"""Prompts whose reveal order is found at once."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One inference budget.

    Attributes:
        order: The order in which tokens are revealed.
        steps: Denoising steps, or `per_token`; 0 where nothing is revealed.
        part: Which of the steps are read; None for all.
    """

    order: Literal["left_to_right", "confidence"] = "left_to_right"
    steps: int | Literal["per_token"] = "per_token"
    part: PartOfSteps | None = None

    @property
    def budget(self) -> str:
        """What the budget is called in tables: `per_token`, `all_masked`, the number of steps, or the part of them."""
        if self.part is not None:
            return str(self.part)
        return "all_masked" if self.steps == 0 else str(self.steps)

    def steps_of(self, length: int) -> int:
        """In how many steps a completion of some tokens is revealed."""
        return length if self.steps == "per_token" else max(1, min(self.steps, length))

    def holds(self, state: State, example: Example) -> bool:
        """Whether a state of an example, as long as it is read, is one of the budget's."""
        length, visible = example.revealed + example.masks, sum(state)
        if self.part is None:
            return True
        if self.part.at is not None:
            steps = self.steps_of(length)
            return self.part.at <= steps and visible == (self.part.at - 1) * length // steps
        assert self.part.masked is not None
        low, high = self.part.masked
        return low <= (length - visible) / length <= high

    def step_of(self, state: State, example: Example) -> int:
        """At the start of which step an example is in a state, 1 is the first."""
        length, visible = example.revealed + example.masks, sum(state)
        steps = self.steps_of(length)
        return 1 + next(step for step in range(steps) if step * length // steps == visible)

    def may_hold(self, example: Example) -> bool:
        """Whether an example has such a state; of an order that a model chooses, whether it can have one."""
        length = example.revealed + example.masks
        steps, most = self.steps_of(length), example.revealed if self.order == "left_to_right" else length - 1
        shown = {step * length // steps for step in range(steps)}
        return any(self.holds(_state(length, range(count)), example) for count in shown if count <= most)


def readings(denoising: Denoising) -> tuple[Reading, ...]:
    """The inference budgets of a spec, in its order."""
    if denoising.reveal == "all_masked":
        return (Reading(steps=0),)
    steps = denoising.steps if isinstance(denoising.steps, tuple) else (denoising.steps,)
    return tuple(
        Reading(denoising.reveal, each.of or MOST_STEPS, each)
        if isinstance(each, PartOfSteps)
        else Reading(denoising.reveal, each)
        for each in steps
    )


def left_to_right(example: Example, reading: Reading) -> WeightedStates:
    """The states of an example in the order left to right, each once, in the order of revealing."""
    order = range(example.revealed + example.masks)
    return _weighted(_until_answer(example, reading, list(order)))


def invisible_right(states: WeightedStates, example: Example) -> WeightedStates:
    """The states as an autoregressive model sees them: up to the answer; those that look the same count together."""
    seen: dict[State, float] = {}
    for state, weight in states:
        left = state[: example.revealed]
        seen[left] = seen.get(left, 0.0) + weight
    return tuple(seen.items())


def steps_in(weight: float, example: Example, reading: Reading, *, diffusion: bool) -> int:
    """In how many denoising steps a model is in a state of some weight; an autoregressive one can't tell some apart."""
    return 1 if diffusion else round(weight * len(left_to_right(example, reading)))


def hides_left(example: Example, reading: Reading) -> bool:
    """Whether tokens to the left of the answer are hidden in some state of the order left to right."""
    return not all(all(state[: example.revealed]) for state, _ in left_to_right(example, reading))


def states_of(model: Model, examples: Sequence[Example], reading: Reading) -> list[WeightedStates]:
    """The states in which a model is read, for each example; a masked diffusion model may choose the order."""
    if model.paradigm == "autoregressive":  # it reveals from left to right
        return [invisible_right(left_to_right(example, reading), example) for example in examples]
    if reading.order == "left_to_right" or reading.steps == 0:
        return [left_to_right(example, reading) for example in examples]
    return _by_confidence(model, examples, reading)


def completed(example: Example, state: State, mask: int | None, *, corrupted: bool = False) -> tuple[int, ...]:
    """The tokens of a prompt and its completion in a state; what is hidden is the mask token.

    Args:
        state: As long as what is read: an autoregressive model reads up to the answer only.
    """
    ids = example.corrupt_ids if corrupted else example.clean_ids
    rest = example.corrupt_rest_ids if corrupted else example.clean_rest_ids
    behind = example.corrupt_behind_ids if corrupted else example.clean_behind_ids
    start = len(ids) - example.revealed
    known = (*ids[start:], mask, *rest)
    shown = [known[place] if visible else mask for place, visible in enumerate(state)]
    assert all(token is not None for token in shown), "a model without a mask token has nothing to hide with"
    whole = len(state) == example.revealed + example.masks
    return (*ids[:start], *(int(token) for token in shown if token is not None), *(behind if whole else ()))


def _until_answer(example: Example, reading: Reading, order: Sequence[int]) -> list[State]:
    """The state at the start of every step in which the answer is hidden; `order` lists the completion's tokens."""
    length = example.revealed + example.masks
    if reading.steps == "per_token":
        return [_state(length, order[: order.index(example.revealed)])]
    steps = reading.steps_of(length)
    seen = [order[: step * length // steps] for step in range(steps)]
    states = [_state(length, visible) for visible in seen if example.revealed not in visible]
    return [state for state in states if reading.holds(state, example)] or states[-1:]


def _state(length: int, visible: Sequence[int]) -> State:
    shown = set(visible)
    return tuple(place in shown for place in range(length))


def _weighted(states: Sequence[State]) -> WeightedStates:
    return tuple((state, 1 / len(states)) for state in states)


def _by_confidence(model: Model, examples: Sequence[Example], reading: Reading) -> list[WeightedStates]:
    found: list[WeightedStates] = []
    for example, order in zip(examples, reveal_orders(model, examples, reading), strict=True):
        found.append(_weighted(_until_answer(example, reading, order)))
    return found


def reveal_orders(model: Model, examples: Sequence[Example], reading: Reading) -> list[list[int]]:
    """The order in which a masked diffusion model reveals each completion: the surest token of a clean prompt first.

    Confidence is the probability of the most likely token, found anew at every step and compared to four decimals, the
    leftmost of equals first. Tokens whose value is not known can't be shown and come last.
    """
    orders: list[list[int]] = [[] for _ in examples]
    sizes = [len(example.clean_ids) + example.masks + len(example.clean_behind_ids) for example in examples]
    widths = padded_widths(sizes)
    groups: dict[tuple[int, int, int], list[int]] = {}
    for number, (example, size) in enumerate(zip(examples, sizes, strict=True)):
        groups.setdefault((widths[size], example.revealed, example.masks), []).append(number)
    for group in groups.values():
        for start in range(0, len(group), ROWS):
            part = group[start : start + ROWS]
            for number, order in zip(part, _orders(model, [examples[n] for n in part], reading), strict=True):
                orders[number] = order
    return orders


def _orders(model: Model, examples: Sequence[Example], reading: Reading) -> list[list[int]]:
    """The reveal orders of examples whose completions are of equal length."""
    import torch

    from mechshift_core.models.precision import widened

    first = examples[0]
    length = first.revealed + first.masks
    starts = torch.tensor([len(example.clean_ids) - example.revealed for example in examples])
    read = (starts - int(model.shifted))[:, None] + torch.arange(length)  # [examples, completion]
    steps = reading.steps_of(length)
    orders: list[list[int]] = [[] for _ in examples]
    unknown = [_unknown(example) for example in examples]
    for step in range(steps):
        wanted = (step + 1) * length // steps
        rows = [
            completed(example, _state(length, [p for p in order if p not in hidden]), model.mask_token_id)
            for example, order, hidden in zip(examples, orders, unknown, strict=True)
        ]
        logits = model.logits(padded_rows(rows, 0), mask_of(rows))
        logits = logits[torch.arange(len(rows))[:, None], read]
        surest = widened(logits).softmax(-1).amax(-1).mul(10_000).round().tolist()
        for order, sure, hidden in zip(orders, surest, unknown, strict=True):
            left = [place for place in range(length) if place not in order]
            left.sort(key=lambda place: (place in hidden, -sure[place], place))
            order.extend(left[: wanted - len(order)])
    return orders


def _unknown(example: Example) -> frozenset[int]:
    """Places of the completion whose token is not known in both prompts; the answer is."""
    after = range(example.revealed + 1, example.revealed + example.masks)
    known = len(example.clean_rest_ids) == len(example.corrupt_rest_ids) == len(after)
    return frozenset(() if known else after)
