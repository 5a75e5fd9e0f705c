"""Thresholds that a little more than K edges of a weighted sum of scores reach, without its other edges.

Two of them, of which the higher is taken:

- Of the edges that are strongest on all prompts, a few more than two times K, the K-th largest in a row is one that K
  edges reach at least. Where edges differ in size it is close to the K-th largest of all.
- Where they do not, the quantile of a random sample of the edges, with four standard errors to spare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stats.checks import Floats, Integers, Scores
from stats.edge_bounds import EdgeBounds
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks, edges_per_block_of
from stats.seeding import generator

ROWS = 256
"""Rows of which products are made at once."""
SAMPLED = 2048
SAMPLED_SHARE = 32
STRONGEST = 256
"""Edges among the strongest beyond two times K."""
DEAREST = 2
"""Times the size of the sample that they may be."""
LOWERED = 1e-6
"""Share by which a threshold is lowered: the same sum may be rounded otherwise where it is made with other edges."""


@dataclass(frozen=True, slots=True)
class EdgeSample:
    """What thresholds come from, and which edges can reach them.

    Attributes:
        strongest: Scores of the edges that are strongest on all prompts [n, m], more than `count` of them; [n, 0] where
            so many cost more than they spare.
        random: Scores of a random sample of the edges [n, sample].
        bounds: Of all edges [E].
        count: Number K of edges that are to reach a threshold.
    """

    strongest: Scores
    random: Scores
    bounds: EdgeBounds
    count: int

    def thresholds(self, weights: Floats) -> Scores:
        """A threshold for every row of weights [rows, n], in the type of the scores."""
        expected = self.count * self.random.shape[1] / len(self.bounds.centre)
        spared = int(expected + 4 * np.sqrt(expected) + 4)
        found = np.zeros(len(weights), dtype=self.random.dtype)
        guessed = True
        for start in range(0, len(weights), ROWS):
            rows = slice(start, start + ROWS)
            if self.strongest.size:
                found[rows] = _reached_by(self.count, self.strongest, weights[rows]) * (1 - LOWERED)
            if guessed:
                other = _reached_by(spared, self.random, weights[rows])
                # Where the first rows do not need it, the others hardly do.
                guessed = bool(np.median(found[rows]) <= np.median(other))
                found[rows] = np.maximum(found[rows], other)
        return found


def _reached_by(count: int, scores: Scores, weights: Floats) -> Scores:
    """The magnitude that `count` edges reach in every row of weights @ scores [rows]; the smallest where all would."""
    place = max(0, scores.shape[1] - count)
    magnitudes = np.abs(weights @ scores).astype(scores.dtype)
    return np.asarray(np.partition(magnitudes, place, axis=1)[:, place])


def edge_sample(scores: ScoreBlocks, sizes: Integers, *, block_bytes: int = BLOCK_BYTES) -> EdgeSample | None:
    """What thresholds for sets of up to the largest of these sizes come from; None where there would be no gain."""
    n, edges = scores.shape
    count, number = int(sizes[-1]), max(SAMPLED, edges // SAMPLED_SHARE)
    if edges < 2 * number or count > edges // 3:
        return None
    bounds = EdgeBounds.of(scores, block_bytes=block_bytes)
    # Four standard errors of a mean over a quarter of the prompts above its value.
    strength = np.nan_to_num(bounds.centre + bounds.spread * (8 / n))
    most = 2 * count + STRONGEST
    # The sample knows a large part of the edges well enough.
    most = 0 if most > DEAREST * number else most
    strongest = np.sort(np.argpartition(-strength, most)[:most])
    chosen = np.sort(generator(0, "sample of edges").choice(edges, number, replace=False))
    parts: tuple[list[Scores], list[Scores]] = ([], [])
    for part, block in scores.blocks(edges_per_block_of(scores, block_bytes)):
        for found, wanted in zip(parts, (strongest, chosen), strict=True):
            first, last = np.searchsorted(wanted, (part.start, part.stop))
            found.append(block[:, wanted[first:last] - part.start])
    return EdgeSample(np.concatenate(parts[0], axis=1), np.concatenate(parts[1], axis=1), bounds, count)
