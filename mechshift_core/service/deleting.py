"""Deleting runs: to the trash first, from there for good, or back."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.store import RunFolder
from mechshift_core.files import remove, sync
from mechshift_core.service.index import Index
from mechshift_core.service.jobs import OPEN, Job

_moving = threading.Lock()
"""One run is moved at a time: none is removed while it is on its way back."""


@dataclass(frozen=True, slots=True)
class Trashed:
    """A run in the trash.

    Attributes:
        id: What it is called there: the run, and when it was deleted (seconds).
        run: Its name.
        at: When it was deleted (Unix time).
    """

    id: str
    run: str
    at: int


def delete(index: Index, name: str) -> Trashed:
    """Move a run and its job to the trash.

    Raises:
        UsageError: if there is none.
        ExecutionError: if it waits or runs, or can't be moved.
    """
    root = index.root
    run, job = root.run(name), Job(root.job(name))
    if not root.has(name):
        raise UsageError(f"no run {name!r}")
    if (job.exists and job.state() in OPEN) or (run.is_dir() and RunFolder(run).claimed):
        raise ExecutionError(f"{name} waits or runs; cancel it first")
    found = Trashed(f"{name}.{time.time_ns() // 1_000_000_000}", name, int(time.time()))
    place = root.trash / found.id
    try:
        with _moving:
            place.mkdir()
            for source, target in ((job.folder, "job"), (run, "run")):
                if source.is_dir():
                    source.rename(place / target)
            sync(root.trash)
    except OSError as error:
        raise ExecutionError(f"{name} can't be moved to the trash: {error.strerror or error}") from error
    index.forget(name)
    return found


def trashed(index: Index) -> list[Trashed]:
    """What is in the trash, the last deleted first."""
    found = []
    for place in index.root.trash.iterdir():
        run, _, at = place.name.rpartition(".")
        if run and at.isdigit() and place.is_dir():
            found.append(Trashed(place.name, run, int(at)))
    return sorted(found, key=lambda one: (-one.at, one.id))


def restore(index: Index, id: str) -> str:
    """Move a run back out of the trash, and return its name.

    Raises:
        UsageError: if there is no such run in the trash.
        ExecutionError: if another run has its name now.
    """
    with _moving:
        one, place = _find(index, id)
        targets = [(place / "job", index.root.job(one.run)), (place / "run", index.root.run(one.run))]
        if any(target.exists() for _, target in targets):
            raise ExecutionError(f"there is a run {one.run} again; move that one to the trash first")
        for source, target in targets:
            if source.is_dir():
                source.rename(target)
        remove(place)
    index.refresh([one.run])
    return one.run


def erase(index: Index, id: str) -> None:
    """Remove a run in the trash for good.

    Raises:
        UsageError: if there is no such run in the trash.
    """
    with _moving:
        _, place = _find(index, id)
        gone = index.root.own / f".new-{secrets.token_hex(8)}"  # what is left of it is removed at the next start
        place.rename(gone)
    remove(gone)


def _find(index: Index, id: str) -> tuple[Trashed, Path]:
    for one in trashed(index):
        if one.id == id:
            return one, index.root.trash / one.id
    raise UsageError(f"nothing in the trash is called {id!r}")
