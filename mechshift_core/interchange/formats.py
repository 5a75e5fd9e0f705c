"""Circuit files: which format one is in, reading and writing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import read_regular, write_text
from mechshift_core.interchange import eap_ig, graphml, own
from mechshift_core.interchange.circuit import ScoredCircuit
from mechshift_core.interchange.json_text import mapping, parse
from mechshift_core.options import listing

Format = Literal["mib", "eap-ig", "graphml", "json"]
FORMATS: tuple[Format, ...] = get_args(Format)
MOST_BYTES = 256 * 2**20
"""Largest circuit file that is read; that of a model of 8 billion parameters has about half of it."""
PICKLED = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
WRITERS: dict[Format, Callable[[ScoredCircuit], str]] = {
    "mib": eap_ig.to_text,
    "eap-ig": eap_ig.to_text,
    "graphml": graphml.to_text,
    "json": own.to_text,
}


def read_circuit(path: str | os.PathLike[str]) -> ScoredCircuit:
    """Read a circuit file of any format; which one it is in is seen from its content.

    Args:
        path: A file of EAP-IG or MIB (JSON), GraphML, or JSON of ours. A pickled one (`.pt`) is not read.

    Raises:
        UsageError: if it can't be read, or is none; the message says where, what was expected, and what came.
    """
    file = Path(path)
    if file.suffix.lower() in PICKLED:
        raise UsageError(_pickled(file))
    try:
        content = read_regular(file, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"circuit {file} cannot be read: {reason}") from error
    if content[:2] == b"PK" or content[:1] == b"\x80":
        raise UsageError(_pickled(file))
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"circuit {file} cannot be read: expected UTF-8, got the byte 0x{content[error.start]:02x} at place "
            f"{error.start}; save it as UTF-8"
        ) from error
    if text.lstrip()[:1] == "<":
        return graphml.from_text(file, text)
    if not text.strip():
        raise UsageError(f"circuit {file} is empty")
    data = mapping(str(file), parse(file, text), "a mapping (`cfg`, `nodes`, `edges` of EAP-IG, or JSON of ours)")
    if data.get("format") == own.FORMAT:
        return own.from_data(file, data)
    if "cfg" in data and "edges" in data:
        return eap_ig.from_data(file, data)
    raise UsageError(f"{file}: {_not_a_circuit(data)}")


def write_circuit(circuit: ScoredCircuit, path: str | os.PathLike[str], format: Format) -> None:
    """Write a circuit file whole or not at all.

    Args:
        circuit: The circuit. Of shared key/value heads the formats of MIB and EAP-IG have a copy for each query head,
            with equal parts of the score.
        path: The file; one that is there is replaced.
        format: `mib` or `eap-ig` (the same file), `graphml`, or `json`.

    Raises:
        UsageError: for a format that is not known, or one that can't hold it.
        ExecutionError: if the file can't be written.
    """
    if format not in FORMATS:
        raise UsageError(f"format: expected {listing([*FORMATS])}, got {format!r}")
    text = WRITERS[format](circuit)
    try:
        write_text(Path(path), text)
    except OSError as error:
        raise ExecutionError(f"{path} cannot be written: {error.strerror or error}") from error


def _pickled(file: Path) -> str:
    return (
        f"{file} is a pickled file, which could run code while it is read, and is not read here; where you trust it, "
        "write it as JSON with the tool that made it (EAP-IG: `Graph.from_pt('x.pt').to_json('x.json')`)"
    )


def _not_a_circuit(data: dict[str, object]) -> str:
    if "node_scores" in data:
        return (
            "scores of nodes, as CircuitKIT writes them; circuits of edges are read here, as its graph's `to_json` "
            "writes them"
        )
    missing = [key for key in ("cfg", "edges") if key not in data]
    return (
        f"no circuit: expected `cfg` and `edges` as EAP-IG and MIB write them, or `format: {own.FORMAT}`; there is no "
        f"{' and no '.join(map(repr, missing))}"
    )
