"""The groups of pairs and tasks that a hypothesis compares, each with its mean."""

from __future__ import annotations

from collections.abc import Mapping

from mechshift_core.spec import Hypothesis, Spec
from stats.findings import Group
from stats.replicates import Replicated


def groups_of(
    spec: Spec, hypothesis: Hypothesis, replicated: Mapping[tuple[str, str, str], Replicated]
) -> tuple[Group, ...]:
    """Every group of a hypothesis, in the order of the signs of its estimand.

    There are none where it is about trajectories or compares inference budgets: these have no one mean of each group.

    Args:
        replicated: What was measured, by (measure, pair, task).
    """
    if hypothesis.along is not None or hypothesis.budgets is not None:
        return ()
    found = []
    for sign, group in hypothesis.groups():
        members = spec.matching(group)
        known = [replicated.get((hypothesis.measure, pair.name, task.name)) for pair, task in members]
        values = [one.estimate for one in known if one is not None]
        found.append(
            Group(
                sign=int(sign),
                role=group.role or "",
                pair=group.pair or "",
                regime=group.regime or "",
                task=group.task or "",
                tasks=tuple(dict.fromkeys(task.name for _, task in members)),
                estimate=sum(values) / len(values) if values and len(values) == len(members) else None,
            )
        )
    return tuple(found)
