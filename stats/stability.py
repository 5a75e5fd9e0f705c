"""How stable the strongest edges, and the nodes that they touch, are over bootstrap resamples of a model's prompts.

The mean of the Jaccard index over all pairs of resamples, against a bar of .8: the check that Méloux et al. propose
(arXiv 2510.00845). It is no noise ceiling. Every resample has about 63 % of the same prompts, so that any two share
prompts, which lifts the index; and each repeats some, which lowers it. A ceiling that another model is held against is
taken on disjoint halves (`stats.split_half`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stats.checks import Floats, Integers, codes
from stats.edge_thresholds import edge_sample
from stats.minimums import FEWEST_FOR_SPREAD
from stats.node_sets import EdgeNodes
from stats.options import Count, Seed, checked
from stats.overlap import lacking_edges
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks, as_blocks, edges_with_scores
from stats.top_edges import checked_sizes, top_edges
from stats.unit_weights import cluster_weights, resampling_weights

Kind: TypeAlias = Literal["edges", "nodes"]
BAR = 0.8
"""Mean pairwise Jaccard from which a circuit is called stable, as proposed; a convention, not a test."""
RESAMPLES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Agreement of the sets of one model at one size over resamples of its prompts.

    Attributes:
        kind: Whether the sets are of `edges` or of the `nodes` that these touch.
        k: Number of edges.
        mean: Mean Jaccard index over all pairs of resamples; None where a resample has no such set.
        low: 2.5 % quantile of the pairwise values (`high`: 97.5 %). Their spread, not an interval of the mean.
        resamples: Number of resamples.
        stable: Whether the mean reaches :data:`BAR`; None without a mean.
        message: Why there is none.
    """

    kind: Kind
    k: int
    mean: float | None
    low: float | None
    high: float | None
    resamples: int
    stable: bool | None
    message: str


@checked
def selection_stability(
    scores: ArrayLike | ScoreBlocks,
    *,
    top_k: Sequence[Count],
    nodes: EdgeNodes | None = None,
    templates: ArrayLike | None = None,
    resamples: Count = RESAMPLES,
    seed: Seed = 0,
    block_bytes: Count = BLOCK_BYTES,
) -> tuple[Stability, ...]:
    """Mean pairwise Jaccard of the top-K edges (and of their nodes) over bootstrap resamples of the prompts.

    Args:
        scores: Scores of one model [n, E], one row per prompt; an array, or read in blocks of edges.
        top_k: Sizes of the sets of edges.
        nodes: The nodes that each edge touches, if those are wanted as well.
        templates: Template of each row [n], where whole templates are drawn with all of their prompts.
        resamples: Number of resamples of n prompts (or of all templates), at least 2.
        seed: Seed of the draws.
        block_bytes: Memory of one block of scores, approximately; changes no result.

    Returns:
        The edges at each K in the order of `top_k`, then the nodes.

    Raises:
        ValueError: if a shape does not match, a K is out of range, a score is not finite, or there are fewer than two
            prompts or resamples.
    """
    rows = as_blocks(scores, "scores")
    n, edges = rows.shape
    if n < FEWEST_FOR_SPREAD:
        raise ValueError(f"scores: expected at least {FEWEST_FOR_SPREAD} prompts to resample, got {n}")
    if resamples < 2:
        raise ValueError(f"resamples: expected at least 2, got {resamples}")
    edges_with_scores(rows, "scores", block_bytes=block_bytes)
    sizes = checked_sizes(top_k, edges)
    drawn = _drawn(n, templates, resamples, seed)
    sample = edge_sample(rows, sizes, block_bytes=block_bytes)
    top = top_edges(rows, drawn, sizes, sample=sample, block_bytes=block_bytes)
    used, place = np.unique(top.edge, return_inverse=True)
    level = np.full((resamples, len(used)), len(sizes), dtype=np.uint8)
    level[np.arange(resamples)[:, None], place.reshape(top.edge.shape)] = top.level
    found = {"edges": level} if nodes is None else {"edges": level, "nodes": nodes.of_edges(edges).touched(top).level}
    fewest = top.members.min(axis=0)
    kinds: tuple[Kind, ...] = ("edges", "nodes")
    return tuple(
        _at(kind, k, found[kind] <= size, int(fewest[size]))
        for kind in kinds[: len(found)]
        for k, size in zip(top_k, np.searchsorted(sizes, top_k).tolist(), strict=True)
    )


def _drawn(n: int, templates: ArrayLike | None, resamples: int, seed: int) -> Integers:
    if templates is None:
        return resampling_weights(n, resamples, seed=seed)
    return cluster_weights(codes(templates, "templates", length=n)[0], resamples, seed=seed)


def _at(kind: Kind, k: int, member: NDArray[np.bool_], edges: int) -> Stability:
    """From membership [resamples, edges or nodes] and the number of edges in the smallest set."""
    message = lacking_edges(k, edges, " in a resample of the prompts")
    if not message and not member.any(axis=1).all():
        message = f"K = {k}: the edges of a resample touch none of the nodes"
    values = np.array([np.nan]) if message else pairwise_jaccard(member)
    mean, (low, high) = float(values.mean()), np.quantile(values, [0.025, 0.975]).tolist()
    return Stability(
        kind=kind,
        k=k,
        mean=None if message else mean,
        low=None if message else low,
        high=None if message else high,
        resamples=len(member),
        stable=None if message else mean >= BAR,
        message=message,
    )


def pairwise_jaccard(member: NDArray[np.bool_]) -> Floats:
    """Jaccard index of every two of some sets that are not empty, [R (R - 1) / 2], from their membership [R, N]."""
    # Counts are exact in float32 up to 2^24, and one product has them all.
    shared = (member.astype(np.float32) @ member.T.astype(np.float32)).astype(np.float64)
    size = np.diagonal(shared)
    first, second = np.triu_indices(len(member), 1)
    both = shared[first, second]
    return np.asarray(both / (size[first] + size[second] - both))
