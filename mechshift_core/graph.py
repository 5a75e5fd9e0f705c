"""The computation graph: which nodes write to and read from the residual stream, and what they are called.

Sources are `input`, heads `a{l}.h{h}` and MLPs `m{l}`; receivers are the query, key and value inputs of heads
(`a{l}.h{h}<q>`; one `a{l}.kv{j}<k>` and `<v>` per key/value head where those are shared), MLPs and `logits`.
An edge `u->v` exists where u writes before v reads. In a parallel block (GPT-NeoX) the MLP reads before the heads of
its own layer have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Role = Literal["q", "k", "v"]
ROLES: tuple[Role, ...] = ("q", "k", "v")
INPUT_LAYER = -1


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model that its graph depends on, and `head_size` and `hidden_size`.

    Attributes:
        parallel: Whether attention and MLP of a block read the same residual stream.
    """

    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    hidden_size: int
    parallel: bool = False

    @property
    def sources(self) -> int:
        """Number of sources: the input, and the heads and the MLP of every layer."""
        return self.first_head(self.layers)

    @property
    def layer_receivers(self) -> int:
        """Number of receivers of a layer: queries, keys and values of its heads, and its MLP."""
        return self.heads + 2 * self.key_value_heads + 1

    def first_head(self, layer: int) -> int:
        """Number of the source `a{layer}.h0`; the layer's other heads and its MLP follow."""
        return 1 + layer * (self.heads + 1)

    @property
    def residual_streams(self) -> tuple[str, ...]:
        """Names `x{l}` of the residual streams that the blocks read and, last, of the one that the final norm reads."""
        return tuple(f"x{layer}" for layer in range(self.layers + 1))


@dataclass(frozen=True, slots=True)
class Source:
    """A node that writes to the residual stream; `layer` is -1 for the input."""

    name: str
    kind: str
    layer: int


@dataclass(frozen=True, slots=True)
class Receiver:
    """A node that reads from it; `sources` is the number of sources (in order) that wrote before."""

    name: str
    kind: str
    layer: int
    sources: int


@dataclass(frozen=True)
class Graph:
    """All nodes of a model in the order in which they compute, and the edges between them.

    Edges are ordered by receiver, then by source; `edges` of a score matrix [sources, receivers] are the entries where
    `mask` is true, in that order.
    """

    sources: tuple[Source, ...]
    receivers: tuple[Receiver, ...]

    @classmethod
    @cache
    def of(cls, shape: Shape) -> Graph:
        """The graph of a decoder; heads feed the MLP of their own layer unless the blocks are parallel."""
        sources = [Source("input", "input", INPUT_LAYER)]
        receivers: list[Receiver] = []
        for layer in range(shape.layers):
            for role in ROLES:
                receivers += [
                    Receiver(name, role, layer, len(sources)) for name in attention_receivers(shape, layer, role)
                ]
            before = len(sources)
            sources += [Source(f"a{layer}.h{head}", "head", layer) for head in range(shape.heads)]
            receivers.append(Receiver(f"m{layer}", "mlp", layer, before if shape.parallel else len(sources)))
            sources.append(Source(f"m{layer}", "mlp", layer))
        receivers.append(Receiver("logits", "logits", shape.layers, len(sources)))
        return cls(tuple(sources), tuple(receivers))

    @cached_property
    def mask(self) -> npt.NDArray[np.bool_]:
        """[sources, receivers]: whether the edge exists."""
        written = np.array([receiver.sources for receiver in self.receivers])
        mask: npt.NDArray[np.bool_] = np.arange(len(self.sources))[:, None] < written
        return mask

    @cached_property
    def edge_index(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(source index, receiver index) of every edge, each [edges]."""
        receiver, source = np.nonzero(self.mask.T)
        return source, receiver

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Names of all edges, e.g. `a0.h1->m1`, `m0->a1.h2<q>`."""
        source, receiver = self.edge_index
        return tuple(f"{self.sources[u].name}->{self.receivers[v].name}" for u, v in zip(source, receiver, strict=True))

    @cached_property
    def source_numbers(self) -> dict[str, int]:
        """Name of a source -> its place in `sources`."""
        return {source.name: number for number, source in enumerate(self.sources)}

    @cached_property
    def edge_numbers(self) -> dict[str, int]:
        """Name of an edge -> its place in `edges`."""
        return {name: number for number, name in enumerate(self.edges)}

    def membership(self, circuit: Sequence[str] | npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """[sources, receivers]: whether an edge is in a circuit, given by names or as [edges].

        Raises:
            ValueError: for a name that is no edge of this graph, or an array of another length.
        """
        member = np.zeros(self.mask.shape, dtype=bool)
        source, receiver = self.edge_index
        if isinstance(circuit, np.ndarray):
            if circuit.shape != source.shape or circuit.dtype != bool:
                raise ValueError(f"a circuit is a bool array [{len(source)}]; got {circuit.dtype} {circuit.shape}")
            member[source[circuit], receiver[circuit]] = True
            return member
        unknown = [name for name in circuit if name not in self.edge_numbers]
        if unknown:
            raise ValueError(
                f"{len(unknown)} of {len(circuit)} names are no edges of this model, the first {unknown[0]!r}; "
                f"names look like {self.edges[0]!r} and {self.edges[-1]!r}"
            )
        numbers = [self.edge_numbers[name] for name in circuit]
        member[source[numbers], receiver[numbers]] = True
        return member


def attention_receivers(shape: Shape, layer: int, role: Role) -> list[str]:
    """Names of one role's receivers in a layer: one a head, or one a key/value head where those are shared."""
    if role == "q" or shape.key_value_heads == shape.heads:
        return [f"a{layer}.h{head}<{role}>" for head in range(shape.heads)]
    return [f"a{layer}.kv{head}<{role}>" for head in range(shape.key_value_heads)]


def components_by_depth(shape: Shape) -> dict[str, tuple[str, ...]]:
    """The heads and MLPs of the `early`, `middle` and `late` layers: the first third, what is between, the last third.

    Thirds are rounded, to one layer at least; a range without layers is left out.
    """
    sources = Graph.of(shape).sources
    return {
        name: tuple(source.name for source in sources if source.layer in layers)
        for name, layers in depth_ranges(shape.layers).items()
    }


def depth_ranges(layers: int) -> dict[str, range]:
    """The `early`, `middle` and `late` ones of some layers; see :func:`components_by_depth`."""
    third = max(1, round(layers / 3))
    ranges = {
        "early": range(third),
        "middle": range(third, layers - third),
        "late": range(max(third, layers - third), layers),
    }
    return {name: found for name, found in ranges.items() if found}


def readers(graph: Graph, receiver: str) -> list[int]:
    """The sources that a receiver belongs to: a head or an MLP, all heads of a group, or none (the logits)."""
    node = receiver.partition("<")[0]
    if node in graph.source_numbers:
        return [graph.source_numbers[node]]
    layer, _, group = node.partition(".kv")
    if not group:
        return []
    heads = [number for name, number in graph.source_numbers.items() if name.startswith(f"{layer}.h")]
    groups = sum(1 for other in graph.receivers if other.name.startswith(f"{layer}.kv") and other.kind == "k")
    size = len(heads) // groups
    return heads[int(group) * size : (int(group) + 1) * size]


def component_names(shape: Shape, components: Sequence[str]) -> list[str]:
    """Names of the components of some kinds (heads, mlps, residual), in the order in which they compute."""
    kinds = {"head": "heads", "mlp": "mlps"}
    names = [source.name for source in Graph.of(shape).sources if kinds.get(source.kind) in components]
    return [*names, *shape.residual_streams] if "residual" in components else names
