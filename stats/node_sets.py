"""The nodes that a set of edges touches: a circuit as heads and MLPs, for all sizes K and many sets of edges at once.

Two circuits can share few of their edges and most of their nodes. A set of nodes is made from a set of edges, so it
has the same halves of the prompts, replicates and sizes K as the edges; K counts edges.

Chance. Edges of a node are not exchangeable: circuits have hubs, and the same number of edges at random places touches
many more nodes, up to all of them, so that permuted edges would put chance above the ceiling. What is placed at random
are the nodes: as many of each stratum (e.g. heads of the early layers) as each set has. That is the chance level of
the edges with nodes in their place (:func:`stats.overlap.expected_jaccard_within_strata`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stats.checks import Booleans, Floats, Integers, as_scores, known_labels
from stats.minimums import enough_permutations
from stats.options import Count, Seed, checked
from stats.overlap import OverlapNull, lacking_edges, memberships, placed_at_random
from stats.seeding import generator
from stats.top_edges import TopEdges, cumulated


class EdgeNodes:
    """Which nodes each edge touches, and the strata within which nodes are exchangeable.

    Attributes:
        nodes: Numbers of the nodes that each edge touches [E, W], 0..N-1; -1 where there are fewer than W.
        strata: Stratum of each node [N], as integers 0..S-1, and `sizes` the number of nodes in each [S].
    """

    __slots__ = ("nodes", "sizes", "strata")

    def __init__(self, nodes: ArrayLike, strata: ArrayLike) -> None:
        """Check and keep both.

        Args:
            nodes: Numbers of the nodes that each edge touches [E, W]; -1 for none.
            strata: Stratum of each node [N], any labels.

        Raises:
            ValueError: if the shapes or types are others, or a number is not that of a node.
        """
        touched, labels = np.asarray(nodes), known_labels(strata, "strata")
        if touched.ndim != 2 or touched.dtype.kind not in "iu" or touched.size == 0:
            raise ValueError(f"nodes: expected integers [edges, width], got {touched.dtype} of shape {touched.shape}")
        if labels.ndim != 1 or labels.size == 0:
            raise ValueError(f"strata: expected one for each node, got shape {labels.shape}")
        if touched.min() < -1 or touched.max() >= len(labels):
            expected = f"-1 or 0 to {len(labels) - 1}, the numbers of the nodes that have a stratum"
            raise ValueError(f"nodes: expected {expected}, got {touched.min()} to {touched.max()}")
        _, code, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        self.nodes: Integers = touched.astype(np.int64)
        self.strata: Integers = code.astype(np.int64)
        self.sizes: Integers = sizes.astype(np.int64)

    def of_edges(self, edges: int) -> EdgeNodes:
        """Itself, if it is of so many edges.

        Raises:
            ValueError: if not.
        """
        if len(self.nodes) != edges:
            raise ValueError(f"nodes: expected a row for each of {edges} edges, got {len(self.nodes)}")
        return self

    def of(self, member: Booleans) -> Booleans:
        """The nodes that some edges touch [N], from which edges these are [E]."""
        found = np.zeros(len(self.strata) + 1, dtype=np.bool_)
        found[self.nodes[member]] = True
        return found[:-1]

    def touched(self, top: TopEdges) -> TopNodes:
        """The nodes that the largest edges of every row touch, at every size."""
        none, width = len(top.sizes), len(self.strata) + 1
        # The number -1 is the last column, which is then left out.
        level = np.full((len(top.edge), width), none, dtype=np.uint8)
        column = self.nodes % width
        for size in range(none - 1, -1, -1):
            # Smaller sets come last: a node keeps the smallest that touches it. Flat places are much faster than rows.
            member = np.flatnonzero(top.level == size)
            place = column.take(top.edge.ravel()[member], axis=0)
            place += (member // top.level.shape[1] * width)[:, None]
            level.ravel()[place.ravel()] = size
        return TopNodes(np.ascontiguousarray(level[:, :-1]), top.sizes)


@dataclass(frozen=True, slots=True)
class TopNodes:
    """The nodes that the largest edges of every row touch.

    Attributes:
        level: Index of the smallest size whose edges touch the node [rows, N]; the number of sizes where none do.
        sizes: The sizes of the sets of edges, ascending [K].
    """

    level: NDArray[np.uint8]
    sizes: Integers

    @property
    def members(self) -> Integers:
        """Number of nodes in each set [rows, K]."""
        return cumulated(self.level, len(self.sizes) + 1)[:, :-1]

    def jaccard(self, *others: TopNodes) -> list[Floats]:
        """Jaccard index with each of the others, row by row, at each size: [rows, K]; 0 where both sets are empty."""
        own, found = self.members, []
        for other in others:
            shared = cumulated(np.maximum(self.level, other.level), len(self.sizes) + 1)[:, :-1]
            found.append(np.asarray(shared / np.maximum(1, own + other.members - shared)))
        return found

    def counts(self, strata: Integers, number: int) -> Integers:
        """Nodes of each set in each stratum: [rows, K, strata], from the stratum of each node [N]."""
        levels = len(self.sizes) + 1
        row = np.arange(len(self.level))[:, None] * levels
        cells = (row + self.level) * number + strata
        counted = np.bincount(cells.ravel(), minlength=len(self.level) * levels * number)
        return counted.reshape(len(self.level), levels, number)[:, :-1].cumsum(axis=1)


@checked
def node_permutation_null(
    before: ArrayLike,
    after: ArrayLike,
    nodes: EdgeNodes,
    top_k: Sequence[Count],
    *,
    permutations: Count = 1000,
    seed: Seed = 0,
) -> tuple[OverlapNull, ...]:
    """Chance overlap of the nodes that two models' top-K edges touch, when nodes are exchangeable within strata.

    Args:
        before: Scores [E].
        after: Scores [E].
        nodes: The nodes that each edge touches, and their strata.
        top_k: Sizes of the sets of edges.
        permutations: Number of draws.
        seed: Seed of the analysis.

    Returns:
        One result for each K, with the message that fewer than K edges have a score, or that these touch no node.

    Raises:
        ValueError: if shapes do not match, a K is out of range, or a score is not finite.
    """
    a, b = as_scores(before, "before", dimensions=1), as_scores(after, "after", dimensions=1)
    if a.shape != b.shape:
        raise ValueError(f"expected the same edges on both sides, got shapes {a.shape} and {b.shape}")
    enough_permutations(permutations)
    touching, results = nodes.of_edges(len(a)), []
    sets = zip(*(memberships(np.abs(scores)[None], top_k)[:, 0] for scores in (a, b)), strict=True)
    for k, (first, second) in zip(top_k, sets, strict=True):
        edges = min(int(np.count_nonzero(first)), int(np.count_nonzero(second)))
        rng = generator(seed, "permutation null of nodes", k)
        found = placed_at_random(
            k, touching.of(first), touching.of(second), touching.strata, touching.sizes, permutations, rng
        )
        none = "" if found.members else f"K = {k}: the edges touch none of the nodes"
        results.append(replace(found, message=lacking_edges(k, edges) or none))
    return tuple(results)
