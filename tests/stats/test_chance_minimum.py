"""The expected sum of smaller magnitudes under permutation within strata, against a loop over all pairs."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stats.chance_minimum import expected_smaller


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8).map(np.array),
    levels=st.sampled_from([0, 1, 3]),
)
@settings(max_examples=80, deadline=None)
def test_it_is_the_mean_over_all_pairs_of_a_stratum(seed: int, sizes: np.ndarray, levels: int) -> None:
    rng = np.random.default_rng(seed)
    edges, rows = int(sizes.sum()), 3
    one, two, three = np.exp(2 * rng.standard_normal((3, rows, edges))) * rng.standard_normal((3, rows, edges))
    if levels:
        one, two, three = rng.integers(-levels, levels + 1, (3, rows, edges)).astype(np.float64)
    kept = one.copy()
    found = expected_smaller(((one, two), (three, one)), sizes)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    for place, (a, b) in enumerate(((one, two), (three, one))):
        for row in range(rows):
            expected = sum(
                np.minimum.outer(np.abs(a[row, i:j]), np.abs(b[row, i:j])).sum() / (j - i)
                for i, j in itertools.pairwise(bounds)
            )
            np.testing.assert_allclose(found[place, row], expected, rtol=1e-12, atol=1e-12 * np.abs(one).sum())
    np.testing.assert_array_equal(one, kept)


def test_one_edge_of_its_own_stratum_is_never_moved() -> None:
    a, b = np.array([[3.0], [-2.0]]), np.array([[-5.0], [1.0]])
    np.testing.assert_array_equal(expected_smaller(((a, b),), np.array([1])), [[3.0, 1.0]])
