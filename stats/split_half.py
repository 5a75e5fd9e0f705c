"""Overlap between and within models at half of the prompts each, on disjoint halves.

A model's overlap with itself on two disjoint halves of the prompts is the ceiling that another model can reach; the
comparison between models uses the same halves, so that all three see the same number of prompts and never the same
prompt twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stats.checks import Booleans, Floats, Integers, Scores, as_scores, codes, positive
from stats.overlap import memberships, stratum_sizes
from stats.seeding import generator

BLOCK_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitHalfOverlap:
    """Top-K Jaccard on halves, all arrays [splits, K].

    Attributes:
        top_k: Sizes of the sets, in the order of the last axis.
        between: Mean of J(before, first half; after, second half) and of J(before, second; after, first).
        ceiling_before: J of the model before, first against second half (`ceiling_after`: of the model after).
        null: Chance level of `between` within strata (:func:`stats.overlap.expected_jaccard_within_strata`);
            without strata, over all edges.
    """

    top_k: tuple[int, ...]
    between: Floats
    ceiling_before: Floats
    ceiling_after: Floats
    null: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Which examples the rows are, out of all examples for which draws are made.

    Attributes:
        rows: Example id of each row [n], distinct, within 0..total-1.
        total: Number of examples for which draws are made.
        templates: Template of every example, as integers [total].
    """

    rows: Integers
    total: int
    templates: Integers


def prompts(n: int, *, examples: ArrayLike | None, total: int | None, templates: ArrayLike | None) -> Prompts:
    """Check and complete the description of the rows; without `examples`, the rows are examples 0..n-1.

    Raises:
        ValueError: if ids repeat or are out of range, or there is not one template for each of the `total` examples.
    """
    rows = np.arange(n) if examples is None else np.asarray(examples)
    if rows.shape != (n,) or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"examples: expected {n} integers, one for each row, got {rows.dtype} of shape {rows.shape}")
    size = total if total is not None else int(rows.max()) + 1
    if len(np.unique(rows)) != n or rows.min() < 0 or rows.max() >= size:
        raise ValueError(f"examples: expected distinct ids from 0 to {size - 1}, got {rows.min()} to {rows.max()}")
    code = np.zeros(size, dtype=np.int64) if templates is None else codes(templates, "templates", length=size)[0]
    return Prompts(rows=rows.astype(np.int64), total=size, templates=code)


def draw_halves(chosen: Prompts, splits: int, rng: np.random.Generator) -> Booleans:
    """Random halves [splits, n]: whether a row is in the first half.

    All `total` examples are split, evenly within every template and overall (up to one), and the split is then
    restricted to the rows: an example falls into the same half for every model and pair that has it.
    """
    order = np.argsort(chosen.templates + rng.random((splits, chosen.total)), axis=1)
    first = np.empty((splits, chosen.total), dtype=np.bool_)
    np.put_along_axis(first, order, (np.arange(chosen.total) % 2 == 0)[None], axis=1)
    return first[:, chosen.rows]


def half_overlaps(
    before: Scores,
    after: Scores,
    first: Scores,
    second: Scores,
    *,
    top_k: Sequence[int],
    strata: ArrayLike | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> SplitHalfOverlap:
    """Overlaps for given halves, as weights of the rows; in blocks of bounded memory.

    Args:
        before: Scores [n, E] of the model before.
        after: Scores [n, E] of the model after.
        first: Weights of the rows in the first half [splits, n], >= 0, not all zero in a split.
        second: Weights of the rows in the second half [splits, n].
        top_k: Sizes of the sets.
        strata: Stratum of each edge [E]; None for one stratum.
        block_bytes: Memory of one block of half means, approximately.
    """
    edges = before.shape[1]
    code, sizes = stratum_sizes(np.zeros(edges, dtype=np.int64) if strata is None else strata, edges)
    splits = len(first)
    results = np.empty((4, splits, len(top_k)))
    step = max(1, block_bytes // (4 * edges * before.itemsize))
    for start in range(0, splits, step):
        block = slice(start, start + step)
        halves = [_normalised(first[block], before.dtype), _normalised(second[block], before.dtype)]
        b1, b2, a1, a2 = (
            _HalfSets.of(half, scores, top_k, code, len(sizes)) for scores in (before, after) for half in halves
        )
        results[0, block] = (b1.jaccard(a2) + b2.jaccard(a1)) / 2
        results[1, block] = b1.jaccard(b2)
        results[2, block] = a1.jaccard(a2)
        results[3, block] = (b1.chance(a2, sizes) + b2.chance(a1, sizes)) / 2
    between, ceiling_before, ceiling_after, null = results
    return SplitHalfOverlap(
        top_k=tuple(top_k), between=between, ceiling_before=ceiling_before, ceiling_after=ceiling_after, null=null
    )


def split_half_overlap(
    before: ArrayLike,
    after: ArrayLike,
    *,
    top_k: Sequence[int],
    strata: ArrayLike | None = None,
    templates: ArrayLike | None = None,
    splits: int = 50,
    seed: int = 0,
    examples: ArrayLike | None = None,
    total: int | None = None,
) -> SplitHalfOverlap:
    """Top-K overlap between two models and within each, on random disjoint halves of the prompts.

    Args:
        before: Scores of the model before [n, E], one row per prompt.
        after: Scores of the model after [n, E], of the same prompts in the same order.
        top_k: Sizes of the sets.
        strata: Stratum of each edge [E], for the chance level.
        templates: Template of every example [total]; halves are balanced within templates.
        splits: Number of random splits.
        seed: Seed of the analysis; with the same seed and `total`, all calls use the same splits.
        examples: Example id of each row [n]; 0..n-1 by default.
        total: Number of examples of which the rows are a selection.

    Raises:
        ValueError: if shapes do not match, a K is out of range, scores are not finite, or a half is empty.
    """
    a, b = paired_scores(before, after)
    chosen = prompts(len(a), examples=examples, total=total, templates=templates)
    first = draw_halves(chosen, positive(splits, "splits"), generator(seed, "split halves"))
    if not (first.any(axis=1) & ~first.all(axis=1)).all():
        raise ValueError(f"expected prompts in both halves of every split, got only {len(a)} prompt(s)")
    return half_overlaps(a, b, first.astype(a.dtype), (~first).astype(a.dtype), top_k=top_k, strata=strata)


def paired_scores(before: ArrayLike, after: ArrayLike) -> tuple[Scores, Scores]:
    """Both score matrices [n, E], checked, in the wider of their types.

    Raises:
        ValueError: if the shapes differ, there are fewer than two prompts, or a score is not finite.
    """
    a, b = as_scores(before, "before", dimensions=2), as_scores(after, "after", dimensions=2)
    if a.shape != b.shape:
        raise ValueError(f"expected the same prompts and edges before and after, got shapes {a.shape} and {b.shape}")
    if len(a) < 2:
        raise ValueError(f"before: expected at least 2 prompts to split, got {len(a)}")
    wider = np.result_type(a, b)
    return a.astype(wider, copy=False), b.astype(wider, copy=False)


def _normalised(weights: Scores, dtype: np.dtype[np.floating[Any]]) -> Scores:
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=dtype)


@dataclass(frozen=True, slots=True)
class _HalfSets:
    """Top-K sets of one half of one model: members as packed bits [K, splits, E / 8], counts by stratum."""

    bits: NDArray[np.uint8]
    counts: Integers
    sizes: Integers

    @classmethod
    def of(cls, half: Scores, scores: Scores, top_k: Sequence[int], code: Integers, strata: int) -> _HalfSets:
        members = memberships(np.abs(half @ scores), top_k)
        counts = np.empty((len(top_k), len(half), strata), dtype=np.int64)
        row = np.arange(len(half))[:, None]
        for k, member, count in zip(top_k, members, counts, strict=True):
            edges = np.flatnonzero(member).reshape(len(half), k) - row * member.shape[1]
            cells = code[edges] + row * strata
            count[:] = np.bincount(cells.ravel(), minlength=count.size).reshape(count.shape)
        return cls(np.packbits(members, axis=-1), counts, np.asarray(top_k))

    def jaccard(self, other: _HalfSets) -> Floats:
        """[splits, K]."""
        shared = np.bitwise_count(self.bits & other.bits).sum(axis=-1, dtype=np.int64).T
        return np.asarray(shared / (2 * self.sizes - shared))

    def chance(self, other: _HalfSets, stratum: Integers) -> Floats:
        """[splits, K]."""
        shared = (self.counts * other.counts / stratum).sum(axis=-1).T
        return np.asarray(shared / (2 * self.sizes - shared))
