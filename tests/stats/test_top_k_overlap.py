from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from stats import jaccard, rank_overlap, stratified_permutation_null, top_k, weighted_jaccard
from stats.overlap import expected_jaccard_within_strata, memberships

# Few distinct values, so that ties are common.
SCORES = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=12), elements=st.integers(-3, 3))


def top_k_by_sorting(scores: NDArray[np.float64], k: int) -> set[int]:
    return {
        edge for edge in sorted(range(len(scores)), key=lambda edge: (-abs(scores[edge]), edge))[:k] if scores[edge]
    }


@given(scores=SCORES, data=st.data())
def test_top_k_equals_sorting_by_magnitude_then_position(scores: NDArray[np.float64], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, scores.shape[-1]))
    member = top_k(scores, k)
    assert member.shape == scores.shape
    for row, found in zip(scores.reshape(-1, scores.shape[-1]), member.reshape(-1, scores.shape[-1]), strict=True):
        assert set(np.flatnonzero(found)) == top_k_by_sorting(row, k)


def test_several_sizes_at_once_equal_one_at_a_time_in_the_order_asked() -> None:
    scores = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    sizes = [10, 40, 1, 10]
    for member, k in zip(memberships(np.abs(scores), sizes), sizes, strict=True):
        np.testing.assert_array_equal(member, top_k(scores, k))


@given(seed=st.integers(0, 1000), scale=st.sampled_from([-8.0, 0.25, 2.0]), k=st.integers(1, 30))
def test_scaling_and_relabelling_edges_leave_overlaps_unchanged(seed: int, scale: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 30))
    order = rng.permutation(30)
    overlap = jaccard(top_k(a, k), top_k(b, k))
    assert 0 <= overlap <= 1
    assert overlap == jaccard(top_k(b, k), top_k(a, k))
    assert overlap == jaccard(top_k(a[order] * scale, k), top_k(b[order], k))
    assert jaccard(top_k(a, k), top_k(a, k)) == 1
    assert weighted_jaccard(a, b) == pytest.approx(float(weighted_jaccard(b[order] * scale, a[order] * scale)))


def test_jaccard_counts_members() -> None:
    a, b = np.array([1, 1, 0, 0], bool), np.array([[1, 0, 1, 0], [0, 0, 1, 1]], bool)
    np.testing.assert_allclose(jaccard(a, b), [1 / 3, 0])


def test_weighted_jaccard_is_the_sum_of_minima_over_the_sum_of_maxima() -> None:
    assert weighted_jaccard([1, -2, 0], [-3, 1, 1]) == pytest.approx((1 + 1 + 0) / (3 + 2 + 1))


def test_rank_overlap_is_spearman_and_cosine_and_none_without_spread() -> None:
    a, b = np.random.default_rng(0).standard_normal((2, 50))
    found = rank_overlap(a, b)
    ranks = np.corrcoef(scipy_stats.rankdata(a), scipy_stats.rankdata(b))[0, 1]
    assert found.spearman == pytest.approx(ranks)
    assert found.cosine == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert rank_overlap(np.ones(5), np.arange(5.0)).spearman is None
    assert rank_overlap(np.zeros(5), np.arange(5.0)).cosine is None


def permuted_overlaps(
    a: NDArray[np.bool_], b: NDArray[np.bool_], strata: NDArray[np.int64], permutations: int
) -> NDArray[np.float64]:
    """The null, literally: move the second set's members among the edges of each stratum."""
    rng = np.random.default_rng(99)
    overlaps = []
    for _ in range(permutations):
        moved = b.copy()
        for stratum in np.unique(strata):
            edges = np.flatnonzero(strata == stratum)
            moved[edges] = b[rng.permutation(edges)]
        overlaps.append(float(jaccard(a, moved)))
    return np.array(overlaps)


def uneven_scores(seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    strata = np.repeat(np.arange(6), [5, 10, 20, 40, 60, 65])[rng.permutation(200)]
    strength = np.array([4, 1, 3, 1, 0.5, 1])[strata]
    return strength * rng.standard_normal(200), strength * rng.standard_normal(200), strata


@pytest.mark.parametrize("k", [10, 40])
def test_null_within_strata_equals_permuting_edges(k: int) -> None:
    a, b, strata = uneven_scores()
    (null,) = stratified_permutation_null(a, b, strata, [k], permutations=20_000)
    slow = permuted_overlaps(top_k(a, k), top_k(b, k), strata, 2000)
    assert null.observed == jaccard(top_k(a, k), top_k(b, k))
    assert null.mean == pytest.approx(slow.mean(), abs=4 * slow.std() / np.sqrt(2000))
    step = 1 / k  # the index takes few values, so quantiles may differ by one of them
    assert null.low == pytest.approx(np.quantile(slow, 0.025), abs=step)
    assert null.high == pytest.approx(np.quantile(slow, 0.975), abs=step)
    assert null.p == pytest.approx((slow >= null.observed).mean(), abs=0.05)
    expected = expected_jaccard_within_strata(top_k(a, k), top_k(b, k), strata)
    assert expected == pytest.approx(null.mean, rel=0.05)


def test_strata_raise_the_null_where_both_models_use_the_same_kinds_of_edges() -> None:
    a, b, strata = uneven_scores()
    one = np.zeros_like(strata)
    assert (
        stratified_permutation_null(a, b, strata, [20])[0].mean > stratified_permutation_null(a, b, one, [20])[0].mean
    )


def test_expected_overlap_counts_members_by_stratum() -> None:
    a = np.array([1, 1, 0, 0, 1, 0], bool)
    b = np.array([0, 1, 1, 0, 0, 1], bool)
    shared = 2 * 2 / 4 + 1 * 1 / 2
    assert expected_jaccard_within_strata(a, b, [0, 0, 0, 0, 7, 7]) == pytest.approx(shared / (6 - shared))
    both = expected_jaccard_within_strata(np.stack([a, b]), b, [0, 0, 0, 0, 7, 7])
    assert both.shape == (2,) and both[0] == pytest.approx(shared / (6 - shared))


def test_identical_circuits_get_the_smallest_p() -> None:
    a, _, strata = uneven_scores()
    (null,) = stratified_permutation_null(a, a, strata, [40], permutations=199)
    assert null.observed == 1 and null.p == 1 / 200


@settings(max_examples=10)
@given(seed=st.integers(0, 100))
def test_null_depends_on_the_seed_and_on_no_other_k(seed: int) -> None:
    a, b, strata = uneven_scores(seed)
    alone = stratified_permutation_null(a, b, strata, [20], permutations=50, seed=seed)
    among = stratified_permutation_null(a, b, strata, [5, 20], permutations=50, seed=seed)
    assert alone[0] == among[1]


def test_errors_name_what_came() -> None:
    with pytest.raises(ValueError, match=r"between 1 and 3 .the number of edges., got 4"):
        top_k([1, 2, 3], 4)
    with pytest.raises(ValueError, match="finite numbers, got 1 NaN"):
        top_k([1, float("nan")], 1)
    with pytest.raises(ValueError, match="two empty sets"):
        jaccard([False], [False])
    with pytest.raises(ValueError, match="only zeros"):
        weighted_jaccard([0.0], [0.0])
    with pytest.raises(ValueError, match=r"same edges on both sides, got shapes .3,. and .2,."):
        stratified_permutation_null([1, 2, 3], [1, 2], [0, 0, 0], [1])
    with pytest.raises(ValueError, match="strata: expected one for each of 3 edges"):
        stratified_permutation_null([1, 2, 3], [1, 2, 3], [0, 0], [1])
