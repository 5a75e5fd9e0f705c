"""Hypotheses on each task or regime alone: what a claim on every one is decided by, and what an average hides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mechshift_core.kinds import TESTS
from mechshift_core.spec import Filter, Hypothesis, Spec
from stats.findings import Part
from stats.hypothesis_tests import TestResult


def split(spec: Spec, hypothesis: Hypothesis) -> Mapping[str, Hypothesis]:
    """The claim on each level of `every`, or else on each task; empty where it is on one, or compares them."""
    key = hypothesis.every or "task"
    contrast, to = hypothesis.contrast, hypothesis.test.to
    if contrast is not None and (contrast.task is not None or contrast.regime is not None):
        return {}
    where = hypothesis.where
    if hypothesis.every is None and isinstance(to, Filter) and (to.task, to.regime) != (where.task, where.regime):
        return {}
    names = [task.name if key == "task" else task.regime for _, task in spec.members(hypothesis, hypothesis.where)]
    found = {name: hypothesis.part(key, name) for name in dict.fromkeys(names)}
    complete = all(spec.members(hypothesis, group) for part in found.values() for _, group in part.groups())
    return found if len(found) > 1 and complete else {}


def intersection_union(whole: TestResult, parts: Mapping[str, TestResult]) -> TestResult:
    """The test of a claim on every part: all numbers are the average's, but p is the largest of the parts'.

    So the interval follows from estimate, standard error and degrees of freedom, and the method says which part
    decides, by which statistic. `parts` are the tests of each, by name.

    A claim that is false somewhere is supported at most as often as the test of that part errs (Berger 1982,
    Technometrics 24:295). It is refuted where the opposite is shown in one part, which is looked for in all: p times
    their number.
    """
    lacking = next(((name, one) for name, one in parts.items() if one.p is None), None)
    if lacking is not None:
        name, one = lacking
        message = f"{name}: {one.message}" if one.message else f"{name} has no test"
        return replace(whole, p=None, p_opposite=None, statistic=None, status=one.status, message=message)
    name, least = max(parts.items(), key=lambda pair: pair[1].p or 0.0)
    opposite = [one.p_opposite for one in parts.values() if one.p_opposite is not None]
    by = ""
    if least.statistic is not None and least.df is not None:
        by = f", {least.statistic:.3g} with {least.df:.3g} degrees of freedom"
    return replace(
        whole,
        p=least.p,
        p_opposite=min(1.0, len(parts) * min(opposite)) if len(opposite) == len(parts) else None,
        method=f"{whole.method} of the average; p is that of {name}, the largest of {len(parts)} "
        f"(intersection-union{by})",
    )


def described(key: str, results: Mapping[str, TestResult]) -> tuple[Part, ...]:
    """The parts as a finding keeps them."""
    return tuple(
        Part(key=key, level=level, estimate=one.estimate, low=one.low, high=one.high, p=one.p, se=one.se, df=one.df)
        for level, one in results.items()
    )


def disagreement(hypothesis: Hypothesis, parts: Sequence[Part], null: float) -> str:
    """That the parts lie on both sides of the value tested against; empty where they do not, or no side is claimed."""
    known = [part for part in parts if part.estimate is not None]
    signs = {(part.estimate or 0.0) > null for part in known if part.estimate != null}
    if TESTS[hypothesis.test.kind].refers or len(signs) < 2:
        return ""
    listed = ", ".join(f"{part.level} {_interval(part)}" for part in known)
    what = "in sign" if null == 0 else f"on the side of {null:g}"
    return f"{known[0].key}s differ {what}: {listed}"


def _interval(part: Part) -> str:
    ends = "" if part.low is None or part.high is None else f" [{part.low:.3g}, {part.high:.3g}]"
    return f"{part.estimate:.3g}{ends}"
