"""Edges of score 0 are in no set of the strongest: they would be shared by their position only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stats import jaccard, overlap_replicates, top_k
from stats.overlap import expected_jaccard_within_strata, memberships, stratified_permutation_null
from stats.plain_overlap import between_overlap
from stats.retention import retention_index
from stats.score_blocks import InMemory
from stats.split_half import half_overlaps, split_half_overlap
from stats.top_edges import checked_sizes, top_edges

EDGES = 300
FEW = "only 10 edges have a score other than zero"
Matrix = NDArray[np.float64]


def pruned(*, shared: int = 0, prompts: int = 24) -> tuple[Matrix, Matrix]:
    """Two models with 10 live edges each, of which so many are the same ones."""
    rng = np.random.default_rng(0)
    before, after = np.zeros((prompts, EDGES)), np.zeros((prompts, EDGES))
    before[:, 100:110] = rng.normal(1, 0.2, (prompts, 10))
    after[:, 110 - shared : 120 - shared] = rng.normal(1, 0.2, (prompts, 10))
    return before, after


@pytest.mark.parametrize(("shared", "overlap"), [(0, 0.0), (4, 4 / 16), (10, 1.0)])
def test_the_overlap_beyond_the_live_edges_is_that_of_these_and_undefined(shared: int, overlap: float) -> None:
    before, after = pruned(shared=shared)
    found = between_overlap(before, after, top_k=[100], replicates=50)
    assert found.estimate == pytest.approx(overlap)
    assert (found.status, found.low, found.se, found.replicates) == ("undefined", None, None, None)
    assert found.message == f"K = 100: {FEW} in a half of the prompts"
    [null] = stratified_permutation_null(before.mean(0), after.mean(0), np.zeros(EDGES, int), [100])
    assert null.observed == pytest.approx(overlap) and null.message == f"K = 100: {FEW}" and null.members == 10
    assert (null.p == 1.0) == (shared == 0) and null.mean < 0.05
    retained = retention_index(before, after, top_k=[100], replicates=50)
    assert retained.estimate is None and retained.message == found.message
    assert retained.by_k[0].between == pytest.approx(overlap) and retained.by_k[0].ceiling == 1


def test_sizes_within_the_live_edges_are_what_they_were() -> None:
    before, after = pruned(shared=4)
    found = between_overlap(before, after, top_k=[5, 100], replicates=50)
    assert found.lacking[0] == "" and found.by_k[0][1] is not None and found.status == "undefined"
    alone = between_overlap(before, after, top_k=[5], replicates=50)
    assert alone.status == "ok" and alone.by_k[0] == found.by_k[0]


def test_live_edges_are_counted_in_each_half() -> None:
    """Edges that single prompts have are many over all prompts, and K of them in no half; nothing is shared."""
    before, after = np.zeros((20, EDGES)), np.zeros((20, EDGES))
    for prompt in range(20):
        before[prompt, 3 * prompt : 3 * prompt + 3] = 1.0
        after[prompt, 150 + 3 * prompt : 153 + 3 * prompt] = 1.0
    found = retention_index(before, after, top_k=[30, 40], replicates=50)
    assert [row.between for row in found.by_k] == [0, 0]
    assert found.by_k[1].message == "K = 40: only 30 edges have a score other than zero in a half of the prompts"
    assert found.status == "undefined"
    assert between_overlap(before, after, top_k=[40], replicates=50).status == "undefined"
    [whole] = stratified_permutation_null(before.mean(0), after.mean(0), np.zeros(EDGES, int), [40])
    assert whole.message == "" and whole.observed == 0
    assert split_half_overlap(before, after, top_k=[30, 40]).members.min(axis=0).tolist() == [30, 30]


def test_models_without_any_score_share_nothing() -> None:
    nothing = np.zeros((12, EDGES))
    found = between_overlap(nothing, nothing, top_k=[5], replicates=50)
    assert (found.estimate, found.status) == (0, "undefined") and "only 0 edges" in found.message
    [null] = stratified_permutation_null(nothing[0], nothing[0], np.zeros(EDGES, int), [5], permutations=50)
    assert (null.observed, null.mean, null.p, null.members) == (0, 0, 1, 0)
    assert not top_k(nothing[0], 5).any()
    assert expected_jaccard_within_strata(nothing[0] > 0, nothing[0] > 0, np.zeros(EDGES, int)) == 0
    assert retention_index(nothing, nothing, top_k=[5], replicates=50).estimate is None


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), live=st.integers(0, 12), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_sets_of_many_means_are_those_of_one_at_a_time(seed: int, live: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    scores = np.zeros((6, 40))
    scores[:, rng.choice(40, live, replace=False)] = rng.integers(-2, 3, (6, live))
    weights = rng.integers(0, 2, (9, 6)).astype(np.float64)
    weights[weights.sum(axis=1) == 0, 0] = 1
    ascending = checked_sizes(sizes, 40)
    found = top_edges(InMemory(scores), weights, ascending)
    for row, (edge, level, members) in enumerate(zip(found.edge, found.level, found.members, strict=True)):
        means = np.abs(weights[row] @ scores)
        for place, k in enumerate(ascending.tolist()):
            own = set(edge[level <= place].tolist())
            assert own == set(np.flatnonzero(memberships(means[None], [k])[0, 0]).tolist())
            assert len(own) == members[place] == min(k, np.count_nonzero(means))
    counts = found.counts(np.arange(40) % 3, 3)
    np.testing.assert_array_equal(counts.sum(axis=2), found.members)


def test_chance_and_ceiling_are_of_the_edges_that_there_are() -> None:
    before, after = pruned(shared=4)
    first = np.arange(24)[None] < 12
    found = half_overlaps(before, after, first, ~first, top_k=[40])
    assert found.ceiling_before.item() == found.ceiling_after.item() == 1 and found.between.item() == 4 / 16
    expected = 10 * 10 / EDGES
    assert found.null.item() == pytest.approx(expected / (20 - expected))
    assert overlap_replicates(before, after, np.ones((1, 24)), top_k=[40]).item() == 4 / 16
    assert jaccard(top_k(before.mean(0), 40), top_k(after.mean(0), 40)) == 4 / 16
