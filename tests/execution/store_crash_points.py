"""A process that dies at every single operation on files while it shares a cell: `store_crash_points.py FOLDER`.

Prints how many moments there were, for hard links, links and copies. It imports nothing that has threads, so that it
may fork.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from crash_points import dies

from mechshift_core.execution.cell_store import CellStore
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.store_room import KEY, LEFTOVER

K = "0123456789abcdef" * 2
WAYS = ("hard links", "links", "copies")
OLD, NEW = np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32)


def refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


@contextmanager
def file_systems(way: str) -> Iterator[None]:
    """The store and the run directories on one file system, or on two."""
    with mock.patch.object(os, "link", os.link if way == "hard links" else refuse):
        yield


def content(cell: Path) -> bytes:
    return (cell / "tensors.safetensors").read_bytes()


def damage(cell: Path) -> None:
    """Other numbers than the description has the hash of, in files of their own."""
    found = content(cell).replace(NEW.tobytes(), OLD.tobytes())
    (cell / "tensors.safetensors").unlink()
    (cell / "tensors.safetensors").write_bytes(found)


def main(place: Path, way: str) -> int:
    """Kill at every moment: afterwards store and run directory have the cell whole, or do not believe that they do."""
    moment = 0
    while True:
        shutil.rmtree(place, ignore_errors=True)
        first, second = RunFolder(place / "first"), RunFolder(place / "second")
        store = CellStore(place / "store", device="cpu", most=10**9, copies=way == "copies")
        entry = store.place / K
        with first.claim(), second.claim():
            first.write_cell(K, {"model": "m"}, {"scores": NEW})
            second.write_cell(K, {"model": "m"}, {"scores": NEW})
            store.put(K, second)
            damage(second.cells / K)
            damage(entry)

        def share(store: CellStore = store, first: RunFolder = first, second: RunFolder = second) -> None:
            store.put(K, first)
            assert store.take(K, second)

        with file_systems(way):
            killed = dies(share, before=moment)
            for believed, cell in ((store.has(K), entry), (second.has_cell(K), second.cells / K)):
                assert not believed or content(cell).endswith(NEW.tobytes()), moment
            again = CellStore(place / "store", device="cpu", most=10**9, copies=way == "copies")
            with first.claim(), second.claim():
                assert not [path for run in (first, second) for path in run.path.rglob(".*.tmp")], moment
                again.put(K, first)
                assert second.has_cell(K) or again.take(K, second), moment
            assert again.notice == "", moment
            assert again.has(K) and second.has_cell(K) and second.is_shared(K), moment
            assert (second.cells / K).is_symlink() == (way == "links"), moment
        for path in store.place.iterdir():
            assert KEY.fullmatch(path.name) or LEFTOVER.fullmatch(path.name), moment
        if not killed:
            return moment
        moment += 1


if __name__ == "__main__":
    print(*(main(Path(sys.argv[1]) / str(number), way) for number, way in enumerate(WAYS)))
