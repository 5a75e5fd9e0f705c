"""Overlap between and within models at half of the prompts each, on disjoint halves.

A model's overlap with itself on two disjoint halves of the prompts is the ceiling that another model can reach; the
comparison between models uses the same halves, so that all three see the same number of prompts and never the same
prompt twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Booleans, Floats, Integers, codes, known_labels
from stats.edge_thresholds import edge_sample
from stats.node_sets import EdgeNodes, TopNodes
from stats.options import Count, Seed, checked
from stats.overlap import lacking_edges, stratum_sizes
from stats.score_blocks import BLOCK_BYTES, InMemory, ScoreBlocks, as_blocks, edges_with_scores
from stats.seeding import generator
from stats.top_edges import TopEdges, checked_sizes, rows_at_once, top_edges

Sets = TypeVar("Sets", TopEdges, TopNodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitHalfOverlap:
    """Top-K Jaccard on halves, all arrays [splits, K].

    Attributes:
        top_k: Sizes of the sets, in the order of the last axis.
        between: Mean of J(before, first half; after, second half) and of J(before, second; after, first).
        ceiling_before: J of the model before, first against second half (`ceiling_after`: of the model after).
        null: Chance level of `between` within strata (:func:`stats.overlap.expected_jaccard_within_strata`);
            without strata, over all edges.
        members: Edges in the smallest of the four sets: K, or fewer where fewer have a score other than 0 in a half of
            the prompts. Such edges are in no set: they would be shared by their position only.
        touched: Of sets of nodes, how many the smallest of the four has; None for sets of edges.
        nodes: The same of the nodes that these edges touch, where it was asked for.
    """

    top_k: tuple[int, ...]
    between: Floats
    ceiling_before: Floats
    ceiling_after: Floats
    null: Floats
    members: Integers
    touched: Integers | None = None
    nodes: SplitHalfOverlap | None = None

    def lacking(self, place: int) -> str:
        """Why the overlap at a size is undefined: a half without so many edges with a score; empty where it is not."""
        k = self.top_k[place]
        if self.touched is not None and not self.touched[:, place].all():
            return f"K = {k}: the edges of a half of the prompts touch none of the nodes"
        return lacking_edges(k, int(self.members[:, place].min()), " in a half of the prompts")


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
    rows = np.arange(n) if examples is None else known_labels(examples, "examples")
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


def both_halves(chosen: Prompts, splits: int, seed: int) -> Booleans:
    """Random halves of the rows that are never empty [splits, n]: those of :func:`draw_halves`, as far as they can be.

    Where the rows are few of many examples, all may fall into one half: such a split is drawn anew, evenly among the
    rows by themselves.

    Raises:
        ValueError: if there are fewer than two rows.
    """
    n = len(chosen.rows)
    if n < 2:
        raise ValueError(f"expected prompts in both halves of every split, got only {n} prompt(s)")
    halves = draw_halves(chosen, splits, generator(seed, "split halves"))
    empty = np.flatnonzero(halves.all(axis=1) | ~halves.any(axis=1))
    if empty.size:
        alone = Prompts(rows=np.arange(n), total=n, templates=chosen.templates[chosen.rows])
        halves[empty] = draw_halves(alone, empty.size, generator(seed, "split halves of few prompts"))
    return halves


def half_overlaps(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    first: ArrayLike,
    second: ArrayLike,
    *,
    top_k: Sequence[int],
    strata: ArrayLike | None = None,
    nodes: EdgeNodes | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> SplitHalfOverlap:
    """Overlaps for given halves, as weights of the rows; in blocks of bounded memory.

    Args:
        before: Scores [n, E] of the model before, an array or read in blocks.
        after: Scores [n, E] of the model after.
        first: Weights of the rows in the first half [splits, n], >= 0, not all zero in a split.
        second: Weights of the rows in the second half [splits, n].
        top_k: Sizes of the sets.
        strata: Stratum of each edge [E]; None for one stratum.
        nodes: The nodes that each edge touches, if the overlap of nodes is wanted as well.
        block_bytes: Memory of one block of scores and of what is kept of them, approximately; changes no result.
    """
    models = as_blocks(before, "before"), as_blocks(after, "after")
    edges = models[0].shape[1]
    code, stratum = stratum_sizes(np.zeros(edges, dtype=np.int64) if strata is None else strata, edges)
    sizes = checked_sizes(top_k, edges)
    samples = [edge_sample(scores, sizes, block_bytes=block_bytes) for scores in models]
    weights = np.asarray(first), np.asarray(second)
    splits = len(weights[0])
    touching = None if nodes is None else nodes.of_edges(edges)
    results = np.empty((5, splits, len(sizes)))
    of_nodes = np.empty((5 if touching is not None else 0, splits, len(sizes)))
    widest = len(stratum) if touching is None else len(stratum) + 4 * len(touching.sizes) + len(touching.strata)
    step = max(1, min(rows_at_once(sizes, edges, block_bytes) // 4, block_bytes // (8 * len(sizes) * widest)))
    for start in range(0, splits, step):
        block = slice(start, start + step)
        rows = np.concatenate([half[block] for half in weights])
        one, two = slice(0, len(rows) // 2), slice(len(rows) // 2, None)
        of_before, of_after = (
            top_edges(scores, rows, sizes, sample=sample, block_bytes=block_bytes)
            for scores, sample in zip(models, samples, strict=True)
        )
        b1, b2, a1, a2 = (of.rows(half) for of in (of_before, of_after) for half in (one, two))
        results[:, block] = _compared(b1, b2, a1, a2, code, stratum)
        if touching is not None:
            n1, n2, m1, m2 = (touching.touched(half) for half in (b1, b2, a1, a2))
            of_nodes[:, block] = _compared(n1, n2, m1, m2, touching.strata, touching.sizes)
    order = np.searchsorted(sizes, top_k)
    edge_sets, node_sets = results[:, :, order], of_nodes[:, :, order]
    members = edge_sets[4].astype(np.int64)
    found = _overlap(top_k, node_sets, members, touched=True) if touching is not None else None
    return _overlap(top_k, edge_sets, members, nodes=found)


def _compared(b1: Sets, b2: Sets, a1: Sets, a2: Sets, strata: Integers, sizes: Integers) -> Floats:
    """Between, both ceilings, chance and the size of the smallest set, [5, splits, K].

    Args:
        b1: Sets of the model before on the first halves (`b2`: on the second; `a1`, `a2`: of the model after).
        strata: Stratum of each edge or node.
        sizes: Number of edges or nodes in each stratum.
    """
    between, ceiling_before = b1.jaccard(a2, b2)
    other, ceiling_after = a1.jaccard(b2, a2)
    in_b1, in_b2, in_a1, in_a2 = (half.counts(strata, len(sizes)) for half in (b1, b2, a1, a2))
    chance = (_chance(in_b1, in_a2, sizes) + _chance(in_b2, in_a1, sizes)) / 2
    smallest = np.min([half.members for half in (b1, b2, a1, a2)], axis=0)
    return np.stack([(between + other) / 2, ceiling_before, ceiling_after, chance, smallest])


def _overlap(
    top_k: Sequence[int],
    found: Floats,
    members: Integers,
    *,
    touched: bool = False,
    nodes: SplitHalfOverlap | None = None,
) -> SplitHalfOverlap:
    between, ceiling_before, ceiling_after, null, smallest = found
    return SplitHalfOverlap(
        top_k=tuple(top_k),
        between=between,
        ceiling_before=ceiling_before,
        ceiling_after=ceiling_after,
        null=null,
        members=members,
        touched=smallest.astype(np.int64) if touched else None,
        nodes=nodes,
    )


def _chance(first: Integers, second: Integers, stratum: Integers) -> Floats:
    """Jaccard by chance [rows, K] of sets with so many members in each stratum [rows, K, strata]."""
    shared = (first * second / stratum).sum(axis=-1)
    return np.asarray(shared / np.maximum(1, first.sum(axis=-1) + second.sum(axis=-1) - shared))


@checked
def split_half_overlap(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    *,
    top_k: Sequence[Count],
    strata: ArrayLike | None = None,
    templates: ArrayLike | None = None,
    splits: Count = 50,
    seed: Seed = 0,
    examples: ArrayLike | None = None,
    total: Count | None = None,
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
    n = a.shape[0]
    for scores, name in ((a, "before"), (b, "after")):
        edges_with_scores(scores, name)
    chosen = prompts(n, examples=examples, total=total, templates=templates)
    first = both_halves(chosen, splits, seed)
    return half_overlaps(a, b, first, ~first, top_k=top_k, strata=strata)


def paired_scores(before: ArrayLike | ScoreBlocks, after: ArrayLike | ScoreBlocks) -> tuple[ScoreBlocks, ScoreBlocks]:
    """Both score matrices [n, E]; arrays in the wider of their types.

    Raises:
        ValueError: if the shapes differ, there are fewer than two prompts, or a score of an array is not finite.
    """
    a, b = as_blocks(before, "before"), as_blocks(after, "after")
    if a.shape != b.shape:
        raise ValueError(f"expected the same prompts and edges before and after, got shapes {a.shape} and {b.shape}")
    if a.shape[0] < 2:
        raise ValueError(f"before: expected at least 2 prompts to split, got {a.shape[0]}")
    if isinstance(a, InMemory) and isinstance(b, InMemory):
        wider = np.result_type(a.array, b.array)
        return InMemory(a.array.astype(wider, copy=False)), InMemory(b.array.astype(wider, copy=False))
    return a, b
