"""The top-K edges of many weighted means at once, for all K of a grid, in blocks of bounded memory.

A row of weights is a bootstrap replicate (or a half of the prompts in one); its edge scores are weights @ scores. Of
10^5 edges a few hundred are wanted, so that no row is ever sorted: there is a threshold that a little more than K edges
exceed (`stats.edge_thresholds`), those that reach it are collected as the products come, and the K largest are selected
among them. Of edges that can't reach it in any row (`stats.edge_bounds`) there are no products. A row for which fewer
than K, or very many more, reach its threshold is done again without one: it decides what a row costs and never what
comes out.

Scores are magnitudes of weights @ scores, summed in float64 and rounded to the type of the scores. Sums in float32
would depend on the instructions of the processor in their last digits, and a set of edges with them; rounded to
float32, sums in any order are the same number, and edges whose magnitudes differ by rounding alone are equal. Of edges
of equal magnitude those that come first are taken, as :func:`stats.overlap.top_k` does; an edge of score 0 is in
no set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from stats.checks import Booleans, Floats, Integers, Scores
from stats.edge_thresholds import EdgeSample
from stats.score_blocks import BLOCK_BYTES, COLUMNS, ScoreBlocks, edges_per_block_of, weighted_sums

ROWS = 256
WORTHWHILE = 0.8
"""Share of the edges that may reach the thresholds, from which on all are taken: leaving some out costs a copy."""


@dataclass(frozen=True, slots=True)
class TopEdges:
    """The largest edges of every row, for sizes that ascend.

    Attributes:
        edge: Numbers of the edges among the largest of the sizes, [rows, largest size], ascending.
        level: Index of the smallest size whose set has the edge [rows, largest size]; the number of sizes where none
            has, since its score is 0.
        sizes: The sizes, ascending [K].
        edges: Number E of edges.
    """

    edge: NDArray[np.int32]
    level: NDArray[np.uint8]
    sizes: Integers
    edges: int

    def rows(self, part: slice) -> TopEdges:
        """Some of the rows."""
        return TopEdges(self.edge[part], self.level[part], self.sizes, self.edges)

    @property
    def members(self) -> Integers:
        """Number of edges in each set [rows, K]: the size, or fewer where fewer have a score other than 0."""
        return cumulated(self.level, len(self.sizes) + 1)[:, :-1]

    def jaccard(self, *others: TopEdges) -> list[Floats]:
        """Jaccard index with each of the others, row by row, at each size: [rows, K]; 0 where both sets are empty."""
        own, count, found = self.members, len(self.edge), [np.empty((len(self.edge), len(self.sizes))) for _ in others]
        step = max(1, BLOCK_BYTES // 8 // self.edges)
        place = np.full((min(step, count), self.edges), len(self.sizes), dtype=np.uint8)
        for start in range(0, count, step):
            part = slice(start, start + step)
            edge, level = self.edge[part], self.level[part]
            row = np.arange(len(edge))[:, None]
            place[row, edge] = level
            for other, result in zip(others, found, strict=True):
                both = np.maximum(place[row, other.edge[part]], other.level[part])
                shared = cumulated(both, len(self.sizes) + 1)[:, :-1]
                result[part] = shared / np.maximum(1, own[part] + other.members[part] - shared)
            place[row, edge] = len(self.sizes)
        return found

    def counts(self, strata: Integers, number: int) -> Integers:
        """Edges of each set in each stratum: [rows, K, strata], from the stratum of each edge [E]."""
        levels = len(self.sizes) + 1
        row = np.arange(len(self.edge))[:, None] * levels
        cells = (row + self.level) * number + strata[self.edge]
        counted = np.bincount(cells.ravel(), minlength=len(self.edge) * levels * number)
        return counted.reshape(len(self.edge), levels, number)[:, :-1].cumsum(axis=1)


def cumulated(level: NDArray[np.uint8], levels: int) -> Integers:
    """How many of each row have at most each level, [rows, levels]."""
    cells = np.arange(len(level))[:, None] * levels + level
    return np.bincount(cells.ravel(), minlength=len(level) * levels).reshape(len(level), levels).cumsum(axis=1)


def checked_sizes(top_k: Sequence[int], edges: int) -> Integers:
    """The sizes in ascending order.

    Raises:
        ValueError: if there are none or more than 255, or one is below 1 or above the number of edges.
    """
    for k in top_k:
        if not 1 <= k <= edges:
            raise ValueError(f"top_k: expected between 1 and {edges} (the number of edges), got {k}")
    if not 1 <= len(top_k) < 256:
        raise ValueError(f"top_k: expected 1 to 255 sizes, got {len(top_k)}")
    return np.sort(np.asarray(top_k, dtype=np.int64))


def rows_at_once(sizes: Integers, edges: int, block_bytes: int) -> int:
    """Rows whose top edges, and what they are selected from, fill about `block_bytes`."""
    return max(1, block_bytes // min(32 * int(sizes[-1]) + 8192, 16 * edges))


def top_edges(
    scores: ScoreBlocks,
    weights: ArrayLike,
    sizes: Integers,
    *,
    sample: EdgeSample | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> TopEdges:
    """The largest edges of every row of weights @ scores, by magnitude.

    Args:
        scores: Scores [n, E], finite.
        weights: [rows, n], >= 0, not all zero in a row.
        sizes: Sizes of the sets, ascending.
        sample: What :func:`stats.edge_thresholds.edge_sample` gives for these sizes; without it every row is done by
            itself, which is slow for many edges.
        block_bytes: Memory of one block of scores, approximately; changes no result.
    """
    edges, drawn = scores.shape[1], _scaled(weights)
    shape = (len(drawn), int(sizes[-1]))
    result = TopEdges(np.empty(shape, dtype=np.int32), np.empty(shape, dtype=np.uint8), sizes, edges)
    per_block = edges_per_block_of(scores, block_bytes)
    if sample is None:
        left = np.arange(len(drawn))
    else:
        floors = sample.thresholds(drawn)
        able = sample.bounds.may_reach(drawn, floors.astype(np.float64))
        left = _fill_from_candidates(scores, drawn, floors, able, result, per_block)
    step = max(1, block_bytes // (16 * edges))
    for start in range(0, len(left), step):
        rows = left[start : start + step]
        whole = np.empty((len(rows), edges), dtype=scores.dtype)
        for part, block in scores.blocks(per_block):
            whole[:, part] = weighted_sums(drawn[rows], block)
        result.edge[rows], result.level[rows] = _selected(np.abs(whole, out=whole), None, sizes)
    return result


def _scaled(weights: ArrayLike) -> Floats:
    """Weights whose sum in a row is at most 1, divided by a power of 2: so nothing overflows, and ties stay ties."""
    array = np.asarray(weights, dtype=np.float64)
    _, exponent = np.frexp(array.sum(axis=1, keepdims=True))
    return np.asarray(np.ldexp(array, -exponent))


@dataclass(slots=True)
class _Candidates:
    """Edges of a tile of rows that reach their thresholds, piece by piece of the edges, row by row within a piece.

    Attributes:
        numbers: How many there are in each row of the tile, `edge` their edges and `value` their magnitudes.
        number: How many there are.
    """

    numbers: list[Integers]
    edge: list[NDArray[np.int32]]
    value: list[Scores]
    number: int = 0


def _fill_from_candidates(
    scores: ScoreBlocks, weights: Floats, floors: Scores, able: Booleans, result: TopEdges, per_block: int
) -> Integers:
    """Select among the edges that reach their row's threshold; gives the rows for which that was not possible.

    Args:
        scores: Scores [n, E].
        weights: [rows, n].
        floors: The thresholds [rows].
        able: Whether an edge may reach one [E].
        result: Where to put the edges.
        per_block: Edges of a block of scores.
    """
    all_of_them = np.count_nonzero(able) > WORTHWHILE * len(able)
    count = int(result.sizes[-1])
    most = 4 * count + 4096
    starts = range(0, len(weights), ROWS)
    tiles = [_Candidates([], [], []) for _ in starts]
    types: dict[str, DTypeLike] = {"product": np.float64, "magnitudes": scores.dtype, "reached": np.bool_}
    room: dict[str, Any] = {name: np.empty(ROWS * COLUMNS, dtype) for name, dtype in types.items()}
    for part, whole in scores.blocks(per_block):
        edges, block = np.arange(part.start, part.stop, dtype=np.int32), whole
        if not all_of_them:
            edges = edges[able[part]]
            block = whole.take(edges - part.start, axis=1)
        for start, tile in zip(starts, tiles, strict=True):
            own, floor = weights[start : start + ROWS], floors[start : start + ROWS, None]
            for first in range(0, len(edges), COLUMNS):
                if tile.number <= most * len(own):
                    piece = slice(first, first + COLUMNS)
                    _collect(tile, own, block[:, piece], floor, edges[piece], **room)
    left = []
    for start, tile in zip(starts, tiles, strict=True):
        size = min(ROWS, len(weights) - start)
        rows = np.arange(start, start + size)
        if tile.number > most * size:
            left.append(rows)
            continue
        done = _select_tile(tile, size, most, rows, result)
        left.append(rows[~done])
    return np.concatenate(left)


def _collect(
    tile: _Candidates,
    weights: Floats,
    piece: Scores,
    floor: Scores,
    edges: NDArray[np.int32],
    *,
    product: Floats,
    magnitudes: Scores,
    reached: Booleans,
) -> None:
    rows, columns = len(weights), piece.shape[1]
    shape, size = (rows, columns), rows * columns
    product, magnitudes = product[:size].reshape(shape), magnitudes[:size].reshape(shape)
    mask = reached[:size].reshape(shape)
    np.matmul(weights, piece, out=product)
    np.abs(product, out=magnitudes)
    np.greater_equal(magnitudes, floor, out=mask)
    found = np.flatnonzero(mask)
    numbers = np.diff(np.searchsorted(found, np.arange(rows + 1) * columns))
    tile.numbers.append(numbers)
    first = np.repeat(np.arange(rows) * columns, numbers)
    tile.edge.append(edges.take(found - first))
    tile.value.append(magnitudes.ravel()[found])
    tile.number += len(found)


def _select_tile(tile: _Candidates, size: int, most: int, rows: Integers, result: TopEdges) -> Booleans:
    """Fill the rows of a tile that have enough candidates, and not too many; which these are [rows]."""
    total: Integers = np.sum(tile.numbers, axis=0) if tile.numbers else np.zeros(size, dtype=np.int64)
    usable: Booleans = (total >= result.sizes[-1]) & (total <= most)
    if not usable.any():
        return usable
    width = int(total[usable].max())
    values = np.full((size, width), -1, dtype=tile.value[0].dtype)
    edges = np.zeros((size, width), dtype=np.int32)
    filled = np.zeros(size, dtype=np.int64)
    for numbers, edge, value in zip(tile.numbers, tile.edge, tile.value, strict=True):
        # Where the candidates of each row go on, in the flat arrays; those of rows with too many are left out.
        begin = np.arange(size) * width + filled - (np.cumsum(numbers) - numbers)
        place = np.arange(len(value)) + np.repeat(begin, numbers)
        kept = slice(None) if usable.all() else np.repeat(usable, numbers)
        values.ravel()[place[kept]], edges.ravel()[place[kept]] = value[kept], edge[kept]
        filled += numbers
    chosen = rows[usable]
    result.edge[chosen], result.level[chosen] = _selected(values[usable], edges[usable], result.sizes)
    return usable


def _selected(
    values: Scores, edges: NDArray[np.int32] | None, sizes: Integers
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Edges and levels of the largest of each row, [rows, largest size], from candidates in the order of their edges.

    Args:
        values: Magnitudes [rows, candidates]; -1 for none.
        edges: Their edges; None where candidate j is edge j.
        sizes: Sizes of the sets, ascending.
    """
    width = values.shape[1]
    ordered = np.partition(values, np.unique(width - sizes), axis=1)
    level = np.zeros(values.shape, dtype=np.uint8)
    for k in sizes:
        level += values < ordered[:, width - k, None]
    tied = (cumulated(level, len(sizes) + 1)[:, :-1] != sizes).any(axis=1)
    for row in np.flatnonzero(tied):
        order = np.argsort(-values[row], kind="stable")
        level[row, order] = np.searchsorted(sizes, np.arange(width), side="right")
    # In the flat array, which is much faster than by row and column: every row has the same number of members.
    member = np.flatnonzero(level < len(sizes)).reshape(len(values), int(sizes[-1]))
    if edges is None:
        chosen = (member - np.arange(len(values))[:, None] * width).astype(np.int32)
    else:
        chosen = edges.ravel()[member]
    found = level.ravel()[member]
    found[values.ravel()[member] <= 0] = len(sizes)
    return chosen, found
