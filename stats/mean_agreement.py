"""Agreement of mean scores without a threshold, and by chance: what `stats.threshold_free` summarises.

Chance is the permutation of one side's edges within strata. It leaves sums and lengths as they are, so that the
expectations of cosine and Spearman correlation are exact, from sums by stratum; that of the weighted Jaccard is in
`stats.chance_minimum`.

Mean scores of many halves are made at once, as the scores are then read rarely; what is computed of them is computed a
few vectors at a time, which a processor keeps at hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.chance_minimum import expected_smaller
from stats.checks import Floats, Integers, block_sizes
from stats.half_bootstrap import HalfAgreement
from stats.ranks import average_ranks
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks, as_blocks, edges_per_block_of, weighted_sums
from stats.seeding import generator

MEASURES = ("weighted_jaccard", "spearman", "cosine")
SPLITS = 64
"""Splits whose means are made at once even where they need more memory than a block: scores are read so often less."""
LARGEST = 8
"""Blocks that these may fill at most."""
AT_HAND = 2**17
"""Numbers of the vectors that are compared at once: 1 MB."""


def half_agreement(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    first: Floats,
    second: Floats,
    *,
    sizes: Integers,
    order: Integers | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> HalfAgreement:
    """Agreement for given halves, as weights of the rows, in the order of :data:`MEASURES`; NaN without spread.

    Args:
        before: Scores [n, E] of the model before, an array or read in blocks of edges.
        after: Scores [n, E] of the model after.
        first: Weights of the rows in the first half [splits, n], >= 0, not all zero in a split.
        second: Weights of the rows in the second half [splits, n].
        sizes: Number of edges of each stratum, in their order.
        order: The edges, those of a stratum adjacent [E]; None where they are so already.
        block_bytes: Memory of one block of scores and of half means, approximately; changes no result but for rounding.
    """
    models = as_blocks(before, "before"), as_blocks(after, "after")
    edges = models[0].shape[1]
    results = np.empty((4, len(first), len(MEASURES)))
    step = _splits_at_once(edges, block_bytes)
    for start in range(0, len(first), step):
        block = slice(start, start + step)
        weights = np.concatenate([half[block] / half[block].sum(axis=1, keepdims=True) for half in (first, second)])
        of_before, of_after = (_means(scores, weights, order, block_bytes) for scores in models)
        splits = len(weights) // 2
        halves = of_before[:splits], of_before[splits:], of_after[:splits], of_after[splits:]
        b1, b2, a1, a2 = halves
        smaller = expected_smaller(((b1, a2), (b2, a1)), sizes)
        found = results[:, block]
        for few in _slices(splits, edges):
            _compare([_Means.of(half[few]) for half in halves], sizes, smaller[:, few], found[:, few])
    between, ceiling_before, ceiling_after, null = results
    return HalfAgreement(between=between, ceiling_before=ceiling_before, ceiling_after=ceiling_after, null=null)


def _splits_at_once(edges: int, block_bytes: int) -> int:
    """Splits whose means are in memory at once: four halves each."""
    own = 4 * 8 * edges
    return max(1, block_bytes // own, min(SPLITS, LARGEST * block_bytes // own))


def _slices(rows: int, edges: int) -> Iterator[slice]:
    step = max(1, AT_HAND // edges)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _means(scores: ScoreBlocks, weights: Floats, order: Integers | None, block_bytes: int) -> Floats:
    """weights @ scores [rows, E], the edges in some order."""
    found = np.empty((len(weights), scores.shape[1]))
    for part, block in scores.blocks(edges_per_block_of(scores, block_bytes)):
        weighted_sums(weights, block, found[:, part])
    if order is not None:
        for row in found:
            row[...] = row.take(order)
    return found


def _compare(halves: Sequence[_Means], sizes: Integers, smaller: Floats, found: Floats) -> None:
    """Fill between, both ceilings and chance, [4, rows, measures].

    Args:
        halves: The model before on the first and on the second halves b1 and b2, and the model after a1 and a2.
        sizes: Number of edges of each stratum.
        smaller: Expected sum of the smaller magnitudes of b1 and a2, and of b2 and a1 [2, rows].
        found: Where to put it.
    """
    b1, b2, a1, a2 = halves
    found[0] = (b1.agreement(a2) + b2.agreement(a1)) / 2
    found[1] = b1.agreement(b2)
    found[2] = a1.agreement(a2)
    found[3] = (b1.chance(a2, sizes, smaller[0]) + b2.chance(a1, sizes, smaller[1])) / 2


@dataclass(frozen=True, slots=True)
class _Means:
    """Mean scores [rows, E] as the measures need them: values, magnitudes, ranks from their mean.

    Attributes:
        total: Sum of the magnitudes [rows], `length` of the values and `spread` of the ranks as vectors.
    """

    values: Floats
    magnitudes: Floats
    ranks: Floats
    total: Floats
    length: Floats
    spread: Floats

    @classmethod
    def of(cls, values: Floats) -> _Means:
        ranks = average_ranks(values)
        ranks -= (values.shape[-1] + 1) / 2
        magnitudes = np.abs(values)
        return cls(values, magnitudes, ranks, magnitudes.sum(axis=-1), _length(values), _length(ranks))

    def moved(self, order: Integers) -> _Means:
        """The only row with its edges in other orders [rows, E]."""
        values = self.values[0].take(order)
        return _Means(values, np.abs(values), self.ranks[0].take(order), self.total, self.length, self.spread)

    def agreement(self, other: _Means) -> Floats:
        """[rows, measures]."""
        shared = np.minimum(self.magnitudes, other.magnitudes).sum(axis=-1)
        return self._scaled(other, shared, _product(self.ranks, other.ranks), _product(self.values, other.values))

    def chance(self, other: _Means, sizes: Integers, smaller: Floats) -> Floats:
        """[rows, measures]: expectations when the other's edges are permuted within strata of these sizes.

        Args:
            other: The other.
            sizes: Number of edges of each stratum, in their order.
            smaller: Expected sum of the smaller magnitudes [rows].
        """
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        ranks, values = (
            (np.add.reduceat(x, starts, axis=-1) * np.add.reduceat(y, starts, axis=-1) / sizes).sum(axis=-1)
            for x, y in ((self.ranks, other.ranks), (self.values, other.values))
        )
        return self._scaled(other, smaller, ranks, values)

    def _scaled(self, other: _Means, shared: Floats, ranks: Floats, values: Floats) -> Floats:
        total = self.total + other.total
        lengths = self.spread * other.spread, self.length * other.length
        # Rounding must not show as a correlation above one; zero over zero stays what it is.
        with np.errstate(divide="ignore", invalid="ignore"):
            correlations = [np.clip(x / length, -1, 1) for x, length in zip((ranks, values), lengths, strict=True)]
            return np.stack([shared / (total - shared), *correlations], axis=-1)


def _product(one: Floats, other: Floats) -> Floats:
    """Inner product of each row with the other's [rows]; as a sum, which does not depend on the number of threads."""
    return np.asarray((one * other).sum(axis=-1))


def _length(vectors: Floats) -> Floats:
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def permuted_agreement(a: Floats, b: Floats, sizes: Integers, permutations: int, seed: int) -> tuple[Floats, Floats]:
    """The measures [3] of two vectors of scores [E], and with the second permuted within strata [permutations, 3].

    Args:
        a: Scores, the edges of a stratum adjacent; `b` likewise.
        sizes: Number of edges of each stratum, in their order.
        permutations: Number of draws.
        seed: Seed of the analysis.
    """
    one, two = _Means.of(a[None]), _Means.of(b[None])
    rng = generator(seed, "threshold-free permutation null")
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    drawn = []
    for draws in block_sizes(permutations, len(a)):
        order = np.tile(np.arange(len(a)), (draws, 1))
        for start, stop in itertools.pairwise(bounds):
            order[:, start:stop] = rng.permuted(order[:, start:stop], axis=1)
        drawn += [one.agreement(two.moved(order[few])) for few in _slices(draws, len(a))]
    return one.agreement(two)[0], np.concatenate(drawn)
