"""Dotted keys: where `tasks.ioi.examples` or `tasks.0.examples` leads to in the plain data of a spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mechshift_core.options import suggestion
from mechshift_core.spec.tree import Path
from mechshift_core.wording import clip, describe

NAMED = ("name", "id")
"""What names the entries of a list."""
NAMES = "models"
"""The section whose keys are names that the user chose."""
LONGEST = 400
"""Characters of a key."""


class NowhereError(Exception):
    """A key that leads nowhere, with the reason; the reader of overrides gives it a place."""


def path_of(data: Any, key: str) -> Path:
    """The path of a key; what is not there yet in a mapping may be made, by the names that are left.

    Entries of lists go by place or by name, and names may have dots.

    Raises:
        NowhereError: if it leads through a list or a value that has no such part.
    """
    parts = key.split(".")
    if len(key) > LONGEST or not all(parts):
        raise NowhereError(f"{clip(key)!r} is no dotted path such as tasks.0.examples")
    path: list[str | int] = []
    here = data
    while parts:
        taken, step = _step(here, parts, path)
        path.append(step)
        parts = parts[taken:]
        here = _inner(here, step)
    return tuple(path)


def key_of(data: Any, path: Path) -> str:
    """The key of a path, with names in place of places where they are clear."""
    parts, here = [], data
    for step in path:
        part = str(step)
        if isinstance(here, list) and isinstance(step, int):
            names = names_of(here)
            name = names[step]
            part = name if name is not None and names.count(name) == 1 and not name.isdecimal() else part
        here = _inner(here, step)
        parts.append(part)
    return ".".join(parts)


def names_of(entries: Sequence[Any]) -> list[str | None]:
    """The name of each entry of a list; None where it has none."""
    found: list[str | None] = []
    for entry in entries:
        values = [entry.get(key) for key in NAMED] if isinstance(entry, dict) else []
        found.append(next((value for value in values if isinstance(value, str)), None))
    return found


def _inner(here: Any, step: str | int) -> Any:
    """What is at a step; None where nothing is yet."""
    if isinstance(here, list) and isinstance(step, int):
        return here[step]
    return here.get(step) if isinstance(here, dict) else None


def _step(here: Any, parts: list[str], path: Sequence[str | int]) -> tuple[int, str | int]:
    """How many parts of a key lead one step further, and which step that is."""
    if here is None:
        return 1, parts[0]
    if isinstance(here, list):
        return _entry(here, parts, ".".join(map(str, path)))
    if not isinstance(here, dict):
        raise NowhereError(f"{'.'.join(map(str, path))!r} is {describe(here)}, which has no part {parts[0]!r}")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    found = next((name for name in names if name in here), None)
    if found is None and [*path] == [NAMES]:
        hint = suggestion(parts[0], map(str, here)) or f" (known here: {', '.join(map(str, here))})"
        raise NowhereError(f"unknown entry {parts[0]!r} of {NAMES}{hint}")
    return (1, parts[0]) if found is None else (found.count(".") + 1, found)


def _entry(entries: list[Any], parts: list[str], where: str) -> tuple[int, int]:
    """How many parts of a key name an entry of a list, and which it is."""
    part, names = parts[0], names_of(entries)
    if part.isdecimal() and part.isascii():
        if int(part) < len(entries):
            return 1, int(part)
        places = f"0 to {len(entries) - 1}" if entries else "none"
        raise NowhereError(f"{where!r} has no entry {part} ({len(entries)} entries: {places})")
    for count in range(len(parts), 0, -1):
        name = ".".join(parts[:count])
        if names.count(name) == 1:
            return count, names.index(name)
    if names.count(part) > 1:
        raise NowhereError(f"{where!r} has {names.count(part)} entries {part!r}; give the place of one, 0 is the first")
    there = [name for name in names if name is not None]
    hint = suggestion(part, there) or f" (known here: {', '.join(there) or 'none'})"
    raise NowhereError(f"{where!r} has no entry {part!r}{hint}")
