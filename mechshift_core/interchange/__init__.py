"""Circuits and scores in the formats of other tools, out of a run and in again; how faithful anyone's circuit is."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.interchange.circuit import ScoredCircuit
    from mechshift_core.interchange.formats import read_circuit, write_circuit
    from mechshift_core.interchange.from_run import circuit_of_run, with_circuit
    from mechshift_core.interchange.inputs import read_for
    from mechshift_core.interchange.scoring import CircuitScore, score_circuit

_HOMES = {
    "CircuitScore": "scoring",
    "ScoredCircuit": "circuit",
    "circuit_of_run": "from_run",
    "read_circuit": "formats",
    "read_for": "inputs",
    "score_circuit": "scoring",
    "with_circuit": "from_run",
    "write_circuit": "formats",
}

__all__ = [
    "CircuitScore",
    "ScoredCircuit",
    "circuit_of_run",
    "read_circuit",
    "read_for",
    "score_circuit",
    "with_circuit",
    "write_circuit",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
