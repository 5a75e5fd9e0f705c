"""What a store of cells holds, how large it may be, and what is removed where it is larger."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from mechshift_core.errors import UsageError
from mechshift_core.execution.store import describe, is_whole
from mechshift_core.files import remove

VARIABLE, DEFAULT = "MECHSHIFT_CELLS_LIMIT", "20GiB"
USED = "used"
"""A file of an entry whose time is that of its last use."""
PLACE = re.compile(r"(cpu|cuda)-[0-9a-f]{16}")
KEY = re.compile(r"[0-9a-f]{32}")
LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{32}\.tmp")
"""Names of folders of entries, of entries, and of what a killed run leaves; what is called otherwise is not ours."""
LEFT_SECONDS = 24 * 3600
"""Age from which something under a temporary name is what a killed run has left."""
SIZES = {"B": 1} | {
    letter + ending: base**power
    for power, letter in enumerate("KMGT", start=1)
    for ending, base in (("iB", 1024), ("B", 1000))
}
AGES = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
"""Unit -> seconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell in a store, or what a killed run has left of one.

    Attributes:
        path: Its folder.
        bytes: Size of its files.
        used: When it was last taken, or put there, in nanoseconds since 1970.
    """

    path: Path
    bytes: int
    used: int

    @property
    def left(self) -> bool:
        """Whether it is what a killed run has left."""
        return KEY.fullmatch(self.path.name) is None

    def described(self) -> dict[str, Any]:
        """What the cell says of itself; nothing where it is damaged."""
        try:
            return dict(describe(self.path))
        except (OSError, ValueError, TypeError):
            return {}


def limit() -> int:
    """Bytes that the store may hold: `$MECHSHIFT_CELLS_LIMIT`, else 20 GiB.

    Raises:
        UsageError: if that is no size.
    """
    named = os.environ.get(VARIABLE) or DEFAULT
    return int(_measure(VARIABLE, named, SIZES, "a size such as 50GiB"))


def seconds_of(option: str, text: str) -> float:
    """An age such as `30d`, in seconds.

    Raises:
        UsageError: if it is none.
    """
    return _measure(option, text, AGES, "an age such as 30d, 12h or 2w")


def _measure(name: str, text: str, units: dict[str, int], expected: str) -> float:
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([a-zA-Z]*)\s*", text)
    unit = None if found is None else next((one for one in units if one.lower() == found[2].lower()), None)
    if found is None or unit is None:
        raise UsageError(f"{name}: expected {expected} (units: {', '.join(units)}), got {text!r}")
    return float(found[1]) * units[unit]


def entries(folder: Path) -> list[Entry]:
    """What a store holds, and what killed runs have left in it, the least recently used first.

    Raises:
        OSError: if the folder is there and can't be read.
    """
    found = [
        entry
        for place in _listed(folder)
        if PLACE.fullmatch(place.name)
        for path in _listed(place)
        if (entry := _entry(path)) is not None
    ]
    return sorted(found, key=lambda entry: (entry.used, entry.path))


def unwanted(
    found: Sequence[Entry],
    *,
    most: int,
    keep: Collection[Path] = (),
    older_than: float | None = None,
) -> list[Entry]:
    """What a store can do without, of what it holds.

    Args:
        found: As :func:`entries` gives it.
        most: Bytes that may stay: entries go in this order until the rest fits; below 0 all go.
        keep: Entries that stay whatever their size.
        older_than: Seconds since the last use from which entries go in any case.
    """
    now, total, gone = time.time_ns(), sum(entry.bytes for entry in found if not entry.left), list[Entry]()
    for entry in found:
        age = (now - entry.used) / 1e9
        if entry.left:
            goes = age > LEFT_SECONDS
        else:
            goes = entry.path not in keep and (total > most or (older_than is not None and age > older_than))
            total -= entry.bytes if goes else 0
        if goes:
            gone.append(entry)
    return gone


def make_room(folder: Path, most: int, *, keep: Collection[Path]) -> list[Entry]:
    """Remove what was used least recently until the rest fits; what can't be removed stays.

    Args:
        folder: The store.
        most: Bytes that may stay.
        keep: Entries that stay whatever their size.

    Returns:
        What was removed.

    Raises:
        OSError: if the folder can't be read.
    """
    removed = []
    for entry in unwanted(entries(folder), most=most, keep=keep):
        with suppress(OSError):
            discard(entry)
            removed.append(entry)
    return removed


def discard(entry: Entry) -> None:
    """Remove an entry: it loses its name first, so that nobody takes half of it.

    Raises:
        OSError: if it is not there any more, or can't be removed.
    """
    path = entry.path
    if not entry.left:
        path = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
        entry.path.rename(path)
    remove(path)


def damaged(found: Sequence[Entry], *, progress: Callable[[str, int, int], None] | None = None) -> list[Entry]:
    """The entries whose content is not what was written.

    Args:
        found: As :func:`entries` gives it.
        progress: Called with (what is being done, entries done, entries in all).
    """
    wrong, cells = [], [entry for entry in found if not entry.left]
    for number, entry in enumerate(cells):
        if progress is not None:
            progress("hashing cells", number, len(cells))
        # One that has just been removed is not damaged.
        if not is_whole(entry.path, entry.path.name) and entry.path.exists():
            wrong.append(entry)
    return wrong


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _entry(path: Path) -> Entry | None:
    if not (KEY.fullmatch(path.name) or LEFTOVER.fullmatch(path.name)):
        return None
    try:
        files = {file.name: file.lstat() for file in (path.iterdir() if path.is_dir() else [path])}
        used = files.get(USED, path.lstat())
    except FileNotFoundError:  # another run has just removed it
        return None
    return Entry(path, sum(file.st_size for file in files.values()), used.st_mtime_ns)
