"""Structural differences of two documents of plain data, each named by a dotted path."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from reports.compare import Change

KEYS = ("name", "id")
"""What names the entries of a list of mappings."""


def differences(first: Any, second: Any, *, ignore: Collection[str] = ()) -> tuple[Change, ...]:
    """Where two documents differ: `statistics.confidence`, `hypotheses[early-shift].test.alternative`.

    Entries of lists of mappings belong together by their name or id, whatever their order; other lists are compared
    as wholes if their entries are scalars, by position otherwise.

    Args:
        first: Mappings, lists and scalars.
        second: Likewise.
        ignore: Paths to leave out, with all that is below them.
    """
    return tuple(_differences("", first, second, frozenset(ignore)))


def every_value(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a document with its path, as :func:`differences` names it; those that hold others, too."""
    if path:
        yield path, document
    parts = _parts(path, document, document)
    if parts is not None:
        for step, value in parts[0].items():
            yield from every_value(value, step)


def _differences(path: str, first: Any, second: Any, ignore: frozenset[str]) -> Iterator[Change]:
    if path in ignore:
        return
    parts = _parts(path, first, second)
    if parts is None:
        if not _same(first, second):
            yield Change(path=path, kind="changed", first=first, second=second)
        return
    before, after = parts
    for step in [*before, *(step for step in after if step not in before)]:
        if step in before and step in after:
            yield from _differences(step, before[step], after[step], ignore)
        elif step not in ignore:
            yield Change(
                path=step,
                kind="removed" if step in before else "added",
                first=before.get(step),
                second=after.get(step),
            )


def _same(first: Any, second: Any) -> bool:
    """Equal, and `1` is not `true`."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)


def _parts(path: str, first: Any, second: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What can be compared one by one, by path; None where the two are compared as wholes."""
    if isinstance(first, dict) and isinstance(second, dict):
        prefix = f"{path}." if path else ""
        before, after = ({f"{prefix}{key}": value for key, value in side.items()} for side in (first, second))
        return before, after
    if not (isinstance(first, list) and isinstance(second, list)):
        return None
    entries = [*first, *second]
    if not all(isinstance(entry, dict) for entry in entries):
        return None
    for key in KEYS:
        names = [[entry.get(key) for entry in side] for side in (first, second)]
        if all(isinstance(name, str) for side in names for name in side) and all(len(set(n)) == len(n) for n in names):
            before, after = (
                {f"{path}[{name}]": entry for name, entry in zip(named, side, strict=True)}
                for named, side in zip(names, (first, second), strict=True)
            )
            return before, after
    before, after = ({f"{path}[{place}]": entry for place, entry in enumerate(side)} for side in (first, second))
    return before, after
