"""Whether there is a way to be half-way on.

A value at a place minus the mean of both ends says whether more than half of a change was made by then. Where the whole
change may be 0, neither half of it nor its sign is known, and the number is one of noise alone, or of a course that
goes somewhere and comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.analysis.step_weights import change_weights
from mechshift_core.hypothesis_tests import by_t
from mechshift_core.spec import Hypothesis, Spec
from stats.hypothesis_tests import TestResult, difference_test
from stats.replicates import Contrast, linear_contrast

if TYPE_CHECKING:
    from mechshift_core.analysis.hypotheses import Evidence


def changes_of_noise(spec: Spec, hypothesis: Hypothesis, evidence: Evidence) -> list[str]:
    """The trajectories and tasks of a hypothesis on `halfway` whose whole change does not clear 0, each with numbers.

    Each is tested by itself at the level of the study, over prompts. What has no estimate is not named.
    """
    if hypothesis.along is None or hypothesis.along.quantity != "halfway":
        return []
    members = dict.fromkeys(one for _, group in hypothesis.groups() for one in spec.trajectories_of(group))
    found = []
    for trajectory, task in members:
        weights = change_weights(hypothesis, trajectory)
        parts = [evidence.replicated.get((hypothesis.measure, step.name, task.name)) for step in weights]
        present = [part for part in parts if part is not None]
        if len(present) == len(parts):
            change = linear_contrast(present, list(weights.values()), [task.name] * len(present))
            noise = _noise(change, spec.statistics.confidence)
            found += [f"{trajectory.name} on {task.name}: {noise}"] if noise else []
    return found


def _noise(change: Contrast, confidence: float) -> str:
    """The change with its interval where that holds 0; empty where it does not."""

    def decide(skewness: float) -> TestResult:
        return difference_test(change.estimate, change.se, change.df, confidence=confidence, skewness=skewness)

    test = by_t(change, decide, change.skewness_at(0.0))
    if test.p is None or test.p < 1 - confidence:  # without an error the value at the place has none either
        return ""
    return (
        f"the whole change is {change.estimate:.3g} ({test.low:.3g} to {test.high:.3g}), which may be 0: there is no "
        "way to be half-way on"
    )
