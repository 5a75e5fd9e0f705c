"""Circuits as GraphML, for networkx, Gephi, igraph and others.

Nodes are components: `input`, `a{l}.h{h}`, `m{l}`, `logits`, and `a{l}.kv{j}` where query heads share key/value heads
(which heads read it stands in its `heads`). An edge has the name of ours as its id, and `role` (`q`, `k`, `v`) where it
leads to a head: up to three edges go from one node to another, so that networkx makes a `MultiDiGraph` of it. The sizes
of the graph are data of the graph.

Read with the parser of the standard library as plain elements; a document type, in which entities could be declared, is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from mechshift_core.errors import UsageError
from mechshift_core.graph import readers
from mechshift_core.interchange.circuit import ScoredCircuit, checked_shape
from mechshift_core.interchange.edges import EdgeReader
from mechshift_core.interchange.own import SIZES
from mechshift_core.wording import clip, describe

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
ABOUT = "about."
"""What stands before the keywords of `about` among the data of the graph."""


def to_text(circuit: ScoredCircuit) -> str:
    """A circuit as the text of such a file."""
    return "\n".join(_lines(circuit)) + "\n"


def _lines(circuit: ScoredCircuit) -> Iterator[str]:
    graph, shape = circuit.graph, circuit.shape
    of_graph: dict[str, object] = {key: getattr(shape, key) for key in SIZES} | {"parallel": shape.parallel}
    of_graph |= {f"{ABOUT}{key}": value for key, value in circuit.about.items()}
    keys = {"graph": of_graph, "node": {"kind": "", "layer": 0, "heads": ""}}
    of_edge: dict[str, object] = {"role": ""}
    of_edge |= {} if circuit.scores is None else {"score": 0.0}
    of_edge |= {} if circuit.member is None else {"in_circuit": True}
    keys["edge"] = of_edge
    yield "<?xml version='1.0' encoding='utf-8'?>"
    yield f'<graphml xmlns="{NAMESPACE}">'
    for domain, entries in keys.items():
        for name, value in entries.items():
            place = quoteattr(f"{domain}.{name}")
            yield f'  <key id={place} for="{domain}" attr.name={quoteattr(name)} attr.type="{_type(value)}"/>'
    yield '  <graph edgedefault="directed">'
    yield from (f"    {_data('graph', name, value)}" for name, value in of_graph.items())
    for name, data in _nodes(circuit).items():
        yield f"    <node id={quoteattr(name)}>{''.join(_data('node', *entry) for entry in data.items())}</node>"
    source, receiver = graph.edge_index
    for number, name in enumerate(graph.edges):
        node, _, role = graph.receivers[receiver[number]].name.partition("<")
        data = {"role": role.rstrip(">")} if role else {}
        if circuit.scores is not None:
            data["score"] = repr(float(circuit.scores[number]))
        if circuit.member is not None:
            data["in_circuit"] = str(bool(circuit.member[number])).lower()
        ends = f"source={quoteattr(graph.sources[source[number]].name)} target={quoteattr(node)}"
        inner = "".join(_data("edge", *entry) for entry in data.items())
        yield f"    <edge id={quoteattr(name)} {ends}>{inner}</edge>"
    yield "  </graph>"
    yield "</graphml>"


def _nodes(circuit: ScoredCircuit) -> dict[str, dict[str, object]]:
    """Every node in the order in which they compute, with its data."""
    graph = circuit.graph
    found: dict[str, dict[str, object]] = {"input": {"kind": "input", "layer": -1}}
    for one in graph.receivers:
        name = one.name.partition("<")[0]
        if one.kind == "q" or one.kind not in "kv":
            found[name] = {"kind": "head" if one.kind == "q" else one.kind, "layer": one.layer}
        elif name not in found:
            heads = " ".join(graph.sources[number].name for number in readers(graph, one.name))
            found[name] = {"kind": "key_value", "layer": one.layer, "heads": heads}
    return found


def _type(value: object) -> str:
    names = {bool: "boolean", int: "long", float: "double"}
    return names.get(type(value), "string")


def _data(domain: str, name: str, value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<data key={quoteattr(f'{domain}.{name}')}>{escape(text)}</data>"


def from_text(path: object, text: str) -> ScoredCircuit:
    """Such a file's text as a circuit; written by us, or by networkx from what it read of one of ours.

    Raises:
        UsageError: saying where something else was expected.
    """
    found = _Reading(path)
    found.parse(text)
    data = found.of_graph
    where = f"{path}: data of the graph"
    sizes = {key: _number(where, key, data.get(key)) for key in SIZES}
    parallel = _truth(where, "parallel", data.get("parallel"))
    shape = checked_shape(where, **sizes, parallel=parallel)
    reader = EdgeReader(path, shape)
    for source, target, entries in found.edges:
        role = entries.get("role")
        name = f"{source}->{target}<{role}>" if role else f"{source}->{target}"
        score = entries.get("score")
        inside = entries.get("in_circuit")
        reader.add(
            name,
            None if score is None else _score(path, name, score),
            None if inside is None else _truth(f"{path}: edge {clip(name)!r}", "in_circuit", inside),
        )
    has_circuit = any("in_circuit" in entries for _, _, entries in found.edges)
    scores, member, notes = reader.finish(circuit=has_circuit)
    about = {key.removeprefix(ABOUT): value for key, value in data.items() if key.startswith(ABOUT)}
    return ScoredCircuit(shape=shape, scores=scores, member=member, about=about, notes=notes)


class _Reading:
    """The data of the graph and the edges of a file, as text."""

    def __init__(self, path: object) -> None:
        self.path = path
        self.of_graph: dict[str, str] = {}
        self.edges: list[tuple[str, str, dict[str, str]]] = []
        self._keys: dict[str, str] = {}
        self._open: list[str] = []
        self._at: dict[str, str] = {}
        self._key: str | None = None
        self._text: list[str] = []

    def parse(self, text: str) -> None:
        """Read a text.

        Raises:
            UsageError: if it is no GraphML of a directed graph.
        """
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text.append
        parser.StartDoctypeDeclHandler = self._doctype
        try:
            # The text is decoded already, whatever encoding it declares.
            parser.Parse(text.encode("utf-8", errors="surrogatepass"), True)
        except expat.ExpatError as error:
            at_end = error.code in (expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS], 3, 4, 5)
            cut = "; the file may have been cut short: fetch or write it again" if at_end else ""
            reason = expat.ErrorString(error.code)
            raise UsageError(f"{self.path}:{error.lineno}:{error.offset + 1}: not XML: {reason}{cut}") from error

    def _doctype(self, *_: object) -> None:
        raise UsageError(f"{self.path}: a document type is not read; remove the line <!DOCTYPE ...>")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        if not self._open and name != "graphml":
            raise UsageError(f"{self.path}: expected <graphml>, got <{clip(name)}>")
        self._open.append(name)
        if len(self._open) > 20:
            raise UsageError(f"{self.path}: elements are nested too deeply for GraphML")
        if name == "key":
            self._keys[attributes.get("id", "")] = attributes.get("attr.name", "")
        elif name == "graph" and attributes.get("edgedefault") != "directed":
            raise UsageError(
                f"{self.path}: expected a directed graph (edgedefault), got {describe(attributes.get('edgedefault'))}"
            )
        elif name == "edge":
            self._at = {}
            self.edges.append((attributes.get("source", ""), attributes.get("target", ""), self._at))
        elif name == "data":
            self._key = self._keys.get(attributes.get("key", ""), attributes.get("key", ""))
            self._text.clear()

    def _end(self, tag: str) -> None:
        name = self._open.pop()
        if name == "data" and self._key is not None:
            inside, value = self._open[-1], "".join(self._text).strip()
            target = self.of_graph if inside == "graph" else self._at if inside == "edge" else None
            if target is not None:
                if self._key in target:
                    raise UsageError(f"{self.path}: {clip(self._key)!r} is there twice in one <{inside}>")
                target[self._key] = value
            self._key = None


def _number(where: str, key: str, value: str | None) -> int:
    if value is None or not value.lstrip("-").isascii() or not value.lstrip("-").isdigit() or len(value) > 12:
        raise UsageError(f"{where}: expected a whole number as {key!r}, got {describe(value)}")
    return int(value)


def _truth(where: str, key: str, value: str | None) -> bool:
    truth = {"true": True, "false": False, "1": True, "0": False}.get((value or "").lower())
    if truth is None:
        raise UsageError(f"{where}: expected true or false as {key!r}, got {describe(value)}")
    return truth


def _score(path: object, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise UsageError(f"{path}: edge {clip(name)!r}: expected a finite number as score, got {describe(text)}")
    return value
