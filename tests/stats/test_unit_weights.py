from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from stats import bootstrap_interval, cluster_weights, crossed_weights, nested_weights, resampling_weights
from stats.two_way import two_way_variance, two_way_variance_of_mean
from stats.unit_weights import crossed_blocks, nested_blocks

Values = NDArray[np.float64]
Labels = NDArray[np.int64]


def table(first: int, second: int) -> tuple[Labels, Labels]:
    """Labels of a complete table."""
    one, two = np.meshgrid(np.arange(first), np.arange(second), indexing="ij")
    return one.ravel(), two.ravel()


def test_whole_clusters_are_drawn() -> None:
    weights = cluster_weights(list("aabbbc"), 50, seed=3)
    np.testing.assert_array_equal(weights, resampling_weights(3, 50, seed=3)[:, [0, 0, 1, 1, 1, 2]])


@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_units_are_drawn_as_often_as_their_clusters(sizes: list[int], seed: int) -> None:
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    weights = nested_weights(cluster, np.arange(len(cluster)), 20, seed=seed)
    drawn = resampling_weights(len(sizes), 20, seed=seed)
    for one, size in enumerate(sizes):
        np.testing.assert_array_equal(weights[:, cluster == one].sum(axis=1), drawn[:, one] * size)


def test_values_of_one_unit_are_drawn_together_and_labels_are_those_within_a_cluster() -> None:
    weights = nested_weights(list("aaaabbbb"), [0, 0, 1, 1, 0, 0, 1, 1], 200, seed=0)
    np.testing.assert_array_equal(weights[:, ::2], weights[:, 1::2])
    assert (weights[:, 0] != weights[:, 4]).any()


def test_a_value_is_drawn_as_often_as_the_product_of_its_units() -> None:
    prompt, seed = table(7, 5)
    weights = crossed_weights(prompt, seed, 40, seed=2).reshape(40, 7, 5)
    assert (weights.sum(axis=(1, 2)) == 35).all()
    prompts = resampling_weights(7, 40, seed=2)
    np.testing.assert_array_equal(weights.sum(axis=2), prompts * 5)
    seeds = weights.sum(axis=1) / 7
    np.testing.assert_array_equal(weights, prompts[:, :, None] * seeds[:, None, :])
    assert abs(np.corrcoef(prompts[:, 0], seeds[:, 0])[0, 1]) < 0.5


def test_a_replicate_without_any_value_takes_each_once() -> None:
    weights = crossed_weights(np.arange(3), np.arange(3), 300, seed=0)
    assert (weights.sum(axis=1) > 0).all()
    assert (weights == 1).all(axis=1).sum() > 20


def test_blocks_change_nothing() -> None:
    prompt, seed = table(6, 5)
    for weights, blocks in ((nested_weights, nested_blocks), (crossed_weights, crossed_blocks)):
        parts = [*blocks(prompt, seed, 23, seed=4, block_numbers=70)]
        assert {part.size for part in parts} == {60, 30}
        np.testing.assert_array_equal(np.concatenate(parts), weights(prompt, seed, 23, seed=4))


def test_variance_of_replicates_is_what_theory_says() -> None:
    rng = np.random.default_rng(0)
    prompt, seed = table(8, 6)
    x = rng.standard_normal(8)[prompt] + rng.standard_normal(6)[seed] + rng.standard_normal(48)
    # Owen (2007), theorem 2, for a complete table: of its own finite populations the pigeonhole bootstrap is exact.
    y = x.reshape(8, 6) - x.mean()
    rows, columns = y.mean(axis=1), y.mean(axis=0)
    cells = y - rows[:, None] - columns
    expected = (rows**2).mean() / 8 + (columns**2).mean() / 6 + (cells**2).mean() / 48
    drawn = crossed_weights(prompt, seed, 40_000, seed=1)
    assert (drawn @ x / 48).var() == pytest.approx(expected, rel=0.03)
    # Nested: clusters of 6, and their units anew within each of the 8 that are drawn.
    expected = (rows**2).mean() / 8 + ((y - rows[:, None]) ** 2).mean() / 48
    drawn = nested_weights(prompt, seed, 40_000, seed=1)
    assert (drawn @ x / 48).var() == pytest.approx(expected, rel=0.03)


def test_two_way_variance_of_a_complete_table_is_that_of_the_mean_squares() -> None:
    rng = np.random.default_rng(1)
    prompt, seed = table(9, 5)
    x = 2 * rng.standard_normal(9)[prompt] + rng.standard_normal(5)[seed] + rng.standard_normal(45)
    y = x.reshape(9, 5)
    rows, columns = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    ms_rows, ms_columns = 5 * rows.var(ddof=1), 9 * columns.var(ddof=1)
    ms_cells = ((y - rows - columns + y.mean()) ** 2).sum() / 32
    synthesis = ms_rows + ms_columns - ms_cells
    variance, df = two_way_variance_of_mean(x, prompt, seed, 9, 5)
    assert variance == pytest.approx(synthesis / 45)
    assert df == pytest.approx(synthesis**2 / (ms_rows**2 / 8 + ms_columns**2 / 4 + ms_cells**2 / 32))


def test_a_component_that_comes_out_negative_is_zero() -> None:
    assert two_way_variance(2, 1, 1.5, df_first=9, df_second=4) == (2, 9)
    assert two_way_variance(1, 2, 1.5, df_first=9, df_second=4) == (2, 4)
    assert two_way_variance(0, 0, 0, df_first=9, df_second=4)[0] == 0


def test_interval_over_crossed_units_has_the_two_way_standard_error() -> None:
    rng = np.random.default_rng(2)
    prompt, seed = table(12, 6)
    x = 5 + rng.standard_normal(12)[prompt] + rng.standard_normal(6)[seed] + rng.standard_normal(72)
    interval = bootstrap_interval(x, cluster=prompt, crossed=seed, replicates=200)
    variance, df = two_way_variance_of_mean(x, prompt, seed, 12, 6)
    half = scipy_stats.t.ppf(0.975, df) * np.sqrt(variance)
    assert (interval.low, interval.high) == pytest.approx((x.mean() - half, x.mean() + half))
    assert (interval.clusters, interval.crossed, interval.method) == (12, 6, "t with two-way standard error")
    swapped = bootstrap_interval(x, cluster=seed, crossed=prompt, replicates=200)
    assert (swapped.low, swapped.se) == pytest.approx((interval.low, interval.se))
    draws = crossed_weights(prompt, seed, 2000, seed=0) @ x / 72
    percentile = bootstrap_interval(x, cluster=prompt, crossed=seed, method="percentile", replicates=2000)
    assert (percentile.low, percentile.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
    median = bootstrap_interval(x, cluster=prompt, crossed=seed, statistic="median", replicates=400)
    assert median.method == "t with bootstrap standard error" and median.estimate == pytest.approx(np.median(x))
    slow = bootstrap_interval(x, cluster=prompt, crossed=seed, statistic=np.median, replicates=400)
    assert (slow.low, slow.high, slow.se) == pytest.approx((median.low, median.high, median.se))


def test_interval_over_nested_units_has_the_standard_error_of_clusters() -> None:
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(8), 5)
    x = rng.standard_normal(8)[cluster] + rng.standard_normal(40)
    plain = bootstrap_interval(x, cluster=cluster, replicates=100)
    nested = bootstrap_interval(x, cluster=cluster, within=np.arange(40), replicates=100)
    assert (nested.se, nested.estimate) == pytest.approx((plain.se, plain.estimate))
    assert nested.low == pytest.approx(x.mean() - scipy_stats.t.ppf(0.975, 7) * nested.se)
    wide = bootstrap_interval(x, cluster=cluster, within=np.arange(40), replicates=4000, method="percentile")
    narrow = bootstrap_interval(x, cluster=cluster, replicates=4000, method="percentile")
    assert wide.high - wide.low > narrow.high - narrow.low
    assert bootstrap_interval(x, cluster=cluster, within=np.arange(40), replicates=400, method="bca").method == "bca"


@pytest.mark.parametrize(("prompts", "seeds", "message"), [
    (12, 4, "4 crossed unit(s): fewer than 5, no interval"),
    (4, 12, "4 cluster(s): fewer than 5, no interval"),
    (1, 1, "1 cluster(s): fewer than 5, no interval; 1 crossed unit(s): fewer than 5, no interval"),
])  # fmt: skip
@pytest.mark.parametrize("statistic", ["mean", "median"])
def test_fewer_than_five_units_of_a_kind_give_points_only(
    prompts: int, seeds: int, message: str, statistic: str
) -> None:
    prompt, seed = table(prompts, seeds)
    interval = bootstrap_interval(prompt * 1.0, cluster=prompt, crossed=seed, statistic=statistic)
    assert (interval.status, interval.message, interval.low) == ("points only", message, None)
    assert interval.estimate == pytest.approx((prompts - 1) / 2)


def test_constant_values_of_crossed_units_are_named() -> None:
    prompt, seed = table(6, 6)
    interval = bootstrap_interval(np.full(36, 0.1), cluster=prompt, crossed=seed)
    assert interval.status == "points only" and "constant" in interval.message and interval.se == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crossed": [1, 2, 3]}, "`cluster` with either `within` or `crossed`"),
        ({"cluster": [1, 2, 3], "crossed": [1, 2, 3], "within": [1, 2, 3]}, "`cluster` with either"),
        ({"cluster": [1, 2, 3], "crossed": [1, 2]}, "crossed: expected 3 labels"),
        ({"cluster": [1, 2, 3], "within": [1, 2]}, "within: expected 3 labels"),
        ({"cluster": [1, 2, 3], "crossed": [1, 2, 3], "method": "bca"}, "expected 'percentile' or 'studentized'"),
    ],
)
def test_errors_say_what_came(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval([1.0, 2.0, 3.0], **options)


@pytest.mark.nightly
@pytest.mark.parametrize(("prompts", "seeds", "of_seed"), [(16, 5, 0.5), (100, 5, 0.3), (16, 8, 0.5), (16, 5, 0.0)])
def test_error_rate_is_nominal_with_both_kinds_random_where_prompts_alone_are_far_off(
    prompts: int, seeds: int, of_seed: float
) -> None:
    prompt, seed = table(prompts, seeds)
    rng = np.random.default_rng(0)
    wrong = {"both": 0, "percentile": 0, "prompts": 0}
    for _ in range(2000):
        x = rng.standard_normal(prompts)[prompt] + of_seed * rng.standard_normal(seeds)[seed]
        x += rng.standard_normal(len(x))
        for name, options in {
            "both": {"crossed": seed},
            "percentile": {"crossed": seed, "method": "percentile", "replicates": 200},
            "prompts": {"replicates": 200},
        }.items():
            interval = bootstrap_interval(x, cluster=prompt, **options)
            assert interval.low is not None and interval.high is not None
            wrong[name] += not interval.low <= 0 <= interval.high
    rates = {name: count / 2000 for name, count in wrong.items()}
    # Three binomial standard errors (.005) around .05; conservative where seeds do not differ.
    assert 0.02 < rates["both"] < 0.066, rates
    if of_seed:
        assert rates["prompts"] > 0.085 and rates["both"] < rates["percentile"], rates
