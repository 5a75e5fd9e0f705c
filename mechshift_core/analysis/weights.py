"""How much of every pair and task goes into the estimate of a hypothesis."""

from __future__ import annotations

from collections.abc import Iterable

from mechshift_core.analysis.step_weights import step_weights
from mechshift_core.spec import Filter, Hypothesis, PairSpec, Spec, TaskSpec
from mechshift_core.spec.pairs import TrajectorySpec

Weights = dict[tuple[PairSpec, TaskSpec], float]


def cell_weights(spec: Spec, hypothesis: Hypothesis) -> Weights:
    """Weight of every pair and task in the estimate; groups are averaged over their members with equal weights."""
    weights: Weights = {}
    for sign, group in hypothesis.groups():
        for member, share in group_weights(spec, hypothesis, group).items():
            weights[member] = weights.get(member, 0.0) + sign * share
    return {member: weight for member, weight in weights.items() if weight != 0.0}


def trajectory_weights(spec: Spec, hypothesis: Hypothesis) -> dict[tuple[TrajectorySpec, TaskSpec], float]:
    """Weight of every trajectory and task in the estimate of a hypothesis along trajectories."""
    weights: dict[tuple[TrajectorySpec, TaskSpec], float] = {}
    for sign, group in hypothesis.groups():
        members = spec.trajectories_of(group)
        for trajectory, task in members:
            weights[trajectory, task] = weights.get((trajectory, task), 0.0) + sign / len(members)
    return {member: weight for member, weight in weights.items() if weight != 0.0}


def group_weights(spec: Spec, hypothesis: Hypothesis, group: Filter) -> Weights:
    """Weight of every pair and task in the mean of one group."""
    weights: Weights = {}
    members = spec.members(hypothesis, group)
    for one, task in members:
        for pair, share in _shares(hypothesis, one):
            weights[pair, task] = weights.get((pair, task), 0.0) + share / len(members)
    return weights


def _shares(hypothesis: Hypothesis, one: PairSpec | TrajectorySpec) -> Iterable[tuple[PairSpec, float]]:
    """What of a pair, or of the steps of a trajectory, goes into the estimate."""
    if isinstance(one, TrajectorySpec):
        return step_weights(hypothesis, one).items()
    return [(one, 1.0)]
