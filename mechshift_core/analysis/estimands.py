"""What hypotheses estimate, in words."""

from __future__ import annotations

from functools import partial

from mechshift_core.kinds import owner, testable
from mechshift_core.spec import Filter, Hypothesis, Spec
from mechshift_core.spec.hypotheses import Along
from stats.trimmed import TRIMMED_MEAN


def location(spec: Spec, measure: str) -> str:
    """What the spec takes instead of the mean over prompts; empty where it is the mean, or the measure is none."""
    return TRIMMED_MEAN if spec.statistics.location == "trimmed" and testable(measure).per_prompt else ""


def estimand(spec: Spec, hypothesis: Hypothesis) -> str:
    """What the estimate of a hypothesis estimates, in one sentence."""
    narrowed = any(group.task or group.regime for _, group in hypothesis.groups())
    described = partial(_described, narrowed=narrowed) if hypothesis.along is None else _trajectories
    positive = [described(group) for sign, group in hypothesis.groups() if sign > 0]
    negative = [described(group) for sign, group in hypothesis.groups() if sign < 0]
    unit = definition(spec, hypothesis.measure)
    if hypothesis.along is not None:
        unit = f"{_quantity(hypothesis.along)} of the {unit}"
    if location(spec, hypothesis.measure):
        unit = f"{location(spec, hypothesis.measure)} over prompts of the {unit}"
    text = f"{unit}, averaged over {' plus over '.join(positive)}"
    if hypothesis.ceiling:
        text += f", minus the ceiling {hypothesis.ceiling:g}"
    elif negative:
        text += f", minus the same over {' and over '.join(negative)}"
    if hypothesis.budgets is not None:
        first, second = hypothesis.budgets
        text += f", at the inference budget {first!r} minus at {second!r}"
    return text if hypothesis.every is None else f"{text}, in every {hypothesis.every}"


def definition(spec: Spec, measure: str) -> str:
    """What a measure is on one pair and task, with the index that the spec declares of it."""
    one, kind = owner(measure)
    declared = spec.measures.declared.get(kind.name)
    return one.estimand.format(index=one.indices.get(getattr(declared, "index", "")))


def _quantity(along: Along) -> str:
    """What of a trajectory it is, each model against one end."""
    what = {
        "trend": "slope over the whole trajectory",
        "value": f"value at {along.at or 0.0:g}",
        "halfway": f"value at {along.at or 0.0:g} minus the mean of both ends'",
    }[along.quantity]
    return f"{what} (each model with the {along.against})"


def _trajectories(group: Filter) -> str:
    which = f"trajectory {group.trajectory}" if group.trajectory else f"{group.role or 'all'} trajectories"
    tasks = f"task {group.task}" if group.task else f"{group.regime} tasks" if group.regime else "all tasks"
    return f"{which} on {tasks}"


def _described(group: Filter, *, narrowed: bool) -> str:
    """A group of pairs and tasks; that it takes all tasks is said where another group does not."""
    parts = []
    if group.pair or group.role:
        parts.append(f"pair {group.pair}" if group.pair else f"{group.role} pairs")
    if group.task or group.regime:
        parts.append(f"task {group.task}" if group.task else f"{group.regime} tasks")
    elif narrowed and parts:
        parts.append("all tasks")
    return " on ".join(parts) if parts else "all pairs and tasks"
