"""Differences of two independent estimates with their intervals, for whoever compares two runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from stats.baseline import Recorded
from stats.degrees_of_freedom import satterthwaite
from stats.findings import Estimate, Finding
from stats.hypothesis_tests import difference_test

Estimated: TypeAlias = Recorded | Finding | Estimate
"""What has an estimate with its interval; an :class:`stats.findings.Estimate` without its standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalOfDifference:
    """A difference of two independent estimates with its interval."""

    difference: float
    low: float
    high: float


def difference_interval(first: tuple[float, float, float], second: tuple[float, float, float]) -> IntervalOfDifference:
    """Interval of second - first from the intervals of two independent estimates, which need not be symmetric.

    MOVER (Zou & Donner 2008, Statistics in Medicine 27:1693): d - sqrt((e2 - l2)^2 + (u1 - e1)^2) and
    d + sqrt((u2 - e2)^2 + (e1 - l1)^2), with d = e2 - e1, at the confidence of the two. Estimates of the same prompts
    vary together, so that for them it is too wide. An estimate outside of its own interval is taken to be at its end.

    Args:
        first: Estimate e1, lower end l1 and upper end u1 of its interval.
        second: The same of the other.
    """
    (e1, l1, u1), (e2, l2, u2) = first, second
    low = e2 - e1 - math.hypot(max(0.0, e2 - l2), max(0.0, u1 - e1))
    high = e2 - e1 + math.hypot(max(0.0, u2 - e2), max(0.0, e1 - l1))
    return IntervalOfDifference(difference=e2 - e1, low=low, high=high)


def difference_of(first: Estimated, second: Estimated, *, confidence: float) -> IntervalOfDifference | None:
    """Interval of second - first, of two independent estimates; the one that `check` and `compare` both show.

    With both standard errors it is Welch's: d -+ t sqrt(se1^2 + se2^2) with Welch-Satterthwaite degrees of freedom.
    Otherwise it is made of both intervals (:func:`difference_interval`).

    Args:
        first: An estimate whose interval is at `confidence`.
        second: The other one.
        confidence: Level of the intervals, in (0, 1).

    Returns:
        The interval; None where one of the two has no estimate or no interval.
    """
    if first.estimate is None or second.estimate is None:
        return None
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return None  # there may be a standard error all the same, of too few units
    error = error_of_difference(first, second)
    if error is not None:
        test = difference_test(second.estimate - first.estimate, *error, confidence=confidence)
        if test.low is not None and test.high is not None:
            return IntervalOfDifference(difference=second.estimate - first.estimate, low=test.low, high=test.high)
    return difference_interval((first.estimate, first.low, first.high), (second.estimate, second.low, second.high))


def error_of_difference(first: Estimated, second: Estimated) -> tuple[float, float] | None:
    """Standard error of the difference and its degrees of freedom; None where one of the two has no error.

    An error of zero is one: every unit gave the same value. Where both are zero, the fewer degrees of freedom count.
    """
    variances = [float(se) ** 2 for one in (first, second) if (se := getattr(one, "se", None)) is not None]
    if len(variances) < 2:
        return None
    dfs = [math.inf if (df := getattr(one, "df", None)) is None else df for one in (first, second)]
    if not any(variances):
        return 0.0, min(dfs)
    return math.sqrt(sum(variances)), satterthwaite(sum(variances), [*zip(variances, dfs, strict=True)])
