"""Tests by quantiles of replicates: against the t-tests where both hold, and by their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats import (
    difference_test,
    mean_replicates,
    non_inferiority,
    percentile_difference,
    percentile_non_inferiority,
    percentile_tost,
    resampling_weights,
    tost,
)
from stats.hypothesis_tests import TestResult

VALUES = np.random.default_rng(3).normal(0.3, 1.0, 400)
DRAWN = mean_replicates(VALUES, resampling_weights(400, 20_000, seed=1))


def replicates() -> np.ndarray:  # type: ignore[type-arg]
    assert DRAWN.replicates is not None
    return DRAWN.replicates


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("null", [0.2, 0.3, 0.4])
def test_with_many_units_it_agrees_with_the_t_test(alternative: str, null: float) -> None:
    found = percentile_difference(DRAWN.estimate, replicates(), alternative=alternative, null=null)  # type: ignore[arg-type]
    expected = difference_test(DRAWN.estimate, DRAWN.se, DRAWN.df, alternative=alternative, null=null)  # type: ignore[arg-type]
    assert found.p == pytest.approx(expected.p, abs=0.02)
    assert found.low == pytest.approx(expected.low, abs=0.01) and found.high == pytest.approx(expected.high, abs=0.01)


@pytest.mark.parametrize("margin", [0.25, 0.4, 0.6])
def test_margins_are_tested_as_by_t(margin: float) -> None:
    assert percentile_tost(DRAWN.estimate, replicates(), margin=margin).p == pytest.approx(
        tost(DRAWN.estimate, DRAWN.se, DRAWN.df, margin=margin).p, abs=0.02
    )
    assert percentile_non_inferiority(-DRAWN.estimate, -replicates(), margin=margin).p == pytest.approx(
        non_inferiority(-DRAWN.estimate, DRAWN.se, DRAWN.df, margin=margin).p, abs=0.02
    )


def test_p_is_the_share_on_the_wrong_side() -> None:
    drawn = np.arange(200.0)  # mean 99.5, moved to 10
    found = percentile_difference(10.0, drawn, alternative="greater", null=-80.0)
    wrong = np.count_nonzero(drawn - 99.5 + 10.0 <= -80.0)
    assert wrong == 10 and found.p == (1 + wrong) / 201


def test_the_bias_of_the_replicates_is_taken_out() -> None:
    low = percentile_difference(0.5, replicates())
    moved = percentile_difference(0.5, replicates() - 7.0)
    assert (moved.low, moved.high) == pytest.approx((low.low, low.high))


def test_replicates_without_spread_give_points_only() -> None:
    found: TestResult = percentile_tost(0.1, np.full(200, 0.3), margin=0.2)
    assert (found.status, found.p, found.low) == ("points only", None, None)
    assert found.message == "every replicate gives the same value"


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: percentile_difference(0.0, np.zeros(99)), "at least 100, got 99"),
        (lambda: percentile_difference(float("nan"), np.zeros(100)), "estimate: expected a finite number"),
        (lambda: percentile_difference(0.0, np.full(100, np.inf)), "replicates"),
        (lambda: percentile_tost(0.0, np.arange(100.0), margin=0.0), "margin: expected a number > 0"),
        (lambda: percentile_non_inferiority(0.0, np.arange(100.0), margin=-1.0), "margin: expected a number > 0"),
    ],
)
def test_what_cannot_be_tested_is_refused(call: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        call()  # type: ignore[operator]


@given(shift=st.floats(-5, 5), scale=st.floats(0.1, 10))
def test_shift_and_scale_carry_through(shift: float, scale: float) -> None:
    drawn = replicates()[:500]
    found = percentile_difference(0.3, drawn, null=0.25)
    other = percentile_difference(scale * 0.3 + shift, scale * drawn + shift, null=scale * 0.25 + shift)
    assert found.p is not None and other.p == pytest.approx(found.p, abs=2 / 501)
    assert other.low == pytest.approx(scale * (found.low or 0) + shift, abs=1e-6)
