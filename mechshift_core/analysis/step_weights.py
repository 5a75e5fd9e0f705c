"""What of the steps of a trajectory goes into a claim about it: a weight for every model of it."""

from __future__ import annotations

from mechshift_core.spec import Hypothesis
from mechshift_core.spec.pairs import StepPair, TrajectorySpec
from stats.trajectories import halfway_weights, trend_weights, value_weights


def step_weights(hypothesis: Hypothesis, trajectory: TrajectorySpec) -> dict[StepPair, float]:
    """Weight of every step in the quantity that a hypothesis is about.

    A model with itself is no step: a shift is 0 there. Where the measure is of a pair as it is, the trajectory begins
    (or ends) with the model next to it.
    """
    along = hypothesis.along
    assert along is not None  # else it is about pairs
    taken = _taken(hypothesis, trajectory)
    places = [at for at, _ in taken]
    if along.quantity == "trend":
        weights = trend_weights(places)
    else:
        assert along.at is not None  # a spec without it is refused
        weights = (value_weights if along.quantity == "value" else halfway_weights)(places, along.at)
    found = {step: float(weight) for (_, step), weight in zip(taken, weights, strict=True) if step is not None}
    return {step: weight for step, weight in found.items() if weight != 0.0}


def change_weights(hypothesis: Hypothesis, trajectory: TrajectorySpec) -> dict[StepPair, float]:
    """Weight of every step in the whole change of the measure, from the first place that it has to the last."""
    steps = [step for _, step in _taken(hypothesis, trajectory)]
    ends = {steps[0]: -1.0, steps[-1]: 1.0}
    return {step: weight for step, weight in ends.items() if step is not None}


def _taken(hypothesis: Hypothesis, trajectory: TrajectorySpec) -> list[tuple[float, StepPair | None]]:
    """The places at which the measure has a value, each with its step; a model with itself is none."""
    from mechshift_core.kinds import testable

    along = hypothesis.along
    assert along is not None  # else it is about pairs
    steps = [trajectory.pair(number, along.against) for number in range(len(trajectory.models))]
    anchored = not testable(hypothesis.measure).between
    return [(at, step) for at, step in zip(trajectory.at, steps, strict=True) if anchored or step is not None]
