"""The run directory: cells that are there whole or not at all, a lock, and a log of events.

A cell is a folder `cells/<hash>/` with `cell.json` (what it is, the hash of its tensors and one over both) and
`tensors.safetensors`. It is written under a temporary name, row by row if need be, synced and renamed, and its content
is checked when it is read: what a kill, a full disk or a damaged file leaves behind is recomputed, never believed.
It can also be a link to such a folder in the store that runs share: what is removed here is the link.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.cells import Cell, content_hash
from mechshift_core.execution.jobs import Event
from mechshift_core.execution.stream import Array, Layout, TensorFile
from mechshift_core.files import is_locked, remove, sync, try_lock, write_text
from mechshift_core.times import utc_text

CELL, TENSORS, EVENTS = "cell.json", "tensors.safetensors", "events.jsonl"
SHARED = "shared"
"""A file beside those of a cell that was taken from the store that runs share."""


class RunFolder:
    """A run directory.

    Args:
        path: The directory; it is made by :meth:`claim`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = path / "cells"
        self.data = path / "data"
        self.tables = path / "tables"
        self._noted: list[Event] | None = None

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Make the directory if need be and hold it alone; leftovers of a killed run are removed.

        Raises:
            UsageError: if the folder can't be written to, or holds something that is no run.
            ExecutionError: if another process holds it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; a run needs a folder (choose one with --out)")
        strangers = self.path.is_dir() and not (self.path / ".lock").exists() and any(self.path.iterdir())
        if strangers:
            raise UsageError(f"{self.path} is not empty and holds no run; choose another folder with --out")
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            self.data.mkdir(exist_ok=True)
            lock = (self.path / ".lock").open("a+")
        except OSError as error:
            raise UsageError(
                f"cannot write to {self.path}: {error.strerror}; choose another folder with --out"
            ) from error
        with lock:
            if not try_lock(lock):
                raise ExecutionError(
                    f"another process is running in {self.path}; wait for it, or choose another folder with --out"
                )
            for leftover in self.path.rglob(".*.tmp"):
                remove(leftover)
            yield

    @property
    def claimed(self) -> bool:
        """Whether a process holds the run directory right now."""
        return is_locked(self.path / ".lock")

    @contextmanager
    def noting(self, events: list[Event]) -> Iterator[None]:
        """Have events listed, not written: the file has one writer, whoever claimed the directory."""
        self._noted, before = events, self._noted
        try:
            yield
        finally:
            self._noted = before

    def log(self, event: str, **facts: object) -> None:
        """Append one event to `events.jsonl`, on a line of its own even after half a line, as a full disk leaves it."""
        if self._noted is not None:
            self._noted.append((event, facts))
            return
        line = json.dumps({"time": utc_text(), "event": event, **facts})
        with (self.path / EVENTS).open("ab+", buffering=0) as handle:
            length = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, length - 1))
            begin = b"" if handle.read(1) in (b"", b"\n") else b"\n"
            handle.write(begin + line.encode() + b"\n")

    def log_halvings(self, cell: Cell, halvings: Sequence[int]) -> None:
        """Log that batches of a cell did not fit into memory, if any did not."""
        if halvings:
            self.log("out of memory", model=cell.model, task=cell.task, key=cell.key, batch_sizes=list(halvings))

    def has_cell(self, key: str) -> bool:
        """Whether a cell is there with exactly the content that was written."""
        return is_whole(self.cells / key, key)

    def is_shared(self, key: str) -> bool:
        """Whether a cell that is there was taken from the store that runs share."""
        folder = self.cells / key
        return folder.is_symlink() or (folder / SHARED).exists()

    @contextmanager
    def new_cell(self, key: str, description: Mapping[str, Any], layout: Layout) -> Iterator[TensorFile]:
        """Write a cell row by row; it takes its place, and that of a damaged one, when everything is written.

        Args:
            key: Its key.
            description: What it is; what is added before the end is stored too.
            layout: Its tensors.

        Raises:
            ExecutionError: if it can't be written.
        """
        temporary = self.cells / f".{key}.{platform.node()}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir()
            with TensorFile(temporary / TENSORS, layout) as file:
                yield file
            recorded = {**description, "tensors_sha256": file_digest(temporary / TENSORS)}
            recorded["sha256"] = content_hash([key, recorded])
            (temporary / CELL).write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            for name in (TENSORS, CELL):
                sync(temporary / name)
            self.place(temporary, key)
        except OSError as error:
            raise ExecutionError(f"cannot write a cell to {self.cells}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def place(self, temporary: Path, key: str) -> None:
        """Give a cell that was written under a temporary name in `cells` its place, and have it on the disk.

        Raises:
            OSError: if that is not possible.
        """
        before = self.cells / f".{key}.{uuid4().hex}.tmp"
        with suppress(FileNotFoundError):
            (self.cells / key).rename(before)
        try:
            temporary.rename(self.cells / key)
        except OSError:  # another worker, given the same cell when this one was thought dead, may have been faster
            if not self.has_cell(key):
                raise
        remove(before)
        sync(self.cells)

    def write_cell(self, key: str, description: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        """Store a cell whose tensors are in memory."""
        with self.new_cell(key, description, {name: (t.dtype, t.shape) for name, t in tensors.items()}) as file:
            for name, tensor in tensors.items():
                file.write(name, slice(None), tensor)

    def describe(self, key: str) -> dict[str, Any]:
        """What a stored cell says of itself."""
        return describe(self.cells / key)

    def cell_file(self, key: str) -> Path:
        """The safetensors file of a cell."""
        return self.cells / key / TENSORS

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file of the run whole or not at all."""
        write_text(self.path / name, json.dumps(content, indent=2, sort_keys=True) + "\n")


def is_whole(folder: Path, key: str) -> bool:
    """Whether a folder, or what it links to, is a cell of this key with exactly the content that was written."""
    try:
        recorded = describe(folder)
        whole = recorded.pop("sha256") == content_hash([key, recorded])
        return whole and bool(recorded["tensors_sha256"] == file_digest(folder / TENSORS))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def describe(folder: Path) -> dict[str, Any]:
    """What the cell in a folder says of itself."""
    description: dict[str, Any] = json.loads((folder / CELL).read_text(encoding="utf-8"))
    return description


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
