"""Circuits from the signs of edge scores: which signs are sure, and how many edges must be positive.

Two of the selections of Nikankin et al. (2025, arXiv 2510.25786). A negative score means that corrupting the edge
raises the metric: circuits of the largest magnitudes hold such edges, and edges whose sign depends on which prompts
were drawn.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from mechshift_core.attribution.selection import Circuit, scored_prefix, top_edges
from mechshift_core.options import Count, Probability, checked

Floats = npt.NDArray[np.float64]
RESAMPLES = 500
"""Bootstrap samples of the examples."""


@checked
def sign_consistency(
    blocks: Iterable[npt.ArrayLike], rng: np.random.Generator, *, resamples: Count = RESAMPLES
) -> Floats:
    """Share of bootstrap samples of the examples in which an edge's mean score has the sign of its mean, [edges].

    An edge whose mean is 0 has no sign: its share is 0.

    Args:
        blocks: The scores of some examples, a block of edges at a time, each [examples, edges of the block].
        rng: The source of the draws.
        resamples: Number of bootstrap samples.

    Raises:
        ValueError: if there are no examples, blocks differ in them, or a score is not finite.
    """
    weights: Floats | None = None
    shares: list[Floats] = []
    for block in blocks:
        scores = np.asarray(block, dtype=np.float64)
        if scores.ndim != 2 or not len(scores) or (weights is not None and len(scores) != weights.shape[1]):
            raise ValueError(f"blocks: expected [examples, edges] of the same examples, got {list(scores.shape)}")
        if not np.isfinite(scores).all():
            raise ValueError("blocks: expected finite scores, got NaN or infinite ones")
        examples = len(scores)
        if weights is None:
            weights = rng.multinomial(examples, np.full(examples, 1 / examples), size=resamples).astype(np.float64)
        signs = np.sign(weights @ scores)
        own = np.sign(scores.sum(axis=0))
        shares.append(np.where(own == 0, 0.0, (signs == own).mean(axis=0)))
    return np.concatenate(shares) if shares else np.zeros(0)


def consistent(scores: npt.ArrayLike, consistency: npt.ArrayLike, least: float) -> Floats:
    """Scores, [edges], with 0, which is in no circuit, for edges whose sign is less consistent than `least`."""
    kept: Floats = np.where(np.asarray(consistency) >= least, np.asarray(scores, dtype=np.float64), 0.0)
    return kept


@checked
def top_edges_by_sign(scores: npt.ArrayLike, n: int, *, positive_share: Probability) -> Circuit:
    """A share of n edges by the largest positive scores, and the others by the largest magnitude of what is left.

    A share of 0 is :func:`top_edges`; by a share of 1 all are positive. There are fewer than n edges where fewer have
    such a score; all edges are one circuit whatever their scores.

    Args:
        scores: One score per edge, [edges].
        n: Number of edges, 0 to all.
        positive_share: Share of them, rounded to whole edges.

    Raises:
        ValueError: as :func:`top_edges`, or for a share that is none.
    """
    by_magnitude = top_edges(scores, n)
    values = np.asarray(scores, dtype=np.float64)
    if n == len(values):
        return by_magnitude
    wanted = round(n * positive_share)
    positive = np.maximum(values, 0.0)
    chosen: Circuit = np.zeros(len(values), dtype=bool)
    chosen[scored_prefix(np.argsort(-positive, kind="stable"), positive, wanted)] = True
    rest = np.where(chosen, 0.0, values)
    chosen[scored_prefix(np.argsort(-np.abs(rest), kind="stable"), rest, n - wanted)] = True
    return chosen
