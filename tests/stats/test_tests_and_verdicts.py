from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from stats import (
    benjamini_hochberg,
    claim_verdict,
    difference_test,
    equivalence_test,
    holm,
    non_inferiority,
    permutation_test,
    tost,
)
from stats.findings import Status
from stats.hypothesis_tests import Alternative

VALUES = np.random.default_rng(0).standard_normal(15) * 0.4 + 0.1


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("null", [0.0, 0.3])
def test_difference_test_is_the_t_test(alternative: Alternative, null: float) -> None:
    expected = scipy_stats.ttest_1samp(VALUES, null, alternative=alternative)
    found = difference_test(VALUES.mean(), scipy_stats.sem(VALUES), 14, alternative=alternative, null=null)
    interval = scipy_stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("margin", [0.05, 0.2])
def test_non_inferiority_is_one_half_of_two_one_sided_tests(margin: float) -> None:
    expected = scipy_stats.ttest_1samp(VALUES, -margin, alternative="greater")
    found = non_inferiority(VALUES.mean(), scipy_stats.sem(VALUES), 14, margin=margin)
    assert (found.statistic, found.p, found.margin) == pytest.approx((expected.statistic, expected.pvalue, margin))
    both = tost(VALUES.mean(), scipy_stats.sem(VALUES), 14, margin=margin)
    assert both.p is not None and found.p is not None and both.p >= found.p
    with pytest.raises(ValueError, match="margin: expected a number > 0, got 0"):
        non_inferiority(0.1, 0.1, 14, margin=0)


@pytest.mark.parametrize("margin", [0.05, 0.2, 0.5])
def test_equivalence_test_is_tost_of_statsmodels_but_for_the_skewness_of_the_data(margin: float) -> None:
    p, lower, upper = ttost_paired(VALUES, np.zeros(15), -margin, margin)
    found = tost(VALUES.mean(), scipy_stats.sem(VALUES), 14, margin=margin)
    assert found.p == pytest.approx(p)
    assert found.statistic == pytest.approx(max((lower, upper), key=lambda test: test[1])[0])
    mirrored = np.concatenate([VALUES, -VALUES])  # symmetric: nothing to correct
    assert equivalence_test(mirrored, margin=margin).p == pytest.approx(
        ttost_paired(mirrored, np.zeros(30), -margin, margin)[0]
    )


@given(estimate=st.floats(-2, 2), se=st.floats(0.01, 1), df=st.integers(1, 200), margin=st.floats(0.05, 2))
def test_tost_rejects_where_the_interval_at_one_minus_two_alpha_lies_within_the_margin(
    estimate: float, se: float, df: int, margin: float
) -> None:
    found = tost(estimate, se, df, margin=margin, confidence=0.90)
    assert found.p is not None and found.low is not None and found.high is not None
    if min(abs(abs(found.low) - margin), abs(abs(found.high) - margin)) > 1e-9:
        assert (found.p < 0.05) == (found.low > -margin and found.high < margin)
    mirrored = tost(-estimate, se, df, margin=margin, confidence=0.90)
    assert mirrored.p == pytest.approx(found.p)


def test_equivalence_of_clustered_values_uses_the_cluster_robust_error() -> None:
    repeated = equivalence_test(np.repeat(VALUES, 4), margin=0.3, cluster=np.repeat(np.arange(15), 4))
    single = equivalence_test(VALUES, margin=0.3)
    assert (repeated.p, repeated.se, repeated.df) == pytest.approx((single.p, single.se, single.df))


def test_degenerate_standard_errors_give_a_status_and_no_p() -> None:
    for result in (
        difference_test(1.0, None, None),
        difference_test(1.0, float("nan"), 5),
        tost(0.0, None, 5, margin=1),
        equivalence_test(VALUES[:4], margin=1),
    ):
        assert result.status == "points only" and result.message
        assert result.p is None and result.low is None and result.statistic is None
    assert difference_test(2.0, 1.0, float("inf")).p == pytest.approx(2 * scipy_stats.norm.sf(2))


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_permutation_test_agrees_with_all_sign_flips(alternative: Alternative) -> None:
    values = VALUES[:9]
    sums = np.array([np.dot(signs, values) for signs in itertools.product((-1, 1), repeat=9)])
    orient = {"two-sided": np.abs, "less": np.negative, "greater": np.positive}[alternative]
    exact = float(np.mean(orient(sums) >= orient(values.sum()) - 1e-12))
    found = permutation_test(values, alternative=alternative, permutations=20_000)
    assert found.p == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 20_000))


def test_permutation_p_is_never_zero_counts_ties_and_flips_clusters_together() -> None:
    assert permutation_test(np.ones(30), permutations=99).p == 1 / 100
    assert permutation_test(np.zeros(6), permutations=99).p == 1
    few = permutation_test(np.ones(40), cluster=np.repeat([0, 1], 20), permutations=4000)
    assert few.p == pytest.approx(0.5, abs=0.04) and "p can't be below 0.5" in few.message
    assert permutation_test(VALUES, seed=1).p == permutation_test(VALUES, seed=1).p


@pytest.mark.nightly
@settings(max_examples=10)  # statsmodels takes its time
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrections_equal_those_of_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


@pytest.mark.parametrize("correction", [holm, benjamini_hochberg])
def test_hypotheses_without_p_stay_out_of_the_family(correction: object) -> None:
    assert callable(correction)
    with_none = correction([0.01, None, 0.04, 0.03, None])
    assert [value for value in with_none if value is not None] == correction([0.01, 0.04, 0.03])
    assert with_none[1] is None and with_none[4] is None
    assert correction([]) == [] and correction([None]) == [None]
    with pytest.raises(ValueError, match=r"p\[1\]: expected a number from 0 to 1 or None, got 1.2"):
        correction([0.5, 1.2])
    with pytest.raises(ValueError, match=r"p\[0\]: expected a number from 0 to 1 or None, got nan"):
        correction([float("nan")])


@pytest.mark.parametrize(
    ("p", "p_opposite", "status", "expected"),
    [
        (0.01, 1.0, "ok", "supported"),
        (0.05, 1.0, "ok", "inconclusive"),
        (0.99, 0.01, "ok", "refuted"),
        (0.99, 0.05, "ok", "inconclusive"),
        (0.99, None, "ok", "inconclusive"),
        (None, None, "ok", "not estimable"),
        (0.001, 1.0, "undefined", "not estimable"),
        (0.001, 1.0, "points only", "not estimable"),
    ],
)
def test_verdict_on_a_claim(p: float | None, p_opposite: float | None, status: Status, expected: str) -> None:
    assert claim_verdict(p=p, p_opposite=p_opposite, status=status) == expected


@given(
    estimate=st.floats(-1, 1),
    se=st.floats(0.01, 0.5),
    df=st.integers(3, 100),
    margin=st.floats(0.05, 0.5),
    skewness=st.sampled_from([0.0, 0.2, -0.2]),
)
def test_a_claim_is_refuted_where_the_whole_interval_lies_on_the_other_side(
    estimate: float, se: float, df: int, margin: float, skewness: float
) -> None:
    """Uncorrected; a claim and its opposite are never both supported."""
    verdicts = {}
    for alternative in ("less", "greater"):
        test = difference_test(estimate, se, df, alternative=alternative, skewness=skewness)
        verdicts[alternative] = claim_verdict(p=test.p, p_opposite=test.p_opposite)
        assert test.low is not None and test.high is not None
        if min(abs(test.low), abs(test.high)) > 1e-9:
            beyond = test.low > 0 if alternative == "less" else test.high < 0
            assert (verdicts[alternative] == "refuted") == beyond
    assert list(verdicts.values()).count("supported") <= 1
    if "refuted" in verdicts.values():
        assert set(verdicts.values()) == {"supported", "refuted"}
    same = tost(estimate, se, df, margin=margin, skewness=skewness)
    equivalent = claim_verdict(p=same.p, p_opposite=same.p_opposite)
    assert same.low is not None and same.high is not None
    if min(abs(same.low - margin), abs(same.high + margin)) > 1e-9:
        assert (equivalent == "refuted") == (same.low > margin or same.high < -margin)
    assert (equivalent == "supported") <= (abs(estimate) < margin)
    assert same.inner_low is not None and same.inner_high is not None
    if min(abs(abs(same.inner_low) - margin), abs(abs(same.inner_high) - margin)) > 1e-9:
        assert (equivalent == "supported") == (same.inner_low > -margin and same.inner_high < margin)


@pytest.mark.parametrize("df", [4, 9])
def test_a_standard_error_of_zero_is_decided_by_the_sign_test(df: int) -> None:
    extreme = 0.5 ** (df + 1)
    two_sided = difference_test(0.3, 0.0, df)
    assert (two_sided.p, two_sided.method, two_sided.status) == (2 * extreme, "sign test", "ok")
    assert two_sided.p == scipy_stats.binomtest(df + 1, df + 1).pvalue
    assert (two_sided.low, two_sided.high, two_sided.statistic) == (0.3, 0.3, None)
    less = difference_test(0.3, 0.0, df, alternative="less")
    assert (less.p, less.p_opposite) == (1.0, 2 * extreme)
    assert difference_test(0.0, 0.0, df).p == 1 and difference_test(0.1 + 0.2, 0.0, df, null=0.3).p == 1
    assert (tost(0.0, 0.0, df, margin=0.1).p, tost(0.0, 0.0, df, margin=0.1).p_opposite) == (extreme, 1.0)
    outside = tost(-0.3, 0.0, df, margin=0.1)
    assert (outside.p, outside.p_opposite, outside.inner_low) == (1.0, 2 * extreme, -0.3)
    assert non_inferiority(0.0, 0.0, df, margin=0.1).p == extreme


def test_invalid_arguments_say_what_came() -> None:
    with pytest.raises(ValueError, match="margin: expected a number > 0, got 0"):
        tost(0.0, 1.0, 5, margin=0)
    with pytest.raises(ValueError, match="alternative: expected 'two-sided', 'less' or 'greater', got 'lower'"):
        difference_test(0.0, 1.0, 5, alternative="lower")
    with pytest.raises(ValueError, match="estimate: expected a finite number, got nan"):
        difference_test(float("nan"), 1.0, 5)
    with pytest.raises(ValueError, match="alpha: expected a number between 0 and 1, got 5"):
        claim_verdict(p=0.1, p_opposite=None, alpha=5)
    with pytest.raises(ValueError, match="values: expected at least one value"):
        equivalence_test([], margin=1)
