"""Products of prompts' scores, summed over all edges: all that a comparison of mean score vectors needs to know.

For scores a_i of one model and b_i of another, i = 1..n prompts, the three matrices [n, n] of a_i . a_j, b_i . b_j and
a_i . b_j hold every inner product of sums over prompts. They are added up over blocks of edges, so that scores need not
fit into memory; n is small beside the number of edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.checks import Floats, Integers, Scores
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks

MOST_UNITS = 1000
"""Units of which products are kept; of more prompts, neighbours of the same template are summed beforehand."""
COLUMNS = 16384
"""Edges of which a float64 copy is made at once."""


@dataclass(frozen=True, slots=True)
class MeanProducts:
    """Products of every two units' scores [units, units]: within each model, and between them (before x after)."""

    before: Floats
    after: Floats
    between: Floats

    @classmethod
    def of(
        cls, before: ScoreBlocks, after: ScoreBlocks, unit: Integers | None = None, *, block_bytes: int = BLOCK_BYTES
    ) -> MeanProducts:
        """The products of units' sums.

        Args:
            before: Scores [n, E] of one model; `after` of the other, of the same prompts in the same order.
            unit: Number of the unit that each row belongs to [n], from 0; None where every row is one.
            block_bytes: Memory of one block of scores, approximately; changes no result but for rounding.
        """
        n = before.shape[0]
        units = n if unit is None else int(unit.max()) + 1
        found = [np.zeros((units, units)) for _ in range(3)]
        edges = max(1, min(before.shape[1], block_bytes // (2 * n * before.dtype.itemsize)))
        for (_, a), (_, b) in zip(before.blocks(edges), after.blocks(edges), strict=True):
            for start in range(0, a.shape[1], COLUMNS):
                x, y = (_summed(block[:, start : start + COLUMNS], unit, units) for block in (a, b))
                for place, (one, two) in enumerate(((x, x), (y, y), (x, y))):
                    found[place] += one @ two.T
        return cls(*found)


def _summed(scores: Scores, unit: Integers | None, units: int) -> Floats:
    wide = scores.astype(np.float64)
    if unit is None:
        return wide
    order = np.argsort(unit, kind="stable")
    starts = np.searchsorted(unit[order], np.arange(units))
    return np.asarray(np.add.reduceat(wide[order], starts, axis=0))


def neighbours(group: Integers, most: int = MOST_UNITS) -> Integers | None:
    """Number of the unit of each of more than `most` rows, neighbours of the same group together; None of fewer."""
    n = len(group)
    if n <= most:
        return None
    size = -(-n // most)
    order = np.argsort(group, kind="stable")
    ranked = group[order]
    place = np.arange(n) - np.searchsorted(ranked, ranked)
    new = np.r_[True, (ranked[1:] != ranked[:-1]) | (place[1:] % size == 0)]
    unit = np.empty(n, dtype=np.int64)
    unit[order] = np.cumsum(new) - 1
    return unit


def noise_ratio(before: ScoreBlocks, after: ScoreBlocks, *, block_bytes: int = BLOCK_BYTES) -> float | None:
    """Noise of one prompt's scores relative to the length of the mean, after over before (of standard deviations).

    None where a model's mean does not show in the products of different prompts, or the one before has no noise.
    """
    relative = [_relative_noise(scores, block_bytes) for scores in (before, after)]
    if relative[0] is None or relative[1] is None or relative[0] <= 0:
        return None
    return float(np.sqrt(relative[1] / relative[0]))


def _relative_noise(scores: ScoreBlocks, block_bytes: int) -> float | None:
    """Variance of a prompt's scores, summed over edges, over the squared length of the true mean."""
    signal, noise = signal_and_noise(scores, block_bytes=block_bytes)
    return max(noise, 0.0) / signal if signal > 0 else None


def signal_and_noise(scores: ScoreBlocks, *, block_bytes: int = BLOCK_BYTES) -> tuple[float, float]:
    """Squared length of the true mean scores, and the variance of a prompt's scores summed over edges.

    The mean product of the scores of two different prompts, and what that of each with itself has beyond it.
    """
    n = scores.shape[0]
    squares = length = 0.0
    for _, block in scores.blocks(max(1, block_bytes // (n * scores.dtype.itemsize))):
        for start in range(0, block.shape[1], COLUMNS):
            wide = block[:, start : start + COLUMNS].astype(np.float64)
            squares += float((wide**2).sum())
            length += float((wide.sum(axis=0) ** 2).sum())
    signal = (length - squares) / (n * (n - 1))
    return signal, squares / n - signal
