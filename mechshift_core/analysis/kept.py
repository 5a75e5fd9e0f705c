"""Statistics that are kept in the run directory: a file each, named by the key, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mechshift_core.analysis.array_files import (
    UNFIT,
    Arrays,
    packed_estimate,
    plain,
    read_arrays,
    unpacked_estimate,
    write_arrays,
)
from mechshift_core.analysis.measured import Measured, Rows
from mechshift_core.analysis.statistic import Statistic
from mechshift_core.execution.store import RunFolder
from stats.findings import Estimate

FOLDER = "statistics"


class Kept:
    """The statistics of a run that are kept.

    Args:
        folder: The run directory.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder.path / FOLDER
        self._looked_at: dict[str, Measured] = {}

    def __contains__(self, one: Statistic) -> bool:
        """Whether a statistic is kept; it is held until it is asked for, so that its file is read once."""
        found = self._read(one.key)
        if found is not None:
            self._looked_at[one.key] = found
        return found is not None

    def of(self, one: Statistic) -> Measured:
        """A statistic, as it is kept; computed and kept if it is not."""
        found = self._looked_at.pop(one.key, None) or self._read(one.key)
        return self.compute(one) if found is None else found

    def compute(self, one: Statistic) -> Measured:
        """Compute and keep a statistic; one that breaks is not kept, so that it is tried again."""
        found = one.compute()
        if not found.failed:
            with suppress(*UNFIT):  # a kind of others has what no file holds
                write_arrays(self._file(one.key), one.key, *packed(found))
        return found

    def forget(self, but: frozenset[str]) -> None:
        """Remove all but those of some keys."""
        for file in self._folder.glob("*.safetensors") if self._folder.is_dir() else ():
            if file.stem not in but:
                file.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.safetensors"

    def _read(self, key: str) -> Measured | None:
        """What is kept; None where it is not there or not as it was written."""
        found = read_arrays(self._file(key), key)
        if found is None:
            return None
        try:
            return unpacked(*found)
        except (KeyError, TypeError, ValueError):
            return None


def packed(measured: Measured) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of what was measured, and all else as JSON can hold it."""
    arrays: Arrays = {}
    replicated: dict[str, dict[str, Any]] = {}
    for name, one in measured.replicated.items():
        own, replicated[name] = packed_estimate(one, name)
        arrays |= own
    return arrays, {
        "rows": {table: [plain(row) for row in rows] for table, rows in measured.rows.items()},
        "estimates": [plain(asdict(one)) for one in measured.estimates],
        "replicated": replicated,
        "problems": dict(measured.problems),
    }


def unpacked(arrays: Mapping[str, np.ndarray[Any, Any]], content: Mapping[str, Any]) -> Measured:
    """What was measured, from what :func:`packed` made of it."""
    rows: Mapping[str, Rows] = content["rows"]
    return Measured(
        rows=rows,
        estimates=tuple(Estimate(**one) for one in content["estimates"]),
        replicated={name: unpacked_estimate(arrays, name, one) for name, one in content["replicated"].items()},
        problems=content["problems"],
    )
