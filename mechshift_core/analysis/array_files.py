"""Files of arrays and what belongs to them: whole or not at all, and believed only if they are what was written.

A file is a safetensors file: arrays, and the rest as JSON in its header, with a hash over both and the file's key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mechshift_core.files import replace_file
from stats.replicates import Replicated

Arrays = dict[str, np.ndarray[Any, Any]]
ARRAYS = ("replicates", "influence", "strata", "own")
"""The fields of an estimate with replicates that are arrays, or None."""
UNFIT = (TypeError, ValueError, SafetensorError)
"""What is raised for what no such file can hold."""


def write_arrays(path: Path, key: str, arrays: Arrays, content: Mapping[str, Any]) -> None:
    """Write a file; its folder is made if need be.

    Args:
        path: The file.
        key: What it is known by: under another it is not believed.
        arrays: By name; none is empty.
        content: The rest, which JSON can hold.

    Raises:
        OSError: if it can't be written.
        TypeError, ValueError, SafetensorError: if it can't hold this.
    """
    text = json.dumps(content)
    path.parent.mkdir(exist_ok=True)
    with replace_file(path) as temporary:
        # An empty file can't be read, so a scalar is always there.
        tensors = {"": np.zeros(1), **arrays}
        temporary.write_bytes(save(tensors, {"content": text, "sha256": _digest(key, text, arrays)}))


def read_arrays(path: Path, key: str) -> tuple[Arrays, Any] | None:
    """Arrays and content of a file; None where it is not there or not as it was written."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys() if name}  # noqa: SIM118 - no mapping
        text = metadata["content"]
        if metadata["sha256"] != _digest(key, text, arrays):
            return None
        return arrays, json.loads(text)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def packed_estimate(one: Replicated, name: str) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of an estimate with replicates, `NAME/FIELD` each, and all else as JSON can hold it.

    What is kept is of one pair: estimates that are counted from other pairs are made of it.
    """
    known = {field.name: getattr(one, field.name) for field in fields(one) if field.name != "references"}
    given = {field: known.pop(field) for field in ARRAYS}
    arrays = {f"{name}/{field}": np.ascontiguousarray(value) for field, value in given.items() if value is not None}
    return arrays, {field: plain(value) for field, value in known.items()}


def unpacked_estimate(arrays: Mapping[str, np.ndarray[Any, Any]], name: str, content: Mapping[str, Any]) -> Replicated:
    """The estimate, from what :func:`packed_estimate` made of it."""
    return Replicated(**{**content, **{field: arrays.get(f"{name}/{field}") for field in ARRAYS}})


def plain(value: object) -> object:
    """A value without the types of numpy."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def _digest(key: str, text: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256(f"{key} {text}".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f" {name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
