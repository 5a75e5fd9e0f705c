from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mechshift_core.attribution.selection import top_edges
from mechshift_core.attribution.sign_selection import consistent, sign_consistency, top_edges_by_sign


def test_consistency_is_the_share_of_bootstrap_means_of_one_sign() -> None:
    """By the central limit theorem, Phi(|mean| / standard error) of the sample."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(80, 40)) + np.linspace(-0.4, 0.4, 40)
    found = sign_consistency([scores[:, :7], scores[:, 7:]], np.random.default_rng(1), resamples=4000)
    expected = norm.cdf(np.abs(scores.mean(0)) / (scores.std(0) / 80**0.5))
    assert found.shape == (40,) and np.abs(found - expected).max() < 0.03


def test_consistency_does_not_depend_on_blocks_and_is_one_or_zero_at_the_ends() -> None:
    scores = np.column_stack([np.arange(1.0, 9), -np.arange(1.0, 9), np.zeros(8), [1.0, -1] * 4, [3.0, *[-1.0] * 7]])
    whole = sign_consistency([scores], np.random.default_rng(2))
    apart = sign_consistency([scores[:, :1], scores[:, 1:]], np.random.default_rng(2))
    np.testing.assert_array_equal(whole, apart)
    assert whole[:4].tolist() == [1, 1, 0, 0] and 0.5 < whole[4] < 1
    kept = consistent([5.0, -2.0, 1.0, 1.0, -4.0], whole, 0.999)
    assert kept.tolist() == [5, -2, 0, 0, 0]


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([np.zeros((0, 3))], r"got \[0, 3\]"),
        ([np.zeros(3)], r"got \[3\]"),
        ([np.zeros((2, 3)), np.zeros((4, 3))], r"same examples, got \[4, 3\]"),
        ([np.full((2, 3), np.nan)], "expected finite scores"),
    ],
)
def test_scores_of_no_examples_are_refused(blocks: list[np.ndarray], message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        sign_consistency(blocks, np.random.default_rng(0))


def test_a_share_is_chosen_by_positive_scores() -> None:
    scores = np.array([5.0, -9.0, 1.0, -8.0, 0.5, 0.0, -7.0])
    assert np.flatnonzero(top_edges_by_sign(scores, 4, positive_share=0.5)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(top_edges_by_sign(scores, 3, positive_share=1)).tolist() == [0, 2, 4]
    assert np.flatnonzero(top_edges_by_sign(scores, 5, positive_share=1)).tolist() == [0, 2, 4]  # no more are positive
    assert top_edges_by_sign(scores, 7, positive_share=1).all()
    for n in range(8):
        np.testing.assert_array_equal(top_edges_by_sign(scores, n, positive_share=0), top_edges(scores, n))


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"positive_share: expected a number from 0 to 1, got 1.5"):
        top_edges_by_sign([1.0, 2.0], 1, positive_share=1.5)
