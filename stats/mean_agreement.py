"""Agreement of mean scores without a threshold, and by chance: what `stats.threshold_free` summarises.

Chance is the permutation of one side's edges within strata. It leaves sums and lengths as they are, so that the
expectations of cosine and Spearman correlation are exact, from sums by stratum. The sum of the smaller magnitudes over
all pairs of a stratum is L(pooled) - L(a) - L(b) with L(z) = sum_k (m - k) z_(k), k = 1..m ascending; the chance level
of the weighted Jaccard is a first-order approximation, expected minimum over expected maximum.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from stats.checks import Floats, Integers, Scores, block_sizes
from stats.half_bootstrap import HalfAgreement
from stats.score_blocks import BLOCK_BYTES, weighted_sums
from stats.seeding import generator

MEASURES = ("weighted_jaccard", "spearman", "cosine")


def half_agreement(
    before: Scores,
    after: Scores,
    first: Floats,
    second: Floats,
    *,
    sizes: Integers,
    block_bytes: int = BLOCK_BYTES,
) -> HalfAgreement:
    """Agreement for given halves, as weights of the rows, in the order of :data:`MEASURES`; NaN without spread.

    Args:
        before: Scores [n, E] of the model before, the edges of a stratum adjacent.
        after: Scores [n, E] of the model after.
        first: Weights of the rows in the first half [splits, n], >= 0, not all zero in a split.
        second: Weights of the rows in the second half [splits, n].
        sizes: Number of edges of each stratum, in their order.
        block_bytes: Memory of one block of half means, approximately.
    """
    results = np.empty((4, len(first), len(MEASURES)))
    # Four halves with values, magnitudes and ranks each.
    step = max(1, block_bytes // (4 * 3 * before.shape[1] * 8))
    for start in range(0, len(first), step):
        block = slice(start, start + step)
        weights = [half[block] / half[block].sum(axis=1, keepdims=True) for half in (first, second)]
        b1, b2, a1, a2 = (_Means.of(weighted_sums(half, scores)) for scores in (before, after) for half in weights)
        results[0, block] = (b1.agreement(a2) + b2.agreement(a1)) / 2
        results[1, block] = b1.agreement(b2)
        results[2, block] = a1.agreement(a2)
        results[3, block] = (b1.chance(a2, sizes) + b2.chance(a1, sizes)) / 2
    between, ceiling_before, ceiling_after, null = results
    return HalfAgreement(between=between, ceiling_before=ceiling_before, ceiling_after=ceiling_after, null=null)


@dataclass(frozen=True, slots=True)
class _Means:
    """Mean scores [rows, E] as the measures need them: values, magnitudes, ranks from their mean."""

    values: Floats
    magnitudes: Floats
    ranks: Floats

    @classmethod
    def of(cls, values: Floats) -> _Means:
        ranks = scipy_stats.rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2
        return cls(values, np.abs(values), ranks)

    def agreement(self, other: _Means) -> Floats:
        """[rows, measures]."""
        shared = np.minimum(self.magnitudes, other.magnitudes).sum(axis=-1)
        ranks, values = (self.ranks * other.ranks).sum(axis=-1), (self.values * other.values).sum(axis=-1)
        return self._scaled(other, shared, ranks, values)

    def chance(self, other: _Means, sizes: Integers) -> Floats:
        """[rows, measures]: expectations when the other's edges are permuted within strata of these sizes."""
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        ranks, values = (
            (np.add.reduceat(x, starts, axis=-1) * np.add.reduceat(y, starts, axis=-1) / sizes).sum(axis=-1)
            for x, y in ((self.ranks, other.ranks), (self.values, other.values))
        )
        shared = np.zeros(len(self.values))
        for start, size in zip(starts, sizes, strict=True):
            a, b = (x.magnitudes[:, start : start + size] for x in (self, other))
            shared += (_smaller(np.concatenate([a, b], axis=1)) - _smaller(a) - _smaller(b)) / size
        return self._scaled(other, shared, ranks, values)

    def _scaled(self, other: _Means, shared: Floats, ranks: Floats, values: Floats) -> Floats:
        total = self.magnitudes.sum(axis=-1) + other.magnitudes.sum(axis=-1)
        lengths = [
            np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
            for x, y in ((self.ranks, other.ranks), (self.values, other.values))
        ]
        # Rounding must not show as a correlation above one; zero over zero stays what it is.
        with np.errstate(divide="ignore", invalid="ignore"):
            correlations = [np.clip(x / length, -1, 1) for x, length in zip((ranks, values), lengths, strict=True)]
            return np.stack([shared / (total - shared), *correlations], axis=-1)


def _smaller(values: Floats) -> Floats:
    """Sum of the smaller of every pair within each row [rows]."""
    m = values.shape[1]
    return np.asarray(np.sort(values, axis=1) @ np.arange(m - 1, -1, -1, dtype=np.float64))


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
        moved = _Means(two.values[0, order], two.magnitudes[0, order], two.ranks[0, order])
        drawn.append(one.agreement(moved))
    return one.agreement(two)[0], np.concatenate(drawn)
