from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from stats import bootstrap_interval, resampling_weights

METHODS = ["percentile", "bca", "studentized"]


def skewed(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.exp(rng.standard_normal(n))


def clustered(seed: int, clusters: int = 12) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), rng.integers(1, 6, clusters))
    return rng.standard_normal(clusters)[cluster] + rng.standard_normal(len(cluster)), cluster


def studentized_by_loop(
    values: NDArray[np.float64], cluster: NDArray[np.int64], weights: NDArray[np.int64]
) -> tuple[float, float]:
    """The definition, one replicate at a time, on the resampled values themselves."""

    def mean_and_se(groups: list[NDArray[np.float64]]) -> tuple[float, float]:
        pooled = np.concatenate(groups)
        mean = pooled.mean()
        squares = sum(float((group - mean).sum()) ** 2 for group in groups)
        return float(mean), float(np.sqrt(len(groups) / (len(groups) - 1) * squares) / len(pooled))

    groups = [values[cluster == c] for c in np.unique(cluster)]
    mean, se = mean_and_se(groups)
    ts = []
    for row in weights:
        m, s = mean_and_se([groups[c] for c in np.repeat(np.arange(len(groups)), row)])
        ts.append((m - mean) / s)
    sizes = np.array([len(group) for group in groups])
    effective = sizes.sum() ** 2 / (sizes**2).sum()
    wider = scipy_stats.t.ppf(0.975, effective - 1) / scipy_stats.t.ppf(0.975, len(groups) - 1)
    low, high = np.quantile(ts, [0.025, 0.975]) * wider
    return mean - high * se, mean - low * se


def test_studentized_cluster_interval_equals_the_loop_over_replicates() -> None:
    values, cluster = clustered(0)
    interval = bootstrap_interval(values, cluster=cluster, replicates=300, seed=4)
    low, high = studentized_by_loop(values, cluster, resampling_weights(12, 300, seed=4))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-9)
    assert interval.status == "ok" and interval.method == "studentized"
    assert (interval.n, interval.clusters) == (len(values), 12)


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize(("ours", "theirs"), [("percentile", "percentile"), ("bca", "BCa")])
def test_percentile_and_bca_agree_with_scipy(statistic: str, ours: str, theirs: str) -> None:
    values = skewed(np.random.default_rng(1), 31)
    function = {"mean": np.mean, "median": np.median}[statistic]
    expected = scipy_stats.bootstrap(
        (values,), function, method=theirs, n_resamples=40_000, rng=np.random.default_rng(0), vectorized=True
    )
    interval = bootstrap_interval(values, statistic=statistic, method=ours, replicates=40_000)
    # Both ends are quantiles of 40,000 independent draws.
    band = 0.03 * float(expected.standard_error) if statistic == "mean" else 0.12 * float(expected.standard_error)
    assert interval.low == pytest.approx(expected.confidence_interval.low, abs=band)
    assert interval.high == pytest.approx(expected.confidence_interval.high, abs=band)
    assert interval.method == ours


def test_builtin_statistics_equal_the_same_function_given_by_the_user() -> None:
    values, cluster = clustered(2)
    for name, function in (("mean", np.mean), ("median", np.median)):
        for method in ("percentile", "bca"):
            fast = bootstrap_interval(values, cluster=cluster, statistic=name, method=method, replicates=200)
            slow = bootstrap_interval(values, cluster=cluster, statistic=function, method=method, replicates=200)
            assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), rel=1e-9), (name, method)


def test_standard_error_is_that_of_the_t_test_without_clusters() -> None:
    values = skewed(np.random.default_rng(3), 20)
    interval = bootstrap_interval(values, replicates=50)
    assert interval.se == pytest.approx(scipy_stats.sem(values))
    assert interval.estimate == pytest.approx(values.mean())


def test_clusters_of_identical_values_count_once() -> None:
    values = np.random.default_rng(4).standard_normal(10)
    single = bootstrap_interval(values, replicates=500)
    repeated = bootstrap_interval(np.repeat(values, 7), cluster=np.repeat(np.arange(10), 7), replicates=500)
    assert (repeated.low, repeated.high, repeated.se) == pytest.approx((single.low, single.high, single.se))


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), shift=st.floats(-1e4, 1e4))
@settings(max_examples=20)
def test_interval_follows_scale_and_shift_and_ignores_row_order(
    method: str, seed: int, scale: float, shift: float
) -> None:
    values, cluster = clustered(seed, clusters=6)
    original = bootstrap_interval(values, cluster=cluster, method=method, replicates=100)
    order = np.random.default_rng(seed).permutation(len(values))
    moved = bootstrap_interval(
        (values * scale + shift)[order],
        cluster=[f"prompt-{c}" for c in cluster[order]],
        method=method,
        replicates=100,
    )
    assert original.low is not None and original.high is not None and original.low < original.high
    expected = np.array([original.low, original.high]) * scale + shift
    assert np.array([moved.low, moved.high]) == pytest.approx(expected, rel=1e-6, abs=1e-6 * scale)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_same_seed_same_interval_whatever_the_block_size(method: str, statistic: str) -> None:
    values, cluster = clustered(5)
    options = {"cluster": cluster, "method": method, "statistic": statistic, "replicates": 257}
    whole = bootstrap_interval(values, **options, seed=1)
    blocks = bootstrap_interval(values, **options, seed=1, block_numbers=100)
    other = bootstrap_interval(values, **options, seed=2)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), rel=1e-12)
    assert (other.low, other.high, other.se) != (whole.low, whole.high, whole.se) or statistic == "median"


def test_weights_are_draws_with_replacement() -> None:
    weights = resampling_weights(30, 4000, seed=0)
    assert weights.shape == (4000, 30) and (weights.sum(axis=1) == 30).all()
    assert weights.var() == pytest.approx(1 - 1 / 30, abs=0.03)
    np.testing.assert_array_equal(weights[:10], resampling_weights(30, 10, seed=0))


def test_fewer_than_five_clusters_give_points_only() -> None:
    interval = bootstrap_interval(np.arange(40.0), cluster=np.repeat(np.arange(4), 10))
    assert interval.status == "points only" and interval.estimate == 19.5
    assert interval.low is None and interval.high is None
    assert "4 cluster(s): fewer than 5" in interval.message
    assert bootstrap_interval([3.0]).status == "points only"


@pytest.mark.parametrize("statistic", ["mean", "median"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1])
def test_constant_data_are_named_and_have_no_interval(statistic: str, value: float) -> None:
    interval = bootstrap_interval([value] * 12, statistic=statistic, replicates=50)
    assert interval.estimate == value and interval.se == 0
    assert interval.status == "points only" and "constant" in interval.message and interval.low is None


def test_replicates_without_spread_make_studentized_fall_back_and_say_so() -> None:
    interval = bootstrap_interval([0.0] * 11 + [1.0], replicates=500)
    assert interval.status == "ok" and interval.method == "t with cluster-robust standard error"
    half = scipy_stats.t.ppf(0.975, 11) * interval.se
    assert interval.high == pytest.approx(1 / 12 + half)


def test_studentized_of_another_statistic_falls_back_and_says_so() -> None:
    interval = bootstrap_interval(np.arange(20.0), statistic="median", replicates=500)
    assert interval.status == "ok" and interval.method == "t with bootstrap standard error"


def test_a_statistic_that_is_not_finite_is_undefined() -> None:
    interval = bootstrap_interval(np.arange(10.0), statistic=lambda x: float("nan"), replicates=40)
    assert interval.status == "undefined" and interval.estimate is None and interval.low is None


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "values: expected at least one value, got shape \\(0,\\)"),
        ([1.0, float("nan"), float("inf")], {}, "values: expected finite numbers, got 2 NaN or infinite of 3"),
        ([1.0, 2.0], {"cluster": ["a"]}, "cluster: expected 2 labels, one for each value, got shape \\(1,\\)"),
        ([[1.0, 2.0]], {}, "values: expected 1 dimension"),
        ([1.0, 2.0], {"method": "normal"}, "method: expected 'percentile', 'bca' or 'studentized', got 'normal'"),
        (
            [1.0, 2.0],
            {"statistic": "mode"},
            "expected 'mean', 'median' or 'trimmed mean' or a function, got 'mode'",
        ),
        ([1.0, 2.0], {"confidence": 95}, "confidence: expected a number between 0 and 1, got 95"),
        ([1.0, 2.0], {"replicates": 0}, "replicates: expected at least 1, got 0"),
        ([1.0, 2.0], {"replicates": 1}, "replicates: expected at least 40 for a confidence of 0.95"),
    ],
)
def test_errors_say_what_came(values: list[float], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)


def coverage(clusters: int, method: str, simulations: int, replicates: int, *, skewed_means: bool = True) -> float:
    """Share of intervals that hold the true mean: random cluster means, clusters of unequal size."""
    covered = 0
    for simulation in range(simulations):
        rng = np.random.default_rng([simulation, clusters])
        cluster = np.repeat(np.arange(clusters), rng.integers(2, 5, clusters))
        means = rng.exponential(size=clusters) if skewed_means else 1 + rng.standard_normal(clusters)
        values = means[cluster] + rng.standard_normal(len(cluster))
        interval = bootstrap_interval(values, cluster=cluster, method=method, replicates=replicates, seed=simulation)
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= 1 <= interval.high
    return covered / simulations


@pytest.mark.long
@pytest.mark.parametrize("skewed_means", [False, True])
def test_studentized_interval_covers_near_nominal_with_twelve_clusters(skewed_means: bool) -> None:
    # Three binomial standard errors (.009) of 600 data sets around .95. With exponential cluster means the coverage in
    # the long run is .93, that of the percentile interval .885, which is outside of the band.
    rate = coverage(12, "studentized", simulations=600, replicates=400, skewed_means=skewed_means)
    assert 0.923 <= rate <= 0.977


@pytest.mark.nightly
@pytest.mark.parametrize("clusters", [8, 12, 30])
def test_studentized_misses_nominal_coverage_by_less_than_half_of_what_the_others_do(clusters: int) -> None:
    rates = {method: coverage(clusters, method, simulations=2500, replicates=800) for method in METHODS}
    normal = coverage(clusters, "studentized", simulations=2500, replicates=800, skewed_means=False)
    # Binomial standard error: .0044. Exponential cluster means cost the studentized interval up to .025.
    assert 0.935 <= normal <= 0.965
    assert 0.95 - 0.025 - 3 * 0.0044 <= rates["studentized"] <= 0.965
    for other in ("percentile", "bca"):
        assert 0.95 - rates["studentized"] < (0.95 - rates[other]) / 2, rates
