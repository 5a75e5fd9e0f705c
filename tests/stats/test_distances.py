"""Cosine distance and Kullback-Leibler divergence: closed forms, and zero that is exactly zero."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.special import log_softmax

from stats.distances import cosine_distance, kl_divergence


def test_the_distance_is_one_minus_the_cosine_of_the_angle() -> None:
    angles = np.array([0.0, 1e-6, 0.3, np.pi / 2, 2.0, np.pi])
    one = np.tile([2.0, 0.0], (6, 1))
    other = 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(cosine_distance(one, other), 1 - np.cos(angles), atol=1e-15)
    # 1 - cos of a small angle would lose all its digits.
    assert cosine_distance(one, other)[1] == pytest.approx(0.5e-12, rel=1e-6)


def test_equal_vectors_are_at_exactly_zero() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 7)) * 1e6
    assert not cosine_distance(vectors, vectors).any()
    np.testing.assert_allclose(cosine_distance(vectors, 4 * vectors), 0, atol=1e-30)


def test_a_zero_vector_has_no_direction() -> None:
    assert cosine_distance([[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]).tolist() == [0.0, 1.0]


def test_the_divergence_is_that_of_scipy_and_of_a_closed_form() -> None:
    made = np.random.default_rng(1)
    p, q = log_softmax(3 * made.normal(size=(2, 20, 9)), axis=-1)
    np.testing.assert_allclose(kl_divergence(p, q), scipy_stats.entropy(np.exp(p), np.exp(q), axis=1), rtol=1e-10)
    # Of a uniform distribution from one in which an outcome is k times as likely as each other one.
    v, k = 5, 7.0
    tilted = np.log(np.r_[k, np.ones(v - 1)] / (v - 1 + k))[None]
    uniform = np.full((1, v), -np.log(v))
    assert kl_divergence(uniform, tilted)[0] == pytest.approx(np.log((v - 1 + k) / v) - np.log(k) / v, rel=1e-12)


def test_equal_predictions_diverge_by_exactly_zero_and_rounding_never_below() -> None:
    logits = np.random.default_rng(2).normal(size=(30, 1000)).astype(np.float32)
    assert not kl_divergence(logits, logits).any()
    shaken = logits + 1e-7 * np.random.default_rng(3).normal(size=logits.shape).astype(np.float32)
    found = kl_divergence(logits, shaken)
    assert (found >= 0).all() and found.max() < 1e-12


def test_log_probabilities_are_normalised() -> None:
    p, q = np.random.default_rng(4).normal(size=(2, 3, 6))
    np.testing.assert_allclose(kl_divergence(p + 3, q - 2), kl_divergence(p, q), rtol=1e-12)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="vectors of the same dimensions"):
        cosine_distance(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="the same outcomes"):
        kl_divergence(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="by: expected finite numbers"):
        kl_divergence(np.zeros((1, 2)), [[0.0, -np.inf]])
