"""The edges that a file names: found in the graph, or said to be none of it, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from mechshift_core.errors import UsageError
from mechshift_core.graph import Graph, Shape
from mechshift_core.interchange.circuit import Bools, Floats
from mechshift_core.wording import clip, describe

NAME = re.compile(
    r"(input|m(?P<mlp>\d{1,6})|a(?P<layer>\d{1,6})\.h(?P<head>\d{1,6}))->"
    r"(logits|m(?P<to_mlp>\d{1,6})|a(?P<to_layer>\d{1,6})\.(?P<kind>h|kv)(?P<to_head>\d{1,6})<(?P<role>[qkv])>)"
)


class EdgeReader:
    """What a file says of edges, one after the other.

    Args:
        path: The file, for messages.
        shape: Sizes of the model whose graph it is.
    """

    def __init__(self, path: object, shape: Shape) -> None:
        self.path, self.shape, self.graph = path, shape, Graph.of(shape)
        count = len(self.graph.edges)
        self.scores: Floats = np.full(count, np.nan)
        self.member: Bools = np.zeros(count, dtype=bool)
        self.named: Bools = np.zeros(count, dtype=bool)
        self.scored = 0
        self._unknown: list[str] = []
        self._unknown_count = 0

    def add(self, name: str, score: object = None, member: object = None) -> None:
        """Take in an edge. One that is not of the graph is remembered, for :meth:`finish` to say.

        Raises:
            UsageError: if it was named before, or its score or membership is no finite number or no boolean.
        """
        number = self.graph.edge_numbers.get(name)
        if number is None:
            self._unknown_count += 1
            self._unknown += [name] if len(self._unknown) < 3 else []
            return
        if self.named[number]:
            raise UsageError(f"{self.path}: the edge {name!r} is there twice; which one counts can't be told")
        self.named[number] = True
        if score is not None:
            value = finite(score)
            if value is None:
                raise UsageError(f"{self.path}: edge {name!r}: expected a finite number as score, got {_came(score)}")
            self.scores[number] = value
            self.scored += 1
        if member is not None:
            if not isinstance(member, bool):
                raise UsageError(
                    f"{self.path}: edge {name!r}: expected true or false for whether it is in the circuit, got "
                    f"{_came(member)}"
                )
            self.member[number] = member

    def finish(self, *, circuit: bool | None = None) -> tuple[Floats | None, Bools | None, tuple[str, ...]]:
        """The scores, the circuit, and notes about the file.

        Args:
            circuit: Whether the file has a circuit; unless given, it has one where an edge is in it.

        Raises:
            UsageError: for edges that are not of the graph, scores of some edges only, or a file that has neither.
        """
        if self._unknown_count:
            raise UsageError(self._of_another_graph())
        named, total = int(self.named.sum()), len(self.named)
        if 0 < self.scored < named:
            number = int(np.flatnonzero(self.named & np.isnan(self.scores))[0])
            raise UsageError(
                f"{self.path}: {self.scored} of {named} edges have a score, but {self.graph.edges[number]!r} has none; "
                "give one for every edge (0 for none), or for none at all"
            )
        has_circuit = bool(self.member.any()) if circuit is None else circuit
        scores = np.where(np.isnan(self.scores), 0.0, self.scores) if self.scored else None
        if not has_circuit and (scores is None or not scores.any()):
            raise UsageError(
                f"{self.path}: there is nothing to read: no edge has a score other than 0, and none is in a circuit"
            )
        missing = total - named if scores is not None else 0
        note = f"{missing} of the {total} edges of the graph are not in the file; they count as edges with the score 0"
        return scores, self.member if has_circuit else None, (note,) if missing else ()

    def _of_another_graph(self) -> str:
        shape = self.shape
        sizes = f"{shape.layers} layers with {shape.heads} heads"
        if shape.key_value_heads != shape.heads:
            sizes += f" and {shape.key_value_heads} key/value heads"
        first = self._unknown[0]
        return (
            f"{self.path}: {self._unknown_count} of the names are no edges of its graph ({sizes}"
            f"{', parallel blocks' if shape.parallel else ''}), the first {clip(first)!r}: {why_unknown(first, shape)}"
        )


def why_unknown(name: str, shape: Shape) -> str:
    """Why a name is no edge of a graph, in a clause."""
    found = NAME.fullmatch(name)
    if found is None:
        return "names look like 'a0.h1->m1', 'm0->a1.h2<q>' or 'input->logits'"
    layers = [int(found[key]) for key in ("mlp", "layer", "to_mlp", "to_layer") if found[key] is not None]
    if layers and max(layers) >= shape.layers:
        return f"there is no layer {max(layers)} (layers are 0 to {shape.layers - 1})"
    shared = found["role"] in ("k", "v") and shape.key_value_heads < shape.heads
    if found["kind"] == "kv" and not shared:
        return "in this graph every query head has keys and values of its own, named 'a0.h0<k>'"
    if found["kind"] == "h" and shared:
        return f"keys and values are those of {shape.key_value_heads} shared heads here, named 'a0.kv0<k>'"
    most = {"head": shape.heads, "to_head": shape.key_value_heads if found["kind"] == "kv" else shape.heads}
    for key, heads in most.items():
        if found[key] is not None and int(found[key]) >= heads:
            return f"there is no head {found[key]} (heads are 0 to {heads - 1})"
    return "its receiver is computed before its source, or does not read it"


def finite(value: object) -> float | None:
    """A finite number as such; None for anything else (a boolean is no number)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if np.isfinite(number) else None


def whole(where: str, entries: Mapping[str, object], keys: Iterable[str]) -> dict[str, int]:
    """Some entries that are to be whole numbers.

    Raises:
        UsageError: naming the first that is missing or is none.
    """
    found: dict[str, int] = {}
    for key in keys:
        value = entries.get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise UsageError(f"{where}: expected a whole number as {key!r}, got {_came(value)}")
        found[key] = value
    return found


def _came(value: object) -> str:
    text = describe(value)
    return clip(text)
