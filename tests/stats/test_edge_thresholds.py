"""Bounds and thresholds of weighted sums, against the sums themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stats import edge_thresholds, resampling_weights, top_k
from stats import top_edges as module
from stats.edge_bounds import EdgeBounds
from stats.edge_thresholds import edge_sample
from stats.score_blocks import InMemory
from stats.top_edges import checked_sizes, top_edges

Matrix = NDArray[np.float64]


def uneven(rng: np.random.Generator, n: int, edges: int) -> Matrix:
    """Scores of edges that differ in size by orders of magnitude."""
    size = np.exp(3 * rng.standard_normal(edges))
    return np.asarray(size * (0.3 * rng.standard_normal(edges) + rng.standard_normal((n, edges))))


@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from(["f4", "f8"]),
    scale=st.sampled_from([1.0, 1e-25, 1e25]),
    share=st.sampled_from([0.5, 0.99, 1.0]),
)
@settings(max_examples=150, deadline=None)
def test_what_is_left_out_reaches_no_floor(seed: int, dtype: str, scale: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    n, edges = int(rng.integers(2, 20)), int(rng.integers(1, 200))
    scores = (scale * uneven(rng, n, edges)).astype(dtype)
    scores[:, rng.random(edges) < 0.2] = 0
    scores[:, rng.random(edges) < 0.2] = scores[0, 0]  # the same on every prompt: the bound is what they come to
    weights = resampling_weights(n, 7, seed=seed) * rng.choice([1.0, 0.25])
    magnitudes = np.abs(weights @ scores.astype(np.float64)).astype(dtype)
    floors = np.quantile(magnitudes, share, axis=1, method="higher").astype(np.float64)
    able = EdgeBounds.of(InMemory(scores)).may_reach(weights, floors)
    reached = (magnitudes >= floors[:, None]).any(axis=0)
    assert able[reached].all()


def test_a_floor_of_zero_and_numbers_that_can_not_be_held_exclude_nothing() -> None:
    weights = np.ones((2, 3))
    scores = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    assert EdgeBounds.of(InMemory(scores)).may_reach(weights, np.array([5.0, 0.0])).all()
    large, small = EdgeBounds.of(InMemory(1e300 * scores)), EdgeBounds.of(InMemory(1e-300 * scores))
    assert large.may_reach(weights, np.array([1e300, 1e300]))[0]
    assert small.may_reach(weights, np.array([1e-300, 1e-300]))[0]


def test_uneven_edges_are_mostly_left_out_and_even_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    weights = resampling_weights(40, 30, seed=0).astype(np.float64)
    for scores, least, most in ((uneven(rng, 40, 20_000), 0.005, 0.2), (rng.standard_normal((40, 20_000)), 0.9, 1.0)):
        sample = edge_sample(InMemory(scores), checked_sizes([100], 20_000))
        assert sample is not None
        floors = sample.thresholds(weights)
        reached = (np.abs(weights @ scores) >= floors[:, None]).sum(axis=1)
        assert reached.min() >= 100 and reached.max() < 500
        assert least < sample.bounds.may_reach(weights, floors).mean() <= most


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([0, 2]), dtype=st.sampled_from(["f4", "f8", "f2"]))
@settings(max_examples=40, deadline=None)
def test_top_edges_of_uneven_scores_equal_ranking_each_row(seed: int, levels: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    n, edges = int(rng.integers(2, 12)), int(rng.integers(300, 900))
    scores = uneven(rng, n, edges)
    if levels:
        scores = np.round(scores)
    scores = np.clip(scores, -6e4, 6e4).astype(dtype).astype("f4" if dtype == "f2" else dtype)
    weights = resampling_weights(n, 9, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_thresholds, "SAMPLED", 40)
        patch.setattr(edge_thresholds, "STRONGEST", 4)
        patch.setattr(module, "COLUMNS", 100)
        sizes = checked_sizes([3, 30], edges)
        sample = edge_sample(InMemory(scores), sizes)
        assert sample is not None
        found = top_edges(InMemory(scores), weights, sizes, sample=sample)
    sums = (weights @ scores.astype(np.float64)).astype(scores.dtype)
    for row in range(len(weights)):
        member = np.flatnonzero(top_k(sums[row], 30))
        kept = found.edge[row][found.level[row] < 2]
        np.testing.assert_array_equal(kept, member)
        np.testing.assert_array_equal(found.edge[row][found.level[row] == 0], np.flatnonzero(top_k(sums[row], 3)))


def test_a_threshold_of_the_strongest_edges_is_reached_by_as_many_as_are_wanted() -> None:
    scores = uneven(np.random.default_rng(2), 20, 8000).astype(np.float32)
    weights = resampling_weights(20, 600, seed=1).astype(np.float64)
    sample = edge_sample(InMemory(scores), checked_sizes([5, 50], 8000))
    assert sample is not None
    magnitudes = np.abs(weights @ scores.astype(np.float64)).astype(np.float32)
    reached = (magnitudes >= sample.thresholds(weights)[:, None]).sum(axis=1)
    # A random sample alone would spare four standard errors: 260 edges.
    assert reached.min() >= 50 and reached.mean() < 80


def test_of_a_large_part_of_the_edges_the_sample_alone_gives_the_threshold() -> None:
    scores = uneven(np.random.default_rng(3), 8, 8000).astype(np.float32)
    weights = resampling_weights(8, 20, seed=1).astype(np.float64)
    sizes = checked_sizes([20, 2500], 8000)
    sample = edge_sample(InMemory(scores), sizes)
    assert sample is not None and sample.strongest.shape == (8, 0)
    found, expected = (top_edges(InMemory(scores), weights, sizes, sample=one) for one in (sample, None))
    np.testing.assert_array_equal(found.edge, expected.edge)
    np.testing.assert_array_equal(found.level, expected.level)
