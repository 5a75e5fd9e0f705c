"""Integration and segregation of a weighted graph: participation coefficient, modularity, global efficiency.

Graphs are undirected: symmetric weights >= 0 without self-connections. Definitions and conventions are those of the
Brain Connectivity Toolbox (Rubinov & Sporns 2010, Complex network measures of brain connectivity, NeuroImage 52).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import shortest_path

from stats.checks import Floats, Integers, as_floats, codes
from stats.options import Count, checked

_GAIN = 1e-10
"""Part of the total weight by which moving a node must raise the modularity, so that rounding moves none."""


def as_graph(weights: ArrayLike) -> Floats:
    """Weights of a graph [N, N].

    Raises:
        ValueError: if they are not square with at least two nodes, symmetric, finite, >= 0, zero on the diagonal, and
            not all zero.
    """
    array = np.ascontiguousarray(as_floats(weights, "weights", dimensions=2))
    if array.shape[0] != array.shape[1] or len(array) < 2:
        raise ValueError(f"weights: expected [nodes, nodes] with at least 2 nodes, got {list(array.shape)}")
    if array.min() < 0:
        raise ValueError(f"weights: expected values >= 0, got {array.min()}")
    if np.diagonal(array).any():
        raise ValueError("weights: expected zeros on the diagonal (no node is connected with itself)")
    if not np.allclose(array, array.T, rtol=1e-9, atol=0):
        raise ValueError("weights: expected a symmetric array (an undirected graph)")
    if not array.any():
        raise ValueError("weights: expected an edge, got only zeros")
    return array


def participation_coefficient(weights: ArrayLike, modules: ArrayLike) -> Floats:
    """How evenly each node's weight is spread over the modules, 1 - sum_s (k_is / k_i)^2 (Guimera & Amaral 2005).

    0: all within one module (and for a node without edges); at most 1 - 1 / modules: the same to each.

    Args:
        weights: [N, N].
        modules: Label of each node's module [N].

    Returns:
        [N].

    Raises:
        ValueError: if the weights are no graph (:func:`as_graph`), or there is not one label for each node.
    """
    return participation_of_links(*_links(weights, modules))


def modularity(weights: ArrayLike, modules: ArrayLike) -> float:
    """Share of the weight within modules beyond what the strengths alone put there (Newman 2004).

    Q = sum_ij (w_ij - k_i k_j / 2m) [same module] / 2m, below 1; 0 where all nodes are one module.

    Args:
        weights: [N, N].
        modules: Label of each node's module [N].

    Raises:
        ValueError: as for :func:`participation_coefficient`.
    """
    links, code = _links(weights, modules)
    return float(modularity_of_links(links, code))


def participation_of_links(links: Floats, code: Integers) -> Floats:
    """Participation coefficients [..., N] from each node's weight to every module [..., N, modules]."""
    strength = links.sum(axis=-1, keepdims=True)
    shares = np.divide(links, strength, out=np.zeros_like(links), where=strength > 0)
    return np.asarray(np.where(strength[..., 0] > 0, 1 - (shares**2).sum(axis=-1), 0.0))


def modularity_of_links(links: Floats, code: Integers) -> Floats:
    """Modularity [...] from each node's weight to every module [..., N, modules] and its own module [N]."""
    own = np.eye(links.shape[-1])[code]
    total = links.sum(axis=(-2, -1))
    inside = (links * own).sum(axis=(-2, -1)) / total
    strengths = np.einsum("...ns,nm->...m", links, own) / total[..., None]
    return np.asarray(inside - (strengths**2).sum(axis=-1))


def _links(weights: ArrayLike, modules: ArrayLike) -> tuple[Floats, Integers]:
    graph = as_graph(weights)
    code, count = codes(modules, "modules", length=len(graph))
    return graph @ np.eye(count)[code], code


@checked
def louvain_modules(weights: ArrayLike, rng: np.random.Generator, *, starts: Count = 1) -> Integers:
    """Modules of large modularity, found by the Louvain method (Blondel et al. 2008): labels 0.. of the nodes [N].

    Nodes, in random order, move to the neighbouring module that gains most until none gains; modules become nodes; and
    so on. What it finds is a local maximum, which depends on the order.

    Args:
        weights: [N, N].
        rng: Draws the orders.
        starts: How often it is done; the modules of the largest modularity are taken.

    Raises:
        ValueError: if the weights are no graph (:func:`as_graph`), or there is no start.
    """
    graph = as_graph(weights)
    found = [_louvain(graph, rng) for _ in range(starts)]
    if starts == 1:
        return found[0]
    # The first of equals: which one is the best must not hang on rounding.
    value = np.round([modularity(graph, modules) for modules in found], 12)
    return found[int(np.argmax(value))]


def _louvain(links: Floats, rng: np.random.Generator) -> Integers:
    labels = np.arange(len(links))
    while True:
        moved = _move(links, rng)
        found, code = np.unique(moved, return_inverse=True)
        labels = code[labels]
        if len(found) == len(links):
            return np.unique(labels, return_inverse=True)[1].astype(np.int64)
        member = np.eye(len(found))[code]
        links = member.T @ links @ member


def _move(links: Floats, rng: np.random.Generator) -> Integers:
    """One level: the module of each node once no move gains; a node's weight with itself counts both ends."""
    strength, total = links.sum(axis=1), float(links.sum())
    module = np.arange(len(links))
    to_module, of_module = links.copy(), strength.copy()
    moving = True
    while moving:
        moving = False
        for node in rng.permutation(len(links)):
            own = module[node]
            gain = to_module[node] - (to_module[node, own] - links[node, node])
            gain -= strength[node] / total * (of_module - (of_module[own] - strength[node]))
            gain[own] = 0.0
            # The first of equals, as among starts: gains are equal in symmetric graphs.
            best = int(np.argmax(gain >= gain.max() - _GAIN * total))
            if gain[best] > _GAIN * total:
                to_module[:, own] -= links[:, node]
                to_module[:, best] += links[:, node]
                of_module[own] -= strength[node]
                of_module[best] += strength[node]
                module[node] = best
                moving = True
    return module


def global_efficiency(weights: ArrayLike) -> float:
    """Mean over pairs of nodes of 1 / length of the shortest path, where an edge is 1 / weight long.

    From Latora & Marchiori (2001); 0 between nodes that no path connects. It has the unit of the weights: where that
    means nothing, see :func:`relative_efficiency`.

    Raises:
        ValueError: if the weights are no graph (:func:`as_graph`).
    """
    return _efficiency(as_graph(weights))


def relative_efficiency(weights: ArrayLike) -> float:
    """:func:`global_efficiency` over the mean weight of all pairs of nodes, which takes the unit away.

    At least 1, which it is where no detour is shorter than the edge itself (also of equal weights); the more, the more
    of the graph is held together by paths over strong edges.

    Raises:
        ValueError: if the weights are no graph (:func:`as_graph`).
    """
    return _relative_efficiency(as_graph(weights))


def _relative_efficiency(graph: Floats) -> float:
    scaled = graph / graph.max()
    return _efficiency(scaled) / (float(scaled.sum()) / (len(graph) * (len(graph) - 1)))


def _efficiency(graph: Floats) -> float:
    with np.errstate(over="ignore"):
        lengths = np.divide(1.0, graph, out=np.full_like(graph, np.inf), where=graph > 0)
    distances = shortest_path(lengths, directed=False)
    near = np.divide(1.0, distances, out=np.zeros_like(distances), where=distances > 0)
    return float(near.sum() / (len(graph) * (len(graph) - 1)))
