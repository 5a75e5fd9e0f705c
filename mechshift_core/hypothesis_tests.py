"""The kinds of hypothesis tests of this package."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mechshift_core.kinds.test import TestKind

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    from mechshift_core.spec.hypotheses import HypothesisTest
    from mechshift_core.spec.statistics import Statistics
    from stats.hypothesis_tests import TestResult
    from stats.replicates import Contrast


def _by_quantiles(contrast: Contrast, statistics: Statistics) -> npt.NDArray[np.float64] | None:
    """The replicates where their own quantiles decide; None where the standard error does."""
    return contrast.replicates if statistics.by_quantiles and contrast.se != 0 else None


def _difference(test: HypothesisTest, contrast: Contrast, statistics: Statistics) -> TestResult:
    from stats.hypothesis_tests import difference_test
    from stats.percentile_tests import percentile_difference

    null, confidence = test.bound or 0.0, statistics.confidence
    drawn = _by_quantiles(contrast, statistics)
    if drawn is not None:
        return percentile_difference(
            contrast.estimate, drawn, alternative=test.alternative, null=null, confidence=confidence
        )

    def decide(skewness: float) -> TestResult:
        return difference_test(
            contrast.estimate,
            contrast.se,
            contrast.df,
            alternative=test.alternative,
            null=null,
            confidence=confidence,
            skewness=skewness,
        )

    return by_t(contrast, decide, contrast.skewness_at(null))


def by_t(contrast: Contrast, decide: Callable[[float], TestResult], skewness: float) -> TestResult:
    """The test with the skewness of the estimate; of bounded values it has to hold without it too."""
    from stats.hypothesis_tests import with_and_without

    return with_and_without(decide, skewness) if contrast.bounded else decide(skewness)


def _within_margin(test: HypothesisTest, contrast: Contrast, statistics: Statistics, *, both: bool) -> TestResult:
    """By two one-sided tests within the margin, or by one that it is not lower by more than that."""
    from stats.hypothesis_tests import non_inferiority, tost
    from stats.percentile_tests import percentile_non_inferiority, percentile_tost

    assert test.margin is not None
    drawn = _by_quantiles(contrast, statistics)
    if drawn is not None:
        decided = percentile_tost if both else percentile_non_inferiority
        return decided(contrast.estimate, drawn, margin=test.margin, confidence=statistics.confidence)
    margin = test.margin

    def decide(skewness: float) -> TestResult:
        return (tost if both else non_inferiority)(
            contrast.estimate,
            contrast.se,
            contrast.df,
            margin=margin,
            confidence=statistics.confidence,
            skewness=skewness,
        )

    return by_t(contrast, decide, contrast.skewness)


TESTS = (
    TestKind(
        name="difference",
        text="from zero",
        options=frozenset({"alternative"}),
        decide=_difference,
    ),
    TestKind(
        name="equivalence",
        text="within the margin of zero, by two one-sided tests",
        options=frozenset({"to", "margin"}),
        required={"margin": "the largest difference that counts as none"},
        claim="equivalent",
        refers=True,
        nulls=lambda test: (test.margin or 0.0, -(test.margin or 0.0)),
        decide=partial(_within_margin, both=True),
    ),
    TestKind(
        name="non_inferiority",
        text="not lower by more than the margin",
        options=frozenset({"to", "margin"}),
        required={"margin": "the largest loss that counts as none"},
        claim="not inferior",
        refers=True,
        nulls=lambda test: (-(test.margin or 0.0),),
        decide=partial(_within_margin, both=False),
    ),
    TestKind(
        name="bound",
        text="beyond a value",
        options=frozenset({"alternative", "bound"}),
        required={"bound": "the value that the estimate is claimed to be beyond"},
        sided=True,
        nulls=lambda test: (test.bound or 0.0,),
        decide=_difference,
    ),
)
