"""The groups that a hypothesis compares, of pairs or of trajectories, each with its mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mechshift_core.analysis.weights import group_weights
from mechshift_core.spec import Hypothesis, Spec
from stats.findings import Group
from stats.replicates import Replicated

Found = Mapping[tuple[str, str, str], Replicated]
"""What was measured, by (measure, pair, task)."""


def groups_of(spec: Spec, hypothesis: Hypothesis, found: Found, at_budgets: Sequence[Found] = ()) -> tuple[Group, ...]:
    """Every group of a hypothesis, in the order of the signs of its estimand.

    Where it compares inference budgets, each group is there twice: at the first budget, and with the other sign at the
    second.

    Args:
        found: What was measured.
        at_budgets: What was measured at both of the budgets that it compares, on the same prompts.
    """
    sides = [(1, "", found)]
    if hypothesis.budgets is not None:
        both = at_budgets or ({}, {})
        sides = [(sign, name, one) for sign, name, one in zip((1, -1), hypothesis.budgets, both, strict=True)]
    return tuple(
        _group(spec, hypothesis, position, int(sign) * side, budget, one)
        for position, (sign, _) in enumerate(hypothesis.groups())
        for side, budget, one in sides
    )


def _group(spec: Spec, hypothesis: Hypothesis, position: int, sign: int, budget: str, found: Found) -> Group:
    group = hypothesis.groups()[position][1]
    weights = group_weights(spec, hypothesis, group)
    known = {key: found.get((hypothesis.measure, key[0].name, key[1].name)) for key in weights}
    values = [weights[key] * one.estimate for key, one in known.items() if one is not None]
    return Group(
        sign=sign,
        role=group.role or "",
        pair=group.pair or group.trajectory or "",
        regime=group.regime or "",
        task=group.task or "",
        tasks=tuple(dict.fromkeys(task.name for _, task in spec.members(hypothesis, group))),
        estimate=sum(values) if values and len(values) == len(weights) else None,
        budget=budget,
    )
