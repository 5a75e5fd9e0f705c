"""The top edges of many replicates at once, against ranking each replicate by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from streamed import Streamed

from stats import edge_thresholds, jaccard, overlap_replicates, resampling_weights, retention_index, top_k
from stats import top_edges as module
from stats.edge_thresholds import EdgeSample, edge_sample
from stats.score_blocks import InMemory, ScoreBlocks, edges_with_scores
from stats.split_half import half_overlaps
from stats.top_edges import checked_sizes, top_edges

Matrix = NDArray[np.float64]


@pytest.fixture
def small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles and samples so small that thresholds are guessed for few edges, and sometimes badly."""
    monkeypatch.setattr(edge_thresholds, "SAMPLED", 40)
    monkeypatch.setattr(edge_thresholds, "STRONGEST", 3)
    monkeypatch.setattr(edge_thresholds, "ROWS", 5)
    monkeypatch.setattr(module, "ROWS", 4)
    monkeypatch.setattr(module, "COLUMNS", 64)


def by_loop(before: Matrix, after: Matrix, weights: Matrix, sizes: list[int]) -> Matrix:
    """Each replicate by itself, as sums of float64."""
    return np.array(
        [[jaccard(top_k(row @ before, k), top_k(row @ after, k)).item() for k in sizes] for row in weights * 1.0]
    )


def heavy(seed: int, n: int, edges: int) -> tuple[Matrix, Matrix]:
    """Scores of two related models whose edges differ in size by orders of magnitude."""
    rng = np.random.default_rng(seed)
    mu = np.exp(rng.standard_normal(edges)) * rng.standard_normal(edges)
    before, after = (mu + np.exp(rng.standard_normal(edges)) * rng.standard_normal((n, edges)) for _ in range(2))
    return before, after


@pytest.mark.usefixtures("small_sample")
@given(seed=st.integers(0, 10_000), levels=st.sampled_from([0, 1, 3, 50]), dtype=st.sampled_from(["f4", "f8"]))
@settings(max_examples=30, deadline=None)
def test_replicates_equal_the_loop_also_with_ties(seed: int, levels: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    n, edges = int(rng.integers(2, 12)), int(rng.integers(1, 400))
    if levels:
        # Whole numbers: weighted sums are exact in either type, and many edges are equal.
        before, after = rng.integers(-levels, levels + 1, (2, n, edges)).astype(dtype)
    else:
        before, after = (x.astype(dtype) for x in rng.standard_normal((2, n, edges)))
    sizes = sorted({int(k) for k in rng.integers(1, edges + 1, 3)}, reverse=bool(seed % 2))
    weights = resampling_weights(n, 9, seed=seed)
    found = overlap_replicates(before, after, weights, top_k=sizes)
    if levels or dtype == "f8":
        np.testing.assert_array_equal(found, by_loop(before, after, weights, sizes))
    else:
        # Means of float32 differ in the last digit from sums of float64: an edge at the threshold may change places.
        np.testing.assert_allclose(found, by_loop(before, after, weights, sizes), atol=2 / max(sizes) + 0.05)


@pytest.mark.long
@pytest.mark.usefixtures("small_sample")
@pytest.mark.parametrize("most", [7, 100, 10_000])
@pytest.mark.parametrize("block_bytes", [1_200, 20_000, 2**26])
def test_neither_blocks_of_edges_nor_of_rows_change_a_result(most: int, block_bytes: int) -> None:
    before, after = heavy(0, 15, 700)
    weights = resampling_weights(15, 30, seed=1)
    whole = overlap_replicates(before, after, weights, top_k=[5, 60])
    blocks = Streamed(before, most), Streamed(after, most)
    np.testing.assert_array_equal(overlap_replicates(*blocks, weights, top_k=[5, 60], block_bytes=block_bytes), whole)
    assert blocks[0].largest == max(1, block_bytes // (15 * 8))
    strata, half = np.arange(700) % 5, np.random.default_rng(0).random((30, 15)) < 0.5
    options = {"top_k": [60, 5], "strata": strata}
    expected = half_overlaps(before, after, half, ~half, **options)
    found = half_overlaps(*blocks, half, ~half, **options, block_bytes=block_bytes)
    for name in ("between", "ceiling_before", "ceiling_after", "null"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.long
@pytest.mark.usefixtures("small_sample")
@pytest.mark.parametrize("block_bytes", [2_000, 100_000])
def test_retention_is_the_same_in_blocks(block_bytes: int) -> None:
    before, after = (x.astype(np.float32) for x in heavy(1, 20, 500))
    options = {"top_k": [10, 40], "splits": 6, "replicates": 40, "strata": np.arange(500) % 3}
    whole = retention_index(before, after, **options)
    blocks = retention_index(Streamed(before, 90), Streamed(after, 90), **options, block_bytes=block_bytes)
    assert (blocks.estimate, blocks.se, blocks.low) == (whole.estimate, whole.se, whole.low)
    assert blocks.by_k == whole.by_k
    np.testing.assert_array_equal(blocks.replicates, whole.replicates)
    after[3, 7] = np.inf
    with pytest.raises(ValueError, match="after: expected finite numbers, got 1 NaN or infinite of 10000"):
        retention_index(Streamed(before, 90), Streamed(after, 90), **options)


def test_rows_that_a_guess_does_not_fit_are_done_without_it(
    small_sample: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = heavy(2, 10, 600)
    before[:, :590] = 0  # every guess is zero, which all 600 edges reach
    weights, sizes = resampling_weights(10, 12, seed=0), checked_sizes([3, 30], 600)
    expected = top_edges(InMemory(before), weights, sizes)
    sample = edge_sample(InMemory(before), sizes)
    assert sample is not None
    for floor in (0.0, 1e-3, 1e9):
        monkeypatch.setattr(EdgeSample, "thresholds", lambda *_, floor=floor: np.full(12, floor))
        found = top_edges(InMemory(before), weights, sizes, sample=sample)
        np.testing.assert_array_equal(found.edge, expected.edge)
        np.testing.assert_array_equal(found.level, expected.level)


def test_a_threshold_is_guessed_so_that_few_rows_are_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_thresholds, "SAMPLED", 500)
    left = []
    fill = module._fill_from_candidates
    monkeypatch.setattr(module, "_fill_from_candidates", lambda *args: left.append(fill(*args)) or left[-1])
    for scores in (heavy(3, 30, 4000)[0], np.random.default_rng(0).standard_normal((30, 4000))):
        blocks, sizes = InMemory(scores), checked_sizes([20, 400], 4000)
        weights = resampling_weights(30, 600, seed=0)
        found = top_edges(blocks, weights, sizes, sample=edge_sample(blocks, sizes))
        for row in (0, 599):
            np.testing.assert_array_equal(found.edge[row], np.flatnonzero(top_k(weights[row] @ scores, 400)))
            small = found.edge[row][found.level[row] == 0]
            np.testing.assert_array_equal(small, np.flatnonzero(top_k(weights[row] @ scores, 20)))
    assert [len(rows) for rows in left] == [0, 0]


def test_scores_near_the_largest_number_do_not_overflow() -> None:
    before, after = (x.astype(np.float32) for x in heavy(4, 8, 50))
    large = [x * np.float32(2.0**120) for x in (before, after)]
    weights = 1000 * resampling_weights(8, 10, seed=0)
    np.testing.assert_array_equal(
        overlap_replicates(*large, weights, top_k=[10]), overlap_replicates(before, after, weights, top_k=[10])
    )


def test_edges_with_a_score_are_counted() -> None:
    scores = np.zeros((4, 30))
    scores[1, [3, 7]] = 1, -1
    blocks: ScoreBlocks = Streamed(scores, 5)
    assert edges_with_scores(blocks, "before") == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"after": np.ones((5, 3))}, "same prompts and edges before and after"),
        ({"after": np.full((5, 8), np.nan)}, "after: expected finite numbers"),
        ({"top_k": [9]}, "top_k: expected between 1 and 8"),
        ({"top_k": []}, "top_k: expected 1 to 255 sizes, got 0"),
        ({"weights": np.ones((2, 4))}, "weights: expected a column for each of 5 prompts, got shape \\(2, 4\\)"),
        ({"weights": np.zeros((2, 5))}, "weights: expected numbers >= 0, not all zero in a replicate"),
        ({"weights": -np.ones((2, 5))}, "weights: expected numbers >= 0"),
    ],
)
def test_errors_say_what_came(change: dict[str, object], message: str) -> None:
    arguments = {"before": np.ones((5, 8)), "after": np.ones((5, 8)), "weights": np.ones((2, 5)), "top_k": [2]}
    with pytest.raises(ValueError, match=message):
        overlap_replicates(**(arguments | change))
