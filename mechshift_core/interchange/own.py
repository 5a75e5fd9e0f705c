"""Circuits as JSON of our own: every size of the graph, shared key/value heads as they are, and where it comes from.

    {"format": "mechshift-circuit", "version": 1,
     "graph": {"layers": 2, "heads": 4, "key_value_heads": 2, "head_size": 4, "hidden_size": 16, "parallel": false},
     "about": {"task": "ioi"}, "scores": {"input->a0.h0<q>": 0.25, ...}, "circuit": ["input->a0.h0<q>", ...]}

`scores`, `circuit` or both; `about` is text, and can be left out.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from mechshift_core.errors import UsageError
from mechshift_core.interchange.circuit import ScoredCircuit, checked_shape
from mechshift_core.interchange.edges import EdgeReader, whole
from mechshift_core.interchange.json_text import mapping
from mechshift_core.wording import clip, describe

FORMAT, VERSION = "mechshift-circuit", 1
SIZES = ("layers", "heads", "key_value_heads", "head_size", "hidden_size")
KEYS = ("format", "version", "graph", "about", "scores", "circuit")


def to_text(circuit: ScoredCircuit) -> str:
    """A circuit as the text of such a file."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "graph": asdict(circuit.shape),
        "about": dict(circuit.about),
    }
    if circuit.scores is not None:
        content["scores"] = dict(zip(circuit.graph.edges, circuit.scores.tolist(), strict=True))
    if circuit.member is not None:
        content["circuit"] = list(circuit.names)
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def from_data(path: object, data: dict[str, Any]) -> ScoredCircuit:
    """Such a file's data as a circuit.

    Raises:
        UsageError: saying where something else was expected.
    """
    if data.get("version") != VERSION:
        raise UsageError(
            f"{path}: expected version {VERSION}, got {describe(data.get('version'))}; a newer mechshift wrote it"
        )
    unknown = [key for key in data if key not in KEYS]
    if unknown:
        raise UsageError(f"{path}: unknown key {clip(unknown[0])!r} (known here: {', '.join(KEYS)})")
    where = f"{path}: graph"
    graph = mapping(where, data.get("graph"), "the sizes of the model")
    parallel = graph.get("parallel")
    if not isinstance(parallel, bool):
        raise UsageError(f"{where}: expected true or false as 'parallel', got {describe(parallel)}")
    shape = checked_shape(where, **whole(where, graph, SIZES), parallel=parallel)
    reader = EdgeReader(path, shape)
    circuit = data.get("circuit")
    if circuit is not None and not (isinstance(circuit, list) and all(isinstance(name, str) for name in circuit)):
        raise UsageError(f"{path}: circuit: expected a list of names of edges, got {describe(circuit)}")
    if "scores" in data:
        scores = mapping(f"{path}: scores", data["scores"], "a mapping of edges to numbers")
        inside = set(circuit or ())
        if circuit and len(inside) < len(circuit):
            raise UsageError(f"{path}: circuit: the edge {_twice(circuit)!r} is there twice")
        for name, score in scores.items():
            if score is None:
                raise UsageError(f"{path}: edge {clip(name)!r}: expected a finite number as score, got nothing")
            reader.add(name, score, name in inside)
        for name in circuit or ():
            if name not in scores:
                reader.add(name, 0.0, member=True)
    else:
        for name in circuit or ():
            reader.add(name, member=True)
    found, member, notes = reader.finish(circuit=circuit is not None)
    return ScoredCircuit(shape=shape, scores=found, member=member, about=_about(path, data), notes=notes)


def _about(path: object, data: dict[str, Any]) -> dict[str, str]:
    about = mapping(f"{path}: about", data.get("about", {}), "a mapping of text")
    wrong = [key for key, value in about.items() if not isinstance(value, str)]
    if wrong:
        raise UsageError(f"{path}: about: {clip(wrong[0])}: expected text, got {describe(about[wrong[0]])}")
    return about


def _twice(names: list[str]) -> str:
    values, counts = np.unique(np.array(names), return_counts=True)
    return clip(str(values[counts > 1][0]))
