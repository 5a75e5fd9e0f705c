from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stats import centroid, depth_slope, early_share, layer_shares, scaled_depth
from stats.depth import early_layers


def test_shares_sum_magnitudes_of_edges_by_the_layer_of_their_source() -> None:
    scores = np.array([[5.0, -1, 1, 2, 0], [9.0, 0, 0, 0, -3]])
    shares = layer_shares(scores, [-1, 0, 0, 1, 3], 4)
    np.testing.assert_allclose(shares, [[0.5, 0.5, 0, 0], [0, 0, 0, 1]])


@given(seed=st.integers(0, 1000), scale=st.sampled_from([-3.0, 1e-6, 1e6]))
def test_shares_sum_to_one_and_ignore_scale_edge_order_and_the_input(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    scores, layer = rng.standard_normal((3, 20)), rng.integers(-1, 4, 20)
    layer[0] = 2
    shares = layer_shares(scores, layer, 4)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    order = rng.permutation(20)
    changed = np.where(layer == -1, 100.0, scores * scale)[:, order].astype(np.float32)
    np.testing.assert_allclose(layer_shares(changed, layer[order], 4), shares, rtol=1e-5)


def test_depth_runs_from_minus_half_to_half() -> None:
    np.testing.assert_allclose(scaled_depth(5), [-0.5, -0.25, 0, 0.25, 0.5])
    assert scaled_depth(1).tolist() == [0]


@pytest.mark.parametrize(
    ("layers", "early", "expected"),
    [(1, 1 / 3, 1), (2, 1 / 3, 1), (4, 1 / 3, 1), (5, 1 / 3, 2), (12, 1 / 3, 4), (28, 0.333, 9), (6, 0.25, 2)],
)
def test_early_layers_are_the_fraction_rounded_and_at_least_one(layers: int, early: float, expected: int) -> None:
    assert early_layers(layers, early) == expected
    shares = np.full((2, layers), 1 / layers)
    np.testing.assert_allclose(early_share(shares, early), expected / layers)


def test_centroid_is_the_mean_depth_of_the_mass() -> None:
    np.testing.assert_allclose(centroid([[1, 0, 0], [0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]), [-0.5, 0.25, 0])


@given(seed=st.integers(0, 1000), layers=st.integers(2, 12))
def test_slope_is_that_of_a_regression_on_depth(seed: int, layers: int) -> None:
    shift = np.random.default_rng(seed).standard_normal((4, layers))
    expected = [np.polyfit(scaled_depth(layers), row, 1)[0] for row in shift]
    np.testing.assert_allclose(depth_slope(shift), expected, atol=1e-12)


def test_mass_that_moves_to_early_layers_has_a_negative_slope() -> None:
    before, after = np.array([[0.2, 0.3, 0.5]]), np.array([[0.5, 0.3, 0.2]])
    assert depth_slope(after - before)[0] == pytest.approx(-0.6)


def test_errors_name_the_rows_and_what_came() -> None:
    with pytest.raises(ValueError, match=r"no attribution mass on edges from any layer in 2 row.s.: 0, 2"):
        layer_shares([[0.0, 5], [1, 5], [0, 5]], [0, -1], 1)
    with pytest.raises(ValueError, match="source_layer: expected -1 to 1, got 0 to 2"):
        layer_shares([[1.0, 1]], [0, 2], 2)
    with pytest.raises(ValueError, match="source_layer: expected one for each of 2 edges"):
        layer_shares([[1.0, 1]], [0], 2)
    with pytest.raises(ValueError, match="at least 2 layers"):
        depth_slope([[1.0]])
    with pytest.raises(ValueError, match="early: expected a number between 0 and 1, got 33"):
        early_share([[1.0]], 33)
