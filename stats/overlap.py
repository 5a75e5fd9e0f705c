"""How much two sets of edge scores have in common: top-K Jaccard, threshold-free overlaps, and chance.

Scores are signed attributions; an edge's rank is its magnitude. Arrays have the edges on the last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from stats.checks import Booleans, Floats, Integers, Scores, as_floats, as_members, as_scores, known_labels, varies
from stats.edge_thresholds import edge_sample
from stats.minimums import enough_permutations
from stats.options import Count, Seed, checked
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks, as_blocks, edges_with_scores
from stats.seeding import generator
from stats.top_edges import checked_sizes, rows_at_once, top_edges


@checked
def top_k(scores: ArrayLike, k: Count) -> Booleans:
    """Which edges are among the K largest by magnitude.

    Of edges of equal magnitude at the threshold, those that come first are members. An edge of score 0 never is: where
    fewer than K have another one, there are fewer members.

    Args:
        scores: [..., E], finite.
        k: 1..E.

    Returns:
        Membership [..., E].

    Raises:
        ValueError: if k is out of range or a score is not finite.
    """
    array = as_scores(scores, "scores")
    flat = np.abs(array.reshape(-1, array.shape[-1]))
    return np.asarray(memberships(flat, [k])[0].reshape(array.shape))


def memberships(magnitudes: Scores, sizes: Sequence[int]) -> Booleans:
    """Membership in the top K for several K at once: magnitudes [rows, E] to [K, rows, E]; see :func:`top_k`.

    One partition finds the edges of the largest K, and sorting these the thresholds of all K.
    """
    rows, edges = magnitudes.shape
    for k in sizes:
        if not 1 <= k <= edges:
            raise ValueError(f"top_k: expected between 1 and {edges} (the number of edges), got {k}")
    largest = max(sizes)
    # A partition at several places at once is many times slower.
    strongest = np.partition(magnitudes, edges - largest, axis=-1)[:, edges - largest :]
    strongest.sort(axis=-1)
    members = np.empty((len(sizes), rows, edges), dtype=np.bool_)
    for member, k in zip(members, sizes, strict=True):
        thresholds = strongest[:, largest - k, None]
        np.greater_equal(magnitudes, thresholds, out=member)
        tied = np.flatnonzero(np.count_nonzero(member, axis=-1) != k)
        if tied.size:
            member[tied] = _first_of_tied(magnitudes[tied], thresholds[tied], k)
        short = np.flatnonzero(thresholds[:, 0] == 0)
        if short.size:
            member[short] = magnitudes[short] > 0
    return members


def _first_of_tied(magnitudes: Scores, thresholds: Scores, k: int) -> Booleans:
    above = magnitudes > thresholds
    tied = magnitudes == thresholds
    room = k - np.count_nonzero(above, axis=-1, keepdims=True)
    return np.asarray(above | (tied & (np.cumsum(tied, axis=-1) <= room)))


def jaccard(first: ArrayLike, second: ArrayLike) -> Floats:
    """Jaccard index |A and B| / |A or B| of sets given by membership [..., E].

    Raises:
        ValueError: if the shapes do not match or both sets are empty.
    """
    a, b = as_members(first, "first"), as_members(second, "second")
    _same_edges(a, b)
    union = np.count_nonzero(a | b, axis=-1)
    if np.any(union == 0):
        raise ValueError("jaccard: expected at least one member, got two empty sets")
    return np.asarray(np.count_nonzero(a & b, axis=-1) / union)


def weighted_jaccard(first: ArrayLike, second: ArrayLike) -> Floats:
    """Sum of the smaller over the sum of the larger magnitudes, edge by edge; needs no threshold.

    Unlike the top-K Jaccard it depends on the scale of each side: compare scores in the same unit.

    Raises:
        ValueError: if the shapes do not match or all scores are zero.
    """
    a, b = np.abs(as_floats(first, "first")), np.abs(as_floats(second, "second"))
    _same_edges(a, b)
    larger = np.maximum(a, b).sum(axis=-1)
    if np.any(larger == 0):
        raise ValueError("weighted_jaccard: expected a score other than zero, got only zeros")
    return np.asarray(np.minimum(a, b).sum(axis=-1) / larger)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOverlap:
    """Agreement of two score vectors without a threshold; None where one of them has no spread (or no length)."""

    spearman: float | None
    cosine: float | None


def rank_overlap(first: ArrayLike, second: ArrayLike) -> RankOverlap:
    """Spearman correlation and cosine similarity of two vectors of signed scores [E]."""
    a, b = as_floats(first, "first", dimensions=1), as_floats(second, "second", dimensions=1)
    _same_edges(a, b)
    spread = varies(a) and varies(b)
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return RankOverlap(
        spearman=float(scipy_stats.spearmanr(a, b).statistic) if spread else None,
        cosine=float(np.clip(a @ b / length, -1, 1)) if length > 0 else None,
    )


def expected_jaccard_within_strata(first: ArrayLike, second: ArrayLike, strata: ArrayLike) -> Floats:
    """Jaccard that two sets would have by chance, given how many members each has in every stratum.

    With a_s and b_s members among the n_s edges of stratum s, placed at random, the expected intersection is
    I = sum_s a_s b_s / n_s; the index is I / (|A| + |B| - I), a first-order approximation of its expectation; 0 of
    empty sets.

    Args:
        first: Membership [..., E].
        second: Membership [..., E].
        strata: Stratum of each edge [E], any integers.

    Raises:
        ValueError: if the shapes do not match.
    """
    a, b = as_members(first, "first"), as_members(second, "second")
    _same_edges(a, b)
    code, sizes = stratum_sizes(strata, a.shape[-1])
    in_a, in_b = _counts(a, code, len(sizes)), _counts(b, code, len(sizes))
    shared = (in_a * in_b / sizes).sum(axis=-1)
    return np.asarray(shared / np.maximum(1, in_a.sum(axis=-1) + in_b.sum(axis=-1) - shared))


def stratum_sizes(strata: ArrayLike, edges: int) -> tuple[Integers, Integers]:
    """Strata as integers 0..S-1 [E], and the number of edges in each [S].

    Raises:
        ValueError: if there are not `edges` strata.
    """
    array = known_labels(strata, "strata")
    if array.shape != (edges,):
        raise ValueError(f"strata: expected one for each of {edges} edges, got shape {array.shape}")
    _, code, sizes = np.unique(array, return_inverse=True, return_counts=True)
    return code.astype(np.int64), sizes.astype(np.int64)


def _counts(member: Booleans, code: Integers, strata: int) -> Integers:
    flat = member.reshape(-1, member.shape[-1])
    row, edge = np.nonzero(flat)
    counts = np.bincount(row * strata + code[edge], minlength=len(flat) * strata)
    return counts.reshape(*member.shape[:-1], strata)


@checked
def overlap_replicates(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    weights: ArrayLike,
    *,
    top_k: Sequence[Count],
    block_bytes: Count = BLOCK_BYTES,
) -> Floats:
    """Jaccard of two models' top-K edges in every bootstrap replicate, for all K at once.

    Resampled means are noisier than the observed ones, which lowers the overlap: use the replicates' spread, not their
    location, and :func:`stats.retention.retention_index` for what noise alone leaves of an overlap.

    An edge of score 0 is in no set: in a replicate in which fewer than K have another one, sets are smaller (and the
    index of two empty ones is 0), which :func:`stats.plain_overlap.between_overlap` says of the observed halves.

    Args:
        before: Scores of the model before [n, E], one row per prompt; an array, or read in blocks of edges.
        after: Scores of the model after [n, E], of the same prompts in the same order.
        weights: How often each prompt was drawn in each replicate [R, n], e.g. :func:`stats.resampling_weights`.
        top_k: Sizes of the sets.
        block_bytes: Memory of one block of scores and of what is kept of them, approximately; changes no result.

    Returns:
        [R, K], in the order of `top_k`.

    Raises:
        ValueError: if shapes do not match, a K is out of range, a score is not finite, a weight is
            negative or not finite, or a replicate has no prompts.
    """
    models = as_blocks(before, "before"), as_blocks(after, "after")
    if models[0].shape != models[1].shape:
        shapes = f"{models[0].shape} and {models[1].shape}"
        raise ValueError(f"expected the same prompts and edges before and after, got shapes {shapes}")
    n, edges = models[0].shape
    drawn = as_scores(weights, "weights", dimensions=2)
    if drawn.shape[1] != n:
        raise ValueError(f"weights: expected a column for each of {n} prompts, got shape {drawn.shape}")
    if drawn.min() < 0 or not drawn.any(axis=1).all():
        raise ValueError("weights: expected numbers >= 0, not all zero in a replicate")
    sizes = checked_sizes(top_k, edges)
    for scores, name in zip(models, ("before", "after"), strict=True):
        edges_with_scores(scores, name, block_bytes=block_bytes)
    samples = [edge_sample(scores, sizes, block_bytes=block_bytes) for scores in models]
    step = max(1, rows_at_once(sizes, edges, block_bytes) // 2)
    found = []
    for start in range(0, len(drawn), step):
        rows = drawn[start : start + step]
        first, second = (
            top_edges(scores, rows, sizes, sample=sample, block_bytes=block_bytes)
            for scores, sample in zip(models, samples, strict=True)
        )
        found += first.jaccard(second)
    return np.concatenate(found)[:, np.searchsorted(sizes, top_k)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapNull:
    """Observed top-K overlap beside what chance within strata gives.

    Attributes:
        k: Size of the sets.
        observed: Jaccard of the two top-K sets.
        mean: Mean of the null (`low` and `high`: its 2.5 % and 97.5 % quantiles).
        p: (1 + draws at least as large as observed) / (1 + draws).
        members: Edges (or nodes) in the smaller of the two sets.
        message: That these are fewer than K, since no more have a score other than 0; the numbers are then those of the
            smaller sets, not of K edges.
    """

    k: int
    observed: float
    mean: float
    low: float
    high: float
    p: float
    members: int
    message: str = ""


@checked
def stratified_permutation_null(
    before: ArrayLike,
    after: ArrayLike,
    strata: ArrayLike,
    top_k: Sequence[Count],
    *,
    permutations: Count = 1000,
    seed: Seed = 0,
) -> tuple[OverlapNull, ...]:
    """Chance overlap of two models' top-K edges when edges are exchangeable within strata.

    Permuting the second set within strata makes its intersection with the first one hypergeometric in each stratum,
    independently, so the intersections are drawn from that distribution: the same null, without moving an edge.

    Chance is a level to read an overlap against. Its p is valid for scores whose edges are exchangeable within strata;
    attributions share the effects of their nodes, which makes models with nothing in common fall below .05 far too
    often, so a study gives none.

    Args:
        before: Scores [E].
        after: Scores [E].
        strata: Stratum of each edge [E], e.g. source kind x receiver kind x layer distance.
        top_k: Sizes of the sets.
        permutations: Number of draws.
        seed: Seed of the analysis.

    Returns:
        One result for each K.

    Raises:
        ValueError: if shapes do not match, a K is out of range, or a score is not finite.
    """
    a, b = as_scores(before, "before", dimensions=1), as_scores(after, "after", dimensions=1)
    _same_edges(a, b)
    enough_permutations(permutations)
    code, sizes = stratum_sizes(strata, len(a))
    sets = zip(*(memberships(np.abs(scores)[None], top_k)[:, 0] for scores in (a, b)), strict=True)
    results = []
    for k, (first, second) in zip(top_k, sets, strict=True):
        found = placed_at_random(k, first, second, code, sizes, permutations, generator(seed, "permutation null", k))
        results.append(replace(found, message=lacking_edges(k, found.members)))
    return tuple(results)


def placed_at_random(
    k: int,
    first: Booleans,
    second: Booleans,
    code: Integers,
    sizes: Integers,
    draws: int,
    rng: np.random.Generator,
) -> OverlapNull:
    """Overlap of two sets, and of as many members of each stratum at random places.

    Args:
        k: The size K that they belong to.
        first: Membership [E], or of nodes [N].
        second: Membership in the other set.
        code: Stratum of each, 0..S-1.
        sizes: Number in each stratum [S].
        draws: Number of random draws.
        rng: Makes them.
    """
    in_a, in_b = _counts(first, code, len(sizes)), _counts(second, code, len(sizes))
    shared = rng.hypergeometric(in_a, sizes - in_a, in_b, size=(draws, len(sizes))).sum(axis=1)
    seen = int(np.count_nonzero(first & second))
    each = int(np.count_nonzero(first)), int(np.count_nonzero(second))
    null = shared / np.maximum(1, sum(each) - shared)
    low, high = np.quantile(null, [0.025, 0.975])
    return OverlapNull(
        k=k,
        observed=seen / max(1, sum(each) - seen),
        mean=float(null.mean()),
        low=float(low),
        high=float(high),
        p=float((1 + np.count_nonzero(shared >= seen)) / (1 + draws)),
        members=min(each),
    )


def lacking_edges(k: int, found: int, where: str = "") -> str:
    """Why there are no K strongest edges: fewer have a score other than zero; empty where there are."""
    return f"K = {k}: only {found} edges have a score other than zero{where}" if found < k else ""


def _same_edges(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"expected the same edges on both sides, got shapes {a.shape} and {b.shape}")
