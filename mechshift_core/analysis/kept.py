"""Statistics that are kept in the run directory: a file each, named by the key, whole or not at all.

A file is a safetensors file: arrays, and the rest as JSON in its header, with a hash over both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mechshift_core.analysis.measured import Measured, Rows
from mechshift_core.analysis.statistic import Statistic
from mechshift_core.execution.store import RunFolder
from mechshift_core.files import replace_file
from stats.findings import Estimate
from stats.replicates import Replicated

FOLDER = "statistics"
ARRAYS = ("replicates", "influence", "strata", "own")
"""The fields of an estimate with replicates that are arrays, or None."""


class Kept:
    """The statistics of a run that are kept.

    Args:
        folder: The run directory.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / FOLDER

    def __contains__(self, one: Statistic) -> bool:
        return self._read(one.key) is not None

    def of(self, one: Statistic) -> Measured:
        """A statistic, as it is kept; computed and kept if it is not."""
        found = self._read(one.key)
        return self.compute(one) if found is None else found

    def compute(self, one: Statistic) -> Measured:
        """Compute and keep a statistic; one that breaks is not kept, so that it is tried again."""
        found = one.compute()
        if not found.failed:
            with suppress(TypeError, ValueError, SafetensorError):  # a kind of others has what no file holds
                self._write(one.key, found)
        return found

    def forget(self, but: frozenset[str]) -> None:
        """Remove all but those of some keys."""
        for file in self._path.glob("*.safetensors") if self._path.is_dir() else ():
            if file.stem not in but:
                file.unlink(missing_ok=True)

    def _write(self, key: str, measured: Measured) -> None:
        arrays, content = packed(measured)
        text = json.dumps(content)
        self._path.mkdir(exist_ok=True)
        with replace_file(self._path / f"{key}.safetensors") as temporary:
            # An empty file can't be read, so a scalar is always there.
            tensors = {"": np.zeros(1), **arrays}
            temporary.write_bytes(save(tensors, {"content": text, "sha256": _digest(key, text, arrays)}))

    def _read(self, key: str) -> Measured | None:
        """What is kept; None where it is not there or not as it was written."""
        path = self._path / f"{key}.safetensors"
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: Mapping[str, str] = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys() if name}  # noqa: SIM118 - no mapping
            text = metadata["content"]
            if metadata["sha256"] != _digest(key, text, arrays):
                return None
            return unpacked(arrays, json.loads(text))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None


def packed(measured: Measured) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
    """The arrays of what was measured, and all else as JSON can hold it."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    replicated: dict[str, dict[str, Any]] = {}
    for name, one in measured.replicated.items():
        known = {field.name: getattr(one, field.name) for field in fields(one)}
        for field in ARRAYS:
            value = known.pop(field)
            if value is not None:
                arrays[f"{name}/{field}"] = np.ascontiguousarray(value)
        replicated[name] = {field: _plain(value) for field, value in known.items()}
    return arrays, {
        "rows": {table: [_plain(row) for row in rows] for table, rows in measured.rows.items()},
        "estimates": [_plain(asdict(one)) for one in measured.estimates],
        "replicated": replicated,
        "problems": dict(measured.problems),
    }


def unpacked(arrays: Mapping[str, np.ndarray[Any, Any]], content: Mapping[str, Any]) -> Measured:
    """What was measured, from what :func:`packed` made of it."""
    rows: Mapping[str, Rows] = content["rows"]
    return Measured(
        rows=rows,
        estimates=tuple(Estimate(**one) for one in content["estimates"]),
        replicated={
            name: Replicated(**{**one, **{field: arrays.get(f"{name}/{field}") for field in ARRAYS}})
            for name, one in content["replicated"].items()
        },
        problems=content["problems"],
    )


def _plain(value: object) -> object:
    """A value without the types of numpy."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _digest(key: str, text: str, arrays: Mapping[str, np.ndarray[Any, Any]]) -> str:
    digest = hashlib.sha256(f"{key} {text}".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f" {name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
