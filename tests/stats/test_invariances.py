"""What must not matter does not: the order and the names of units, the unit of measurement, where zero is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats import (
    benjamini_hochberg,
    bootstrap_interval,
    equivalence_test,
    faithfulness_curve,
    holm,
    linear_contrast,
    mean_replicates,
    permutation_test,
    resampling_weights,
    retention_index,
    stratified_permutation_null,
    transfer_ratio,
)

SEEDS = st.integers(0, 10_000)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=10)


@pytest.mark.parametrize("method", ["percentile", "bca", "studentized"])
@given(seed=SEEDS)
@settings(max_examples=15)
def test_the_interval_of_mirrored_values_is_the_mirrored_interval(method: str, seed: int) -> None:
    values = np.random.default_rng(seed).exponential(size=9)
    one = bootstrap_interval(values, method=method, replicates=200)
    two = bootstrap_interval(-values, method=method, replicates=200)
    assert one.low is not None and one.high is not None
    assert (two.low, two.high, two.se) == pytest.approx((-one.high, -one.low, one.se))


@given(seed=SEEDS, scale=st.floats(0.01, 100), shift=st.floats(-100, 100))
def test_a_contrast_follows_scale_and_shift_and_ignores_the_order_of_prompts(
    seed: int, scale: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.exponential(size=(2, 8)), resampling_weights(8, 10, seed=0)
    order = rng.permutation(8)
    one = linear_contrast([mean_replicates(x, weights) for x in values], [1, -1], ["a", "a"])
    moved = [mean_replicates((x * scale + shift)[order], weights[:, order]) for x in values]
    two = linear_contrast(moved, [1, -1], ["b", "b"])
    assert two.estimate == pytest.approx(one.estimate * scale, rel=1e-6, abs=1e-9)
    assert two.se == pytest.approx(one.se * scale, rel=1e-6)
    assert two.df == pytest.approx(one.df) and two.units == one.units
    assert two.skewness == pytest.approx(one.skewness, rel=1e-6, abs=1e-6)


@given(seed=SEEDS, scale=st.floats(0.01, 100))
def test_tests_on_data_ignore_the_unit_the_order_of_rows_and_the_names_of_clusters(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(7), rng.integers(1, 4, 7))
    values = rng.standard_normal(len(cluster)) + 0.3
    order = rng.permutation(len(values))
    names = np.array([f"prompt {c}" for c in cluster])[order]
    one = equivalence_test(values, margin=0.8, cluster=cluster)
    two = equivalence_test(scale * values[order], margin=scale * 0.8, cluster=names)
    assert two.p == pytest.approx(one.p, rel=1e-6) and two.df == one.df
    flipped = permutation_test(values, cluster=cluster, permutations=199)
    assert permutation_test(scale * values[order], cluster=names, permutations=199).p == flipped.p
    assert permutation_test(-values, cluster=cluster, permutations=199).p == flipped.p


def test_one_value_again_and_again_is_decided_by_the_sign_test() -> None:
    assert equivalence_test(np.repeat(0.3, 8), margin=1).p == 0.5**8
    assert equivalence_test(np.repeat([0.3, 0.5], 8), margin=1, cluster=np.repeat([0, 1], 8)).status == "points only"
    assert permutation_test(np.zeros(8), permutations=50).p == 1


@pytest.mark.parametrize("correction", [holm, benjamini_hochberg])
@given(p=P_VALUES, data=st.data())
def test_corrections_follow_the_order_of_hypotheses_and_never_make_p_smaller(
    correction: object, p: list[float], data: st.DataObject
) -> None:
    assert callable(correction)
    adjusted = correction(p)
    order = data.draw(st.permutations(range(len(p))))
    assert correction([p[i] for i in order]) == pytest.approx([adjusted[i] for i in order])
    assert all(value >= raw - 1e-15 and value <= 1 for value, raw in zip(adjusted, p, strict=True))
    ranked = [adjusted[i] for i in np.argsort(p, kind="stable")]
    assert ranked == sorted(ranked)
    assert correction([p[0]] * 4) == pytest.approx([min(1, 4 * p[0]) if correction is holm else p[0]] * 4)


@given(p=P_VALUES)
def test_holm_is_never_less_strict_than_benjamini_hochberg(p: list[float]) -> None:
    pairs = zip(holm(p), benjamini_hochberg(p), strict=True)
    assert all(one is not None and two is not None and one >= two - 1e-12 for one, two in pairs)


@given(seed=SEEDS, scale=st.sampled_from([-2.0, 0.5, 8.0]))
@settings(max_examples=20)
def test_the_null_within_strata_ignores_the_order_of_edges_and_the_unit(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 30))
    strata, order = rng.integers(0, 3, 30), rng.permutation(30)
    one = stratified_permutation_null(a, b, strata, [4, 9], permutations=40)
    assert stratified_permutation_null(scale * a[order], b[order], 10 + strata[order], [4, 9], permutations=40) == one


def test_one_prompt_again_and_again_is_retained_exactly_and_has_no_interval() -> None:
    before, after = np.random.default_rng(0).standard_normal((2, 50))
    rows = np.ones((12, 1))
    same = retention_index(rows * before, rows * before, top_k=[5], splits=4, replicates=40)
    assert same.estimate == pytest.approx(1) and (same.se is None or same.se < 1e-9)
    other = retention_index(rows * before, rows * after, top_k=[5], splits=4, replicates=40)
    assert other.estimate is not None and other.estimate < 1 and (other.se is None or other.se < 1e-9)


@given(seed=SEEDS)
@settings(max_examples=20)
def test_faithfulness_ignores_the_names_of_clusters_and_follows_the_circuits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    empty, cluster = rng.standard_normal(18), np.repeat(np.arange(6), 3)
    full = empty + 2 + 0.3 * rng.standard_normal(18)
    circuits = empty + np.array([[0.2], [0.7]]) * (full - empty) + 0.1 * rng.standard_normal((2, 18))
    curve = faithfulness_curve(circuits, full=full, empty=empty, fractions=[0.1, 0.5], cluster=cluster)
    renamed = np.array(list("fbdace"))[cluster]
    again = faithfulness_curve(circuits, full=full, empty=empty, fractions=[0.1, 0.5], cluster=renamed)
    for one, two in zip([*curve.faithfulness, curve.cpr], [*again.faithfulness, again.cpr], strict=True):
        assert (two.estimate, two.low, two.high) == pytest.approx((one.estimate, one.low, one.high))
    own = transfer_ratio(circuits[1], circuits[1], full=full, empty=empty, cluster=cluster)
    assert own.ratio.estimate == pytest.approx(1)
    there = transfer_ratio(circuits[1], circuits[0], full=full, empty=empty, cluster=cluster).ratio.estimate
    back = transfer_ratio(circuits[0], circuits[1], full=full, empty=empty, cluster=cluster).ratio.estimate
    assert there is not None and (back is None or back == pytest.approx(1 / there))
