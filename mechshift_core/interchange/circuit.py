"""What is exchanged: scores of the edges of a graph, a circuit in it, or both.

Two graphs describe a model whose query heads share key/value heads. Ours has one receiver a shared head
(`a0.kv0<k>`), EAP-IG's one a query head (`a0.h0<k>`, `a0.h1<k>`, ...). They say the same of a circuit that keeps or
drops the readers of a shared head together. Of scores only the sum over the readers is known to a shared receiver: the
gradient at the shared input is the sum of the gradients at its copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import UsageError
from mechshift_core.graph import Graph, Receiver, Shape, readers

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
MOST_EDGES = 5_000_000
"""Edges of the largest graph that is read; the tables of a graph are held in memory."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class ScoredCircuit:
    """Scores of the edges of a graph, a circuit in it, or both.

    Attributes:
        shape: Sizes of the model whose graph it is; `hidden_size` and `head_size` are 0 where a file does not say.
        scores: One score an edge, [edges] in the order of `Graph.edges`; positive where corrupting the edge lowers the
            metric. None where there are none.
        member: Whether each edge is in the circuit, [edges]; None where only scores are known.
        about: Where it comes from, by keywords: model, task, how scores were averaged.
        notes: What a reader has to know of the file that it was read from, a sentence each.

    Raises:
        ValueError: if there is neither of both, or one of them is not one finite number or boolean for each edge.
    """

    shape: Shape
    scores: Floats | None = None
    member: Bools | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        edges = edge_count(self.shape)
        if self.scores is None and self.member is None:
            raise ValueError("expected scores, a circuit or both, got neither")
        if self.scores is not None and (self.scores.shape != (edges,) or not np.isfinite(self.scores).all()):
            raise ValueError(f"scores: expected {edges} finite numbers, one for each edge of the graph")
        if self.member is not None and (self.member.shape != (edges,) or self.member.dtype != np.bool_):
            raise ValueError(f"member: expected {edges} booleans, one for each edge of the graph")

    @property
    def graph(self) -> Graph:
        """Its graph."""
        return Graph.of(self.shape)

    @property
    def shared(self) -> bool:
        """Whether query heads share key/value heads in its graph."""
        return self.shape.key_value_heads < self.shape.heads

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the edges of the circuit; none where there is no circuit."""
        if self.member is None:
            return ()
        return tuple(self.graph.edges[number] for number in np.flatnonzero(self.member))

    def apart(self) -> ScoredCircuit:
        """The same in the graph that has a key and a value receiver for each query head.

        A shared receiver's edge is in the circuit with all of its copies. Its score is divided among them in equal
        parts, so that they sum to it: which reader it belongs to is not known.
        """
        if not self.shared:
            return self
        group = self.shape.heads // self.shape.key_value_heads
        shape = replace(self.shape, key_value_heads=self.shape.heads)
        old, copies = shared_edges(self.shape), Graph.of(shape).receivers
        share = np.repeat([1 / group if one.kind in "kv" else 1.0 for one in copies], [one.sources for one in copies])
        return replace(
            self,
            shape=shape,
            scores=None if self.scores is None else self.scores[old] * share,
            member=None if self.member is None else self.member[old],
        )

    def together(self, key_value_heads: int) -> ScoredCircuit:
        """The same in the graph of a model with fewer key/value heads: scores of the copies are summed.

        Raises:
            ValueError: if there are readers of a shared head of which only some are in the circuit, or the heads can't
                be shared like that.
        """
        if key_value_heads == self.shape.key_value_heads:
            return self
        if self.shared or key_value_heads < 1 or self.shape.heads % key_value_heads:
            raise ValueError(
                f"{self.shape.key_value_heads} key/value heads of {self.shape.heads} heads can't be made "
                f"{key_value_heads}"
            )
        shape = replace(self.shape, key_value_heads=key_value_heads)
        new, edges = shared_edges(shape), edge_count(shape)
        member = None
        if self.member is not None:
            copies, inside = np.bincount(new, minlength=edges), np.bincount(new[self.member], minlength=edges)
            split = np.flatnonzero((inside > 0) & (inside < copies))
            if split.size:
                raise ValueError(
                    f"of {Graph.of(shape).edges[split[0]]!r} only {inside[split[0]]} of {copies[split[0]]} readers are "
                    "in the circuit"
                )
            member = inside > 0
        scores = None
        if self.scores is not None:
            scores = np.bincount(new, weights=self.scores, minlength=edges).astype(np.float64)
        return replace(self, shape=shape, scores=scores, member=member)


def shared_edges(shape: Shape) -> npt.NDArray[np.int64]:
    """For each edge of the graph with one key/value head a query head the number of the edge of the shared graph."""
    graph, whole = Graph.of(shape), Graph.of(replace(shape, key_value_heads=shape.heads))
    starts = np.cumsum([0, *(receiver.sources for receiver in graph.receivers)])
    place = {one.name: number for number, one in enumerate(graph.receivers)}
    group = shape.heads // shape.key_value_heads

    def start(receiver: Receiver) -> int:
        name = receiver.name
        if receiver.kind in ("k", "v") and group > 1:
            layer, _, head = name.partition("<")[0].partition(".h")
            name = f"{layer}.kv{int(head) // group}<{receiver.kind}>"
        return int(starts[place[name]])

    return np.concatenate([start(one) + np.arange(one.sources) for one in whole.receivers])


def edge_count(shape: Shape) -> int:
    """Number of edges of a model's graph, without making it."""
    per_layer = shape.heads + 1
    total = 0
    for layer in range(shape.layers):
        before = 1 + layer * per_layer
        total += before * (shape.heads + 2 * shape.key_value_heads) + before
        total += 0 if shape.parallel else shape.heads
    return total + 1 + shape.layers * per_layer


def checked_shape(
    where: str, *, layers: int, heads: int, key_value_heads: int, parallel: bool, hidden_size: int, head_size: int
) -> Shape:
    """The shape that a file states.

    Raises:
        UsageError: if no model has it, or its graph is too large to be read.
    """
    small = layers >= 1 and heads >= 1 and key_value_heads >= 1 and hidden_size >= 0 and head_size >= 0
    if not small or heads % key_value_heads:
        raise UsageError(
            f"{where}: expected numbers of layers and heads above 0, and key/value heads that divide the heads, got "
            f"{layers} layers, {heads} heads, {key_value_heads} key/value heads"
        )
    shape = Shape(layers, heads, key_value_heads, head_size, hidden_size, parallel)
    if max(layers, heads) > 10_000 or edge_count(shape) > MOST_EDGES:
        raise UsageError(
            f"{where}: its graph of {layers} layers with {heads} heads has more than {MOST_EDGES:,} edges, the most "
            "that is read"
        )
    return shape


def components_of(circuit: ScoredCircuit) -> frozenset[str]:
    """The input, heads and MLPs that a circuit uses: those that write to an edge of it and read from one.

    The input reads from none. `logits` is no source and always used.
    """
    if circuit.member is None:
        return frozenset()
    graph = circuit.graph
    source, receiver = graph.edge_index
    writing = set(source[circuit.member].tolist())
    reading = {graph.source_numbers["input"]}
    for number in set(receiver[circuit.member].tolist()):
        reading.update(readers(graph, graph.receivers[number].name))
    return frozenset(graph.sources[number].name for number in writing & reading)
