from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as scipy_stats

from stats import difference_test, linear_contrast, mean_replicates, non_inferiority, resampling_weights, tost
from stats.hypothesis_tests import Alternative
from stats.skewness import SHARE, corrected, skewness_of_estimate, uncorrected

SKEWNESS = st.floats(-1, 1)
T = st.floats(-20, 20)


@given(t=T, skewness=SKEWNESS)
def test_the_correction_is_a_perfect_cube_and_has_an_inverse(t: float, skewness: float) -> None:
    value = corrected(t, skewness)
    g = SHARE * skewness
    if abs(g) > 1e-3:
        assert value == pytest.approx(((1 + g * t / 3) ** 3 - 1) / g + g / 6, rel=1e-6, abs=1e-6)
    # Where the cube is flat, its root is known to the third root of the rounding error.
    assert float(uncorrected(value, skewness)) == pytest.approx(t, abs=1e-4 / max(abs(g), 0.01))
    assert corrected(-t, -skewness) == pytest.approx(-value) and corrected(t, 0) == t


@given(t=T, step=st.floats(0, 5), skewness=SKEWNESS)
def test_the_corrected_statistic_never_falls(t: float, step: float, skewness: float) -> None:
    assert corrected(t + step, skewness) >= corrected(t, skewness) - 1e-9


@given(values=hnp.arrays(np.float64, st.integers(5, 20), elements=st.integers(-9, 9)).filter(lambda x: np.ptp(x) > 0))
def test_the_skewness_of_a_mean_is_that_of_the_values_over_the_root_of_their_number(values: np.ndarray) -> None:  # type: ignore[type-arg]
    part = mean_replicates(values, resampling_weights(len(values), 2, seed=0))
    expected = scipy_stats.skew(values) / np.sqrt(len(values))
    assert skewness_of_estimate(part.influence) == pytest.approx(expected, abs=1e-9)
    assert linear_contrast([part], [1], ["a"]).skewness == pytest.approx(expected, abs=1e-9)
    assert linear_contrast([part], [-2], ["a"]).skewness == pytest.approx(-expected, abs=1e-9)


def test_third_cumulants_add_over_independent_tasks() -> None:
    rng = np.random.default_rng(0)
    values = [rng.exponential(size=12), 2 * rng.exponential(size=30)]
    parts = [mean_replicates(x, resampling_weights(len(x), 2, seed=0)) for x in values]
    contrast = linear_contrast(parts, [1, -1], ["a", "b"])
    third = [scipy_stats.skew(x) / np.sqrt(len(x)) * scipy_stats.sem(x) ** 3 for x in values]
    assert contrast.skewness == pytest.approx((third[0] - third[1]) / contrast.se**3)
    assert linear_contrast([parts[0], parts[0]], [1, -1], ["a", "a"]).skewness == 0


@given(estimate=st.floats(-2, 2), se=st.floats(0.05, 1), df=st.integers(4, 100), skewness=SKEWNESS)
def test_the_interval_holds_exactly_the_values_that_are_not_rejected(
    estimate: float, se: float, df: int, skewness: float
) -> None:
    found = difference_test(estimate, se, df, skewness=skewness)
    assert found.low is not None and found.high is not None and found.low <= estimate <= found.high
    for end in (found.low, found.high):
        width = found.high - found.low
        beyond = difference_test(estimate, se, df, skewness=skewness, null=end + np.sign(end - estimate) * width / 10)
        within = difference_test(estimate, se, df, skewness=skewness, null=end - np.sign(end - estimate) * width / 10)
        assert beyond.p is not None and within.p is not None and beyond.p <= 0.05 <= within.p


@pytest.mark.parametrize(("alternative", "mirrored"), [("less", "greater"), ("greater", "less"), ("two-sided",) * 2])
@given(estimate=st.floats(-2, 2), skewness=SKEWNESS, scale=st.floats(0.01, 100))
def test_neither_sign_nor_unit_changes_a_test(
    alternative: Alternative, mirrored: Alternative, estimate: float, skewness: float, scale: float
) -> None:
    one = difference_test(estimate, 0.4, 9, alternative=alternative, null=0.3, skewness=skewness)
    two = difference_test(
        -estimate * scale, 0.4 * scale, 9, alternative=mirrored, null=-0.3 * scale, skewness=-skewness
    )
    assert two.p == pytest.approx(one.p, rel=1e-6, abs=1e-12)
    assert one.low is not None and two.high == pytest.approx(-one.low * scale, rel=1e-6, abs=1e-6 * scale)


@given(estimate=st.floats(-2, 2), skewness=SKEWNESS)
def test_equivalence_is_both_non_inferiority_and_non_superiority(estimate: float, skewness: float) -> None:
    both = tost(estimate, 0.3, 11, margin=0.8, skewness=skewness)
    lower = non_inferiority(estimate, 0.3, 11, margin=0.8, skewness=skewness)
    upper = non_inferiority(-estimate, 0.3, 11, margin=0.8, skewness=-skewness)
    assert lower.p is not None and upper.p is not None
    assert both.p == pytest.approx(max(lower.p, upper.p), rel=1e-9)


@pytest.mark.parametrize("skewness", [0.0, 0.5, -0.5])
def test_a_t_beyond_all_numbers_has_a_p_of_zero_or_one(skewness: float) -> None:
    for estimate, p in ((1.0, 0.0), (-1.0, 1.0)):
        for se in (1e-320, 1e-200):
            found = difference_test(estimate, se, 5, alternative="greater", skewness=skewness)
            assert found.p == pytest.approx(p, abs=1e-12)
