"""Circuits from edge scores: which edges to keep, and random circuits to hold them against.

A circuit is a boolean array [edges] in the order of `Graph.edges`. Everything here is numpy on the graph: what a node
is, which edges it has and what it reads come from the graph's nodes and their order, so any architecture will do.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mechshift_core.graph import ROLES, Graph

Circuit = npt.NDArray[np.bool_]


def top_edges(scores: npt.ArrayLike, n: int) -> Circuit:
    """The n edges with the largest magnitude of score; of equal ones, those that come first.

    An edge of score 0 is in no circuit but that of all edges: there are fewer than n where fewer have another score.

    Args:
        scores: One score per edge, [edges].
        n: Number of edges, 0 to all.

    Raises:
        ValueError: if the scores are not one finite number per edge, or there are fewer than n edges.
    """
    order = _by_magnitude(scores)
    return _members(scored_prefix(order, scores, _size(n, len(order))), len(order))


def greedy_edges(graph: Graph, scores: npt.ArrayLike, n: int) -> Circuit:
    """The first n edges of :func:`greedy_order`: a circuit in which every edge leads to the logits.

    It ends before the first edge of score 0, unless it is that of all edges.

    Raises:
        ValueError: as :func:`greedy_order`.
    """
    return _members(scored_prefix(greedy_order(graph, scores, n), scores, n), _edge_count(graph))


def scored_prefix(order: npt.NDArray[np.int64], scores: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    """The first n of some edges in order, up to the first of score 0; if n is all edges of the graph, all of them."""
    values = np.asarray(scores)
    without = np.flatnonzero(values[order] == 0)
    stop = int(without[0]) if without.size and n < len(values) else n
    return order[: min(n, stop)]


def greedy_order(graph: Graph, scores: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    """Grow a circuit backwards from the logits: `apply_greedy` of EAP-IG (Hanna et al. 2024, arXiv 2403.17806).

    Each step adds the edge with the largest magnitude of score among those into receivers that are already reached; a
    source that is new to the circuit makes its own receivers reached. The circuits of all sizes are prefixes of one
    order. Of equal scores the edge that comes first in `Graph.edges` is taken.

    Args:
        graph: The model's graph.
        scores: One score per edge, [edges].
        n: Number of edges, 0 to all.

    Returns:
        Edge numbers in the order in which they were added, [n].

    Raises:
        ValueError: if the scores are not one finite number per edge, or the graph has fewer than n edges.
    """
    edges = _edge_count(graph)
    order = _by_magnitude(scores, edges)
    n = _size(n, edges)
    rank = np.empty(edges, dtype=np.int64)
    rank[order] = np.arange(edges)
    reads = receivers_of_sources(graph)
    source = graph.edge_index[0].tolist()
    numbers = order.tolist()
    stops = np.cumsum([receiver.sources for receiver in graph.receivers])

    # The heap holds, for each reached receiver, only the best edge into it that is not yet taken.
    waiting: dict[int, list[int]] = {}
    heap: list[tuple[int, int]] = []

    def reach(receiver: int) -> None:
        if receiver not in waiting:
            stop = int(stops[receiver])
            ranks = np.sort(rank[stop - graph.receivers[receiver].sources : stop])[::-1].tolist()
            waiting[receiver] = ranks
            heapq.heappush(heap, (ranks.pop(), receiver))

    reach(_logits(graph))
    added: list[int] = []
    known = [False] * len(graph.sources)
    while len(added) < n:
        best, receiver = heap[0]
        edge = numbers[best]
        added.append(edge)
        if waiting[receiver]:
            heapq.heapreplace(heap, (waiting[receiver].pop(), receiver))
        else:
            heapq.heappop(heap)
        writer = source[edge]
        if not known[writer]:
            known[writer] = True
            for own in reads[writer]:
                reach(own)
    return np.array(added, dtype=np.int64)


def prune(graph: Graph, circuit: npt.ArrayLike) -> Circuit:
    """The edges of a circuit that lie on a path from the input to the logits.

    This is what removing nodes without an in-edge or without an out-edge, again and again, ends at. A key or value
    receiver that several heads share leads on as long as one of them does.

    Args:
        graph: The model's graph.
        circuit: Whether an edge is in the circuit, [edges].

    Raises:
        ValueError: if the circuit is not one boolean per edge.
    """
    chosen = _as_circuit(graph, circuit)
    source, receiver = graph.edge_index
    member = np.zeros(graph.mask.shape, dtype=bool)
    member[source[chosen], receiver[chosen]] = True
    reads = [list(own) for own in receivers_of_sources(graph)]
    # Nodes stand in the order in which they compute, so one sweep in each direction is enough.
    from_input = np.zeros(len(graph.sources), dtype=bool)
    for writer, own in enumerate(reads):
        from_input[writer] = (
            graph.sources[writer].kind == "input" or (member[:writer, own].T & from_input[:writer]).any()
        )
    to_logits = np.zeros(len(graph.receivers), dtype=bool)
    to_logits[_logits(graph)] = True
    for writer in reversed(range(len(reads))):
        if (member[writer] & to_logits).any():
            to_logits[reads[writer]] = True
    kept: Circuit = chosen & from_input[source] & to_logits[receiver]
    return kept


def random_like(graph: Graph, circuit: npt.ArrayLike, rng: np.random.Generator) -> Circuit:
    """A random circuit with as many edges as another from each source layer to each receiver layer.

    A circuit's faithfulness has to be held against circuits of the same depth profile. Edges do not matter equally at
    all depths (patching an edge of the last layers touches little that is computed afterwards, and most edges run
    between distant layers), so a method that merely finds the right layers would beat uniformly drawn circuits. Within
    each pair of layers all edges are equally likely.

    Args:
        graph: The model's graph.
        circuit: Whether an edge is in the circuit, [edges].
        rng: The source of the draw.

    Raises:
        ValueError: if the circuit is not one boolean per edge.
    """
    chosen = _as_circuit(graph, circuit)
    stratum = layer_pairs(graph)
    edges_in = np.bincount(stratum)
    wanted = np.bincount(stratum[chosen], minlength=len(edges_in))
    shuffled = np.lexsort((rng.random(len(stratum)), stratum))
    place = np.arange(len(stratum)) - np.repeat(np.cumsum(edges_in) - edges_in, edges_in)
    return _members(shuffled[place < np.repeat(wanted, edges_in)], len(stratum))


def circuit_sizes(percent: Sequence[float], edges: int) -> tuple[int, ...]:
    """Numbers of edges of circuits whose sizes are given in percent of all edges; at least one edge each.

    Raises:
        ValueError: for a percentage that does not lie above 0 and up to 100, or a graph without edges.
    """
    if edges < 1:
        raise ValueError(f"edges: expected at least 1, got {edges}")
    wrong = [size for size in percent if not 0 < size <= 100]
    if wrong:
        raise ValueError(f"percent: expected sizes above 0 and up to 100, got {wrong[0]}")
    return tuple(max(1, round(edges * size / 100)) for size in percent)


def receivers_of_sources(graph: Graph) -> tuple[tuple[int, ...], ...]:
    """For each source the receivers that its value is computed from, as places in `graph.receivers`.

    A head reads by its own `<q>`, `<k>` and `<v>`, or by the `<k>` and `<v>` of its group where heads share them; an
    MLP by the receiver of its name; the input by none.
    """
    places = {receiver.name: place for place, receiver in enumerate(graph.receivers)}
    heads = Counter(source.layer for source in graph.sources if source.kind == "head")
    keys = Counter(receiver.layer for receiver in graph.receivers if receiver.kind == "k")
    found: list[tuple[int, ...]] = []
    for source in graph.sources:
        if source.kind == "head":
            block, _, number = source.name.rpartition(".h")
            group = heads[source.layer] // keys[source.layer]
            shared = f"{block}.kv{int(number) // group}"
            readers = (source.name, *[source.name if group == 1 else shared] * 2)
            found.append(tuple(places[f"{name}<{role}>"] for name, role in zip(readers, ROLES, strict=True)))
        else:
            found.append((places[source.name],) if source.kind == "mlp" else ())
    return tuple(found)


def layer_pairs(graph: Graph) -> npt.NDArray[np.int64]:
    """A number for each pair of a source layer and a receiver layer, for every edge, [edges]."""
    source, receiver = graph.edge_index
    source_layer = np.array([node.layer for node in graph.sources])[source]
    receiver_layer = np.array([node.layer for node in graph.receivers])[receiver]
    lowest = int(source_layer.min())
    pairs: npt.NDArray[np.int64] = (source_layer - lowest) * (int(receiver_layer.max()) + 1) + receiver_layer
    return pairs


def _edge_count(graph: Graph) -> int:
    return int(sum(receiver.sources for receiver in graph.receivers))


def _logits(graph: Graph) -> int:
    return next(place for place, receiver in enumerate(graph.receivers) if receiver.kind == "logits")


def _members(numbers: npt.NDArray[np.int64], edges: int) -> Circuit:
    member: Circuit = np.zeros(edges, dtype=bool)
    member[numbers] = True
    return member


def _size(n: int, edges: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 0 <= n <= edges:
        raise ValueError(f"n: expected a number of edges from 0 to {edges}, got {n}")
    return n


def _by_magnitude(scores: npt.ArrayLike, edges: int | None = None) -> npt.NDArray[np.int64]:
    """Edge numbers by falling magnitude; equal ones stay in order."""
    values = np.asarray(scores)
    if values.ndim != 1 or (edges is not None and len(values) != edges):
        wanted = "[edges]" if edges is None else f"[{edges}], one for each edge of the graph"
        raise ValueError(f"scores: expected shape {wanted}, got {list(values.shape)}")
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ValueError(f"scores: expected finite numbers, got {bad} NaN or infinite of {len(values)}")
    return np.argsort(-np.abs(values), kind="stable")


def _as_circuit(graph: Graph, circuit: npt.ArrayLike) -> Circuit:
    chosen = np.asarray(circuit)
    if chosen.dtype != np.bool_ or chosen.shape != (_edge_count(graph),):
        raise ValueError(
            f"circuit: expected one boolean for each of {_edge_count(graph)} edges, "
            f"got {chosen.dtype} of shape {list(chosen.shape)}"
        )
    return chosen
