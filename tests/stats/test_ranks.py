"""Ranks by digits, against ranks by comparison."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from stats import ranks as module
from stats.ranks import average_ranks

Matrix = NDArray[np.float64]


@pytest.fixture
def by_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short vectors go the way of long ones."""
    monkeypatch.setattr(module, "FEW", 0)


def expected(values: Matrix) -> Matrix:
    """Each row by itself, from what is smaller and what is the same: a loop over pairs."""
    smaller = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    same = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return np.asarray(smaller + (same + 1) / 2)


@pytest.mark.usefixtures("by_digits")
@given(
    rows=st.lists(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=40), min_size=1, max_size=1).map(
        np.array
    )
)
@settings(max_examples=300, deadline=None)
def test_any_numbers_have_the_ranks_of_the_loop(rows: Matrix) -> None:
    np.testing.assert_array_equal(average_ranks(rows), expected(rows))


@pytest.mark.long
@pytest.mark.usefixtures("by_digits")
@given(
    seed=st.integers(0, 10_000),
    edges=st.integers(1, 300),
    levels=st.sampled_from([0, 1, 4, 100]),
    scale=st.sampled_from([1.0, 1e-310, 1e-30, 1e300]),
    offset=st.sampled_from([0.0, 1.0, -1.0]),
)
@settings(max_examples=200, deadline=None)
def test_ties_signs_and_scales(seed: int, edges: int, levels: int, scale: float, offset: float) -> None:
    rng = np.random.default_rng(seed)
    if levels:
        values = rng.integers(-levels, levels + 1, (3, edges)).astype(np.float64)
    else:
        values = np.exp(3 * rng.standard_normal((3, edges))) * rng.standard_normal((3, edges))
    # Differences far below those of float32, beside an offset.
    values = (offset + values * (1e-12 if offset else 1.0)) * scale
    values[:, rng.random(edges) < 0.2] = 0.0
    values[:, rng.random(edges) < 0.1] = -0.0
    np.testing.assert_array_equal(average_ranks(values), expected(values))


@pytest.mark.usefixtures("by_digits")
@pytest.mark.parametrize("most", [0, 3, 500])
def test_groups_that_float32_can_not_tell_apart_are_put_in_order(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_GROUPS", most)
    rng = np.random.default_rng(0)
    values = (rng.integers(1, 30, 400) + 1e-11 * rng.integers(-9, 10, 400))[None] * np.array([[1.0], [-1.0]])
    assert len(np.unique(values[0])) > len(np.unique(values[0].astype(np.float32)))
    np.testing.assert_array_equal(average_ranks(values), expected(values))


def test_long_vectors_have_the_ranks_of_scipy() -> None:
    rng = np.random.default_rng(1)
    values = np.exp(3 * rng.standard_normal((4, 30_000))) * rng.standard_normal((4, 30_000))
    values[1, ::3] = 0
    values[2] = np.sort(values[2])[::-1]
    values[3] = 7.0
    np.testing.assert_array_equal(average_ranks(values), scipy_stats.rankdata(values, axis=1))


@pytest.mark.usefixtures("by_digits")
@given(seed=st.integers(0, 10_000), part=st.sampled_from([1, 7, 50]), levels=st.sampled_from([0, 2, 40]))
@settings(max_examples=60, deadline=None)
def test_parts_change_no_rank(seed: int, part: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.exp(3 * rng.standard_normal((2, 301))) * rng.standard_normal((2, 301))
    if levels:
        values = rng.integers(-levels, levels + 1, (2, 301)).astype(np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART", part)
        np.testing.assert_array_equal(average_ranks(values), expected(values))


@pytest.mark.usefixtures("by_digits")
def test_a_row_with_nan_has_no_ranks_and_infinities_do() -> None:
    values = np.array([[3.0, np.nan, 1.0], [np.inf, 2.0, -np.inf], [1e300, np.inf, -1e300]])
    np.testing.assert_array_equal(average_ranks(values), [[np.nan] * 3, [3, 2, 1], [2, 3, 1]])


@pytest.mark.usefixtures("by_digits")
def test_one_value_is_the_first() -> None:
    np.testing.assert_array_equal(average_ranks(np.array([[5.0], [-2.0]])), [[1], [1]])
