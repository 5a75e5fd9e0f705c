"""How far two models' vectors and predictions are from each other, one number for each input."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats
from stats.options import checked


@checked
def cosine_distance(before: ArrayLike, after: ArrayLike) -> Floats:
    """1 - cosine of two vectors, 0 (the same direction) to 2 (the opposite one).

    Computed as half of the squared distance of the two unit vectors, which is exactly 0 for equal vectors and loses no
    digits for near ones. A zero vector is as far from any other as an orthogonal one, 1, and 0 from another zero one.

    Args:
        before: Vectors [..., d].
        after: Vectors of the same shape.

    Returns:
        [...].

    Raises:
        ValueError: if shapes differ, or values are not finite.
    """
    a, b = as_floats(before, "before"), as_floats(after, "after")
    if a.shape != b.shape:
        raise ValueError(f"a cosine is of vectors of the same dimensions, got shapes {a.shape} and {b.shape}")
    lengths = [np.linalg.norm(one, axis=-1, keepdims=True) for one in (a, b)]
    units = [one / np.where(length > 0, length, 1.0) for one, length in zip((a, b), lengths, strict=True)]
    distance = 0.5 * np.square(units[0] - units[1]).sum(axis=-1)
    alone = (lengths[0] > 0)[..., 0] != (lengths[1] > 0)[..., 0]
    return np.asarray(np.where(alone, 1.0, distance))


@checked
def kl_divergence(of: ArrayLike, by: ArrayLike) -> Floats:
    """Kullback-Leibler divergence sum p ln(p / q), in nats, 0 or above: what is lost by taking q for p.

    Summed as p ln(p / q) - p + q, of which no term is negative: rounding gives no divergence below 0.

    Args:
        of: Log-probabilities ln p [n, outcomes]; they are normalised.
        by: Log-probabilities ln q of the same outcomes.

    Returns:
        [n].

    Raises:
        ValueError: if shapes differ, or values are not finite.
    """
    p, q = as_floats(of, "of", dimensions=2), as_floats(by, "by", dimensions=2)
    if p.shape != q.shape:
        raise ValueError(f"a divergence is of distributions over the same outcomes, got shapes {p.shape} and {q.shape}")
    p, q = (one - np.logaddexp.reduce(one, axis=1, keepdims=True) for one in (p, q))
    terms = np.exp(p) * (p - q) - np.exp(p) + np.exp(q)
    return np.asarray(np.maximum(terms, 0.0).sum(axis=1))
