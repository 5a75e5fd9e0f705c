"""Tests by the quantiles of bootstrap replicates, in place of a standard error with t quantiles.

The replicates are moved so that their mean is the estimate: those of an overlap are biased, since resampled prompts
repeat, and the bias of the replicates around the estimate stands in for that of the estimate around the truth. A
p-value is the share of the moved replicates on the wrong side of the null, (1 + b) / (1 + R), and so never below
1 / (1 + R). With few units the quantiles are too narrow (:mod:`stats.resampling`): this is the sensitivity analysis of
:mod:`stats.hypothesis_tests`, not its replacement.

Reference: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 and 15.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import ROUNDING, Booleans, Floats, as_floats
from stats.hypothesis_tests import Alternative, TestResult, difference_test, one_or_two_sided, tost
from stats.minimums import TAIL_REPLICATES, enough_replicates
from stats.options import Positive, Share, checked


@checked
def percentile_difference(
    estimate: float,
    replicates: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    null: float = 0.0,
    confidence: Share = 0.95,
) -> TestResult:
    """Whether a quantity differs from a null value.

    Args:
        estimate: The estimate.
        replicates: Its bootstrap replicates [R], R >= 100 and R >= 2 / (1 - confidence).
        alternative: `two-sided`, `less` (below the null) or `greater`.
        null: Value under the null hypothesis.
        confidence: Of the two-sided interval.

    Raises:
        ValueError: if there are too few replicates, a number is not finite, or another argument is not valid.
    """
    frame = difference_test(estimate, None, None, alternative=alternative, null=null, confidence=confidence)
    moved = _moved(estimate, replicates, confidence)
    if np.ptp(moved) <= _rounding(moved):
        return _constant(frame)
    near = _rounding(moved)
    below, above = _share(moved >= null - near), _share(moved <= null + near)
    p, opposite = one_or_two_sided((below, above), alternative)
    return _tested(frame, moved, p, opposite)


@checked
def percentile_tost(
    estimate: float, replicates: ArrayLike, *, margin: Positive, confidence: Share = 0.95
) -> TestResult:
    """Whether a quantity lies within -margin..margin: the larger of the two one-sided p-values.

    Raises:
        ValueError: as :func:`percentile_difference`, or if the margin is not positive.
    """
    frame = tost(estimate, None, None, margin=margin, confidence=confidence)
    moved = _moved(estimate, replicates, confidence)
    if np.ptp(moved) <= _rounding(moved):
        return _constant(frame)
    near = _rounding(moved)
    p = max(_share(moved <= near - margin), _share(moved >= margin - near))
    outside = min(_share(moved >= near - margin), _share(moved <= margin - near))
    found = _tested(frame, moved, p, min(1.0, 2 * outside))
    low, high = np.quantile(moved, [1 - confidence, confidence])
    return replace(found, inner_low=float(low), inner_high=float(high))


@checked
def percentile_non_inferiority(
    estimate: float, replicates: ArrayLike, *, margin: Positive, confidence: Share = 0.95
) -> TestResult:
    """Whether a quantity is not lower than -margin.

    Raises:
        ValueError: as :func:`percentile_difference`, or if the margin is not positive.
    """
    result = percentile_difference(estimate, replicates, alternative="greater", null=-margin, confidence=confidence)
    return replace(result, margin=margin)


def _moved(estimate: float, replicates: ArrayLike, confidence: float) -> Floats:
    drawn = as_floats(replicates, "replicates", dimensions=1)
    enough_replicates(len(drawn), confidence, fewest=TAIL_REPLICATES)
    return np.asarray(drawn - drawn.mean() + estimate)


def _rounding(moved: Floats) -> float:
    # Replicates that lie on the null count as wrong, on whichever side of it the last digit has put them.
    return ROUNDING * float(np.abs(moved).max())


def _share(wrong: Booleans) -> float:
    return float((1 + np.count_nonzero(wrong)) / (1 + len(wrong)))


def _constant(frame: TestResult) -> TestResult:
    return replace(frame, message="every replicate gives the same value", method="percentile bootstrap")


def _tested(frame: TestResult, moved: Floats, p: float | None, opposite: float | None) -> TestResult:
    tail = (1 - frame.confidence) / 2
    low, high = np.quantile(moved, [tail, 1 - tail])
    return replace(
        frame,
        se=float(moved.std(ddof=1)),
        p=p,
        p_opposite=opposite,
        low=float(low),
        high=float(high),
        method="percentile bootstrap, replicates moved to the estimate",
        status="ok",
        message="",
    )
