"""Rates with their bands, held against scipy and simulation; minimal detectable effects; a calibration as JSON."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from stats import binomial_rate, clustered_rate, minimal_detectable
from stats.calibration import Calibration, HalvesUsed, HypothesisCalibration, MeasureCoverage, Planted
from stats.rates import constant_band, exact_band


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_band_is_that_of_an_exact_binomial_test(counted: tuple[int, int]) -> None:
    count, n = counted
    rate = binomial_rate(np.arange(n) < count)
    exact = scipy_stats.binomtest(count, n).proportion_ci(0.95, method="exact")
    assert (rate.count, rate.n, rate.value) == (count, n, count / n)
    assert (rate.low, rate.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert (rate.nominal, rate.flag) == (None, "")


def test_a_band_that_excludes_the_nominal_value_is_flagged() -> None:
    assert binomial_rate(np.arange(200) < 25, nominal=0.05).flag == "above"
    assert binomial_rate(np.arange(200) < 10, nominal=0.05).flag == ""
    assert binomial_rate(np.arange(200) < 2, nominal=0.05).flag == "below"
    assert binomial_rate(np.ones(200), nominal=0.05).flag == "above"


def test_outcomes_without_dependence_have_the_band_of_as_many_single_ones() -> None:
    # One outcome a repetition: the variance over repetitions is a binomial one but for n / (n - 1).
    single = np.arange(100) < 93
    clustered, plain = clustered_rate([[bool(x)] for x in single]), binomial_rate(single)
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_outcomes_that_agree_within_a_repetition_count_as_one() -> None:
    single = np.arange(100) < 93
    same, plain = clustered_rate([[bool(x)] * 8 for x in single]), binomial_rate(single)
    assert (same.n, same.value) == (800, 0.93)
    assert (same.low, same.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


@pytest.mark.long
def test_the_band_of_dependent_outcomes_holds_its_confidence() -> None:
    """Four intervals a repetition with correlated errors, each covering with .95."""
    rng = np.random.default_rng(0)
    flagged = []
    for _ in range(400):
        shared, own = rng.normal(size=(150, 1)), rng.normal(size=(150, 4))
        covered = np.abs(np.sqrt(0.8) * shared + np.sqrt(0.2) * own) < scipy_stats.norm.ppf(0.975)
        flagged.append(clustered_rate(covered.tolist(), nominal=0.95).flag != "")
    # A binomial band of 600 independent outcomes would be wrong in about one of four.
    assert np.mean(flagged) < 0.08


def test_repetitions_without_outcomes_do_not_count_and_extreme_shares_count_repetitions() -> None:
    assert clustered_rate([[True], [], [False]]).n == 2
    everything = clustered_rate([[True] * 5] * 30)
    assert everything.low == pytest.approx(binomial_rate([True] * 30).low)


@pytest.mark.parametrize("outcomes", [[], [[], []]])
def test_no_outcomes_have_no_rate(outcomes: list[list[bool]]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        binomial_rate(np.concatenate([*outcomes, []]))
    with pytest.raises(ValueError, match="at least one"):
        clustered_rate(outcomes)


def test_a_nominal_value_is_a_share() -> None:
    with pytest.raises(ValueError, match="nominal: expected a number from 0 to 1 or None, got 5"):
        binomial_rate([True], nominal=5)


def test_the_minimal_detectable_effect_of_a_t_test_is_that_of_its_noncentral_t() -> None:
    df, distances = 19, np.linspace(0, 6, 400)
    critical = scipy_stats.t.ppf(0.95, df)
    found = minimal_detectable(distances, scipy_stats.nct.sf(critical, df, distances))
    assert found is not None
    assert scipy_stats.nct.sf(critical, df, found) == pytest.approx(0.8, abs=1e-4)


def test_power_that_is_not_monotone_is_made_so_and_power_never_reached_is_none() -> None:
    assert minimal_detectable([0, 1, 2, 3], [0.1, 0.5, 0.3, 1.0]) == pytest.approx(2 + 0.4 / 0.6)
    assert minimal_detectable([0, 1], [0.1, 0.7]) is None
    assert minimal_detectable([0.5, 1], [0.9, 1.0]) == 0.5
    with pytest.raises(ValueError, match="ascending"):
        minimal_detectable([1, 0], [0.1, 0.7])


def test_a_calibration_survives_json() -> None:
    rate = binomial_rate([True, False, False], nominal=0.05)
    planted = Planted(value=-0.1, shift=-0.1, distance=0.1, rate=rate, corrected=rate)
    named = {"measure": "depth_slope", "test": "difference", "alternative": "less", "truth": 0.0}
    made = Calibration(
        name="study",
        key="abc",
        seed=1,
        repetitions=3,
        replicates=100,
        level=0.05,
        confidence=0.95,
        correction="holm",
        halves=(HalvesUsed(pair="p", task="t", model="m", prompts=12),),
        hypotheses=(
            HypothesisCalibration(
                id="a", **named, tested=3, se=0.1, sd=0.1, false_positives=(planted,), coverage=rate, power=(planted,)
            ),
            HypothesisCalibration(id="b", **named, tested=0, status="undefined", message="too few"),
        ),
        measures=(MeasureCoverage(measure="depth_slope", truth=0.0, rate=rate),),
        family=None,
    )
    text = made.to_json()
    assert Calibration.from_json(text) == made
    assert Calibration.from_json(text).to_json() == text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "mechshift-calibration/v0"}', '{"schema": 1, "name": 2}'])
def test_what_is_no_calibration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_json(text)


def test_of_truths_that_are_all_the_same_the_interval_is_that_of_clopper_and_pearson() -> None:
    for n in (5, 20, 200):
        assert constant_band(0.0, n, 0.95, lowest=0, highest=1) == pytest.approx(exact_band(0, n, 0.95))
        assert constant_band(1.0, n, 0.95, lowest=0, highest=1) == pytest.approx(exact_band(n, n, 0.95))


def test_of_bounded_values_that_are_all_the_same_the_others_may_be_at_either_end() -> None:
    """The mean that is furthest off while none of 20 is seen to differ in one sample of forty."""
    low, high = constant_band(0.25, 20, 0.95, lowest=-1, highest=1)
    q = 1 - 0.025 ** (1 / 20)
    assert (1 - q) ** 20 == pytest.approx(0.025)
    assert (low, high) == pytest.approx(((1 - q) * 0.25 - q, (1 - q) * 0.25 + q))
