"""How far a weighting of the prompts can lift an edge: most edges never come near the largest, and need no products.

Of the scores s of an edge on n prompts let c be the mean and d = s - c what is left. For weights w of sum W,

    |w . s| = |W c + (w - W / n) . d| <= W |c| + |w - W / n| |d|

since the deviations of w and those of s sum to zero (Cauchy-Schwarz). Attributions differ between edges by orders of
magnitude, so that a quarter of them is left for the largest thousand of 70,000; where edges are alike, all are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.checks import Booleans, Floats
from stats.score_blocks import BLOCK_BYTES, COLUMNS, ScoreBlocks, edges_per_block_of

ROUNDING = 1e-6
"""What is added to a bound, relative to it: rounding to float32 lifts a magnitude by less."""
SMALLEST = 1e-150
"""What is added to |d|: squares of less can't be held."""


@dataclass(frozen=True, slots=True)
class EdgeBounds:
    """What bounds the magnitude of every edge's weighted sums.

    Attributes:
        centre: Magnitude of the mean score [E].
        spread: Length of the deviations from it [E].
    """

    centre: Floats
    spread: Floats

    @classmethod
    def of(cls, scores: ScoreBlocks, *, block_bytes: int = BLOCK_BYTES) -> EdgeBounds:
        """The bounds of scores [n, E]; what can't be computed is no number, and bounds nothing."""
        centre, spread = np.empty((2, scores.shape[1]))
        for part, block in scores.blocks(edges_per_block_of(scores, block_bytes)):
            for first in range(0, block.shape[1], COLUMNS):
                with np.errstate(over="ignore", invalid="ignore"):
                    wide = block[:, first : first + COLUMNS].astype(np.float64)
                    mean = wide.mean(axis=0)
                    wide -= mean
                    length = np.sqrt(np.einsum("ne,ne->e", wide, wide))
                place = slice(part.start + first, part.start + first + wide.shape[1])
                centre[place], spread[place] = np.abs(mean), length + SMALLEST
        return cls(centre, spread)

    def may_reach(self, weights: Floats, floors: Floats) -> Booleans:
        """Whether an edge's magnitude may reach its floor in a row [E]; false only where it does in none.

        Args:
            weights: [rows, n], >= 0, of which the sums are weights @ scores.
            floors: What is to be reached in each row [rows], >= 0.
        """
        total = weights.sum(axis=1)
        apart = np.linalg.norm(weights - total[:, None] / weights.shape[1], axis=1)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            of_centre, of_spread = ((size / floors).max() for size in (total, apart))
            highest = (of_centre * self.centre + of_spread * self.spread) * (1 + ROUNDING)
        # What is no number, as of a floor of zero, excludes nothing.
        return np.asarray(~(highest < 1))
