"""The same numbers as other packages, where they compute the same thing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from scipy.spatial import distance
from sklearn.metrics import jaccard_score
from statsmodels.stats.weightstats import ttost_ind

from stats import (
    benjamini_hochberg,
    bootstrap_interval,
    difference_test,
    gini,
    jaccard,
    linear_contrast,
    mean_replicates,
    permutation_test,
    rank_overlap,
    resampling_weights,
    stratified_permutation_null,
    top_k,
    tost,
    weighted_jaccard,
)
from stats.hypothesis_tests import Alternative

SKEWED = np.random.default_rng(0).exponential(size=14)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize(("ours", "theirs"), [("percentile", "percentile"), ("bca", "BCa")])
def test_on_the_same_draws_percentile_and_bca_intervals_are_exactly_those_of_scipy(
    statistic: str, ours: str, theirs: str
) -> None:
    function = {"mean": np.mean, "median": np.median}[statistic]
    draws = [function(np.repeat(SKEWED, row)) for row in resampling_weights(14, 999, seed=3)]
    expected = scipy_stats.bootstrap(
        (SKEWED,),
        function,
        method=theirs,
        n_resamples=0,
        bootstrap_result=SimpleNamespace(bootstrap_distribution=np.array(draws)),
    ).confidence_interval
    found = bootstrap_interval(SKEWED, statistic=statistic, method=ours, replicates=999, seed=3)
    assert (found.low, found.high, found.method) == (pytest.approx(expected.low), pytest.approx(expected.high), ours)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_sign_flips_are_the_paired_permutation_test_of_scipy(alternative: Alternative) -> None:
    values = SKEWED[:9] - 0.8
    exact = scipy_stats.permutation_test(
        (values,), np.mean, permutation_type="samples", alternative=alternative, n_resamples=np.inf
    )
    found = permutation_test(values, alternative=alternative, permutations=40_000)
    assert found.statistic == pytest.approx(exact.statistic)
    # Four Monte Carlo standard errors. scipy's two-sided p is twice the smaller one-sided one: the same, by symmetry.
    assert found.p == pytest.approx(exact.pvalue, abs=4 * np.sqrt(exact.pvalue * (1 - exact.pvalue) / 40_000))


def test_the_interval_of_a_paired_difference_and_of_two_tasks_are_those_of_the_t_tests() -> None:
    one, two = np.random.default_rng(1).standard_normal((2, 11))
    parts = [mean_replicates(x, resampling_weights(11, 5, seed=0)) for x in (one, two)]
    for groups, expected in (
        (["a", "a"], scipy_stats.ttest_rel(one, two)),
        (["a", "b"], scipy_stats.ttest_ind(one, two, equal_var=False)),
    ):
        contrast = linear_contrast(parts, [1, -1], groups)
        found = difference_test(contrast.estimate, contrast.se, contrast.df, confidence=0.9)
        interval = expected.confidence_interval(0.9)
        assert (found.p, found.low, found.high) == pytest.approx((expected.pvalue, interval.low, interval.high))


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_benjamini_hochberg_is_the_false_discovery_control_of_scipy(p: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p), scipy_stats.false_discovery_control(p))


@pytest.mark.parametrize("margin", [0.3, 1.0])
def test_tost_of_two_samples_is_that_of_statsmodels(margin: float) -> None:
    one, two = np.random.default_rng(2).standard_normal((2, 16))
    two = two[:13]
    pooled = ((len(one) - 1) * one.var(ddof=1) + (len(two) - 1) * two.var(ddof=1)) / (len(one) + len(two) - 2)
    se = np.sqrt(pooled * (1 / len(one) + 1 / len(two)))
    found = tost(one.mean() - two.mean(), se, len(one) + len(two) - 2, margin=margin)
    assert found.p == pytest.approx(ttost_ind(one, two, -margin, margin)[0])


@pytest.mark.parametrize("count", [2, 7, 1000])
def test_the_gini_index_of_equally_spaced_values_from_one_is_a_third(count: int) -> None:
    assert gini(np.arange(1, count + 1)) == pytest.approx(1 / 3)


VECTORS = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=25)


def columns(rows: list[tuple[int, int]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.array(rows, dtype=np.float64).T
    return a, b


@given(rows=VECTORS.filter(lambda rows: min(len(set(column)) for column in zip(*rows, strict=True)) > 1))
def test_overlaps_without_a_threshold_are_those_of_scipy_with_ties(rows: list[tuple[int, int]]) -> None:
    a, b = columns(rows)
    found = rank_overlap(a, b)
    assert found.spearman == pytest.approx(scipy_stats.spearmanr(a, b).statistic, abs=1e-12)
    assert found.cosine == pytest.approx(1 - distance.cosine(a, b), abs=1e-12)
    dissimilarity = distance.braycurtis(np.abs(a), np.abs(b))
    assert weighted_jaccard(a, b) == pytest.approx((1 - dissimilarity) / (1 + dissimilarity), abs=1e-12)


@given(rows=VECTORS, data=st.data())
def test_top_k_jaccard_is_that_of_scikit_learn(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    a, b = columns(rows)
    k = data.draw(st.integers(1, len(rows)))
    one, two = top_k(a, k), top_k(b, k)
    assume(one.any() or two.any())
    assert jaccard(one, two) == pytest.approx(jaccard_score(one, two))


def test_without_strata_the_null_is_hypergeometric() -> None:
    """Mean, quantiles and p of 50,000 draws against scipy's distribution of the intersection."""
    a, b = np.random.default_rng(4).standard_normal((2, 60))
    k = 20
    (null,) = stratified_permutation_null(a, b, np.zeros(60, int), [k], permutations=50_000)
    law = scipy_stats.hypergeom(60, k, k)
    shared = np.arange(k + 1)
    index = shared / (2 * k - shared)
    mean = law.pmf(shared) @ index
    spread = np.sqrt(law.pmf(shared) @ (index - mean) ** 2)
    assert null.mean == pytest.approx(mean, abs=4 * spread / np.sqrt(50_000))
    assert (null.low, null.high) == pytest.approx(tuple(index[int(q)] for q in law.ppf([0.025, 0.975])))
    seen = np.count_nonzero(top_k(a, k) & top_k(b, k))
    assert null.p == pytest.approx(law.sf(seen - 1), abs=4 * np.sqrt(0.25 / 50_000))
