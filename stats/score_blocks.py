"""Scores [n, E] that need not fit into memory: read a block of edges at a time, as often as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, Scores, as_scores

BLOCK_BYTES = 64 * 1024 * 1024


@runtime_checkable
class ScoreBlocks(Protocol):
    """Scores [n, E] that are read a block of edges at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[n, E]."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""

    def blocks(self, edges_per_block: int) -> Iterator[tuple[slice, Scores]]:
        """(edges, [n, edges of the block]) in the order of the edges."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """Scores [n, E] that are there already: one block."""

    array: Scores

    @property
    def shape(self) -> tuple[int, ...]:
        """[n, E]."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the scores."""
        return self.array.dtype

    def blocks(self, edges_per_block: int) -> Iterator[tuple[slice, Scores]]:
        """The whole array, whatever was asked for."""
        yield slice(0, self.array.shape[1]), self.array


def as_blocks(scores: ArrayLike | ScoreBlocks, name: str) -> ScoreBlocks:
    """Scores [n, E] as blocks: an array is one, anything else has `shape`, `dtype` and `blocks` already.

    Raises:
        ValueError: if an array has another number of dimensions or is empty. Whether scores are finite is not checked.
    """
    if isinstance(scores, ScoreBlocks):
        return scores
    return InMemory(as_scores(scores, name, dimensions=2))


def edges_with_scores(scores: ScoreBlocks, name: str, *, block_bytes: int = BLOCK_BYTES) -> int:
    """Number of edges that have a score other than zero.

    Raises:
        ValueError: if a score is not finite.
    """
    found, bad = 0, 0
    for _, block in scores.blocks(edges_per_block_of(scores, block_bytes)):
        bad += block.size - int(np.count_nonzero(np.isfinite(block)))
        found += int(np.count_nonzero(block.any(axis=0)))
    if bad:
        raise ValueError(f"{name}: expected finite numbers, got {bad} NaN or infinite of {np.prod(scores.shape)}")
    return found


def mean_scores(scores: ScoreBlocks, block_bytes: int = BLOCK_BYTES) -> Floats:
    """Mean over the prompts [E], summed in float64."""
    found = np.empty(scores.shape[1])
    for part, block in scores.blocks(edges_per_block_of(scores, block_bytes)):
        found[part] = block.mean(axis=0, dtype=np.float64)
    return found


def edges_per_block_of(scores: ScoreBlocks, block_bytes: int) -> int:
    """Edges of a block of about `block_bytes`."""
    return max(1, block_bytes // (scores.shape[0] * scores.dtype.itemsize))


COLUMNS = 2048
"""Edges of which :func:`weighted_sums` makes a float64 copy at once."""


def weighted_sums(weights: Floats, scores: Scores, found: Floats | None = None) -> Floats:
    """weights [rows, n] @ scores [n, E], summed in float64 without a float64 copy of all scores.

    A sum in float32 has the rounding of one processor in its last digits, and ranks and sets of edges with it.

    Args:
        weights: Weights of the rows.
        scores: The scores.
        found: Where to put the sums [rows, E]; a new array unless given.
    """
    if found is None:
        found = np.empty((len(weights), scores.shape[1]))
    for start in range(0, scores.shape[1], COLUMNS):
        np.matmul(weights, scores[:, start : start + COLUMNS], out=found[:, start : start + COLUMNS])
    return found
