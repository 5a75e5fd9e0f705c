"""Entries of a spec that stand for several: `matrix: {seed: [0, 1, 2]}`, and `${{ seed }}` in an entry.

An entry of a list, or a model, that names axes is written out once for each combination of their values, in its place;
one that names none stays as it is. A text that is nothing but `${{ axis }}` becomes the value, a number for a number;
elsewhere the value is put into the text. This is done to the plain data of a document before it is validated, so that
what is wrong with an entry that was written out is told at the entry that it was written out from.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from mechshift_core.options import suggestion
from mechshift_core.spec.base import MOST
from mechshift_core.spec.problems import Mark
from mechshift_core.spec.tree import MAX_NODES, Document, Path

SECTION = "matrix"
SECTIONS = ("models", "pairs", "trajectories", "tasks", "interventions", "hypotheses")
"""Whose entries may name axes."""
PLACEHOLDER = re.compile(r"\$\{\{\s*([^{}]*?)\s*\}\}")
Scalar = str | int | float | bool
Axes = Mapping[str, Sequence[Scalar]]


def expand(document: Document) -> None:
    """Write out the entries of a document that name axes; complain of names that are no axes, and of unused ones.

    The names of what was written out are in `document.expanded` afterwards.
    """
    data = document.data
    if not isinstance(data, dict) or not isinstance(data.get(SECTION), dict):
        return
    axes = {name: values for name, values in data[SECTION].items() if _is_axis(values)}
    used: set[str] = set()
    room = MAX_NODES
    for section in SECTIONS:
        entries = data.get(section)
        if not isinstance(entries, list | dict):
            continue
        listed = list(enumerate(entries)) if isinstance(entries, list) else list(entries.items())
        made: list[tuple[str | int, str | int, Any]] = []
        for key, entry in listed:
            written, room = _written(document, section, key, entry, axes, used, room)
            made += [(key, new, one) for new, one in written]
        _replace(document, section, made, isinstance(entries, list))
    for name in data[SECTION]:
        if name not in used:
            message = f"no entry names the axis {name!r}; write ${{{{ {name} }}}} in one, or leave it out"
            document.complain(document.locate((SECTION, name), key=True), message)
    _elsewhere(document)


def _is_axis(values: Any) -> bool:
    """Whether these are values of an axis; what is wrong with others, the grammar says."""
    scalars = isinstance(values, list) and all(isinstance(one, str | int | float | bool) for one in values)
    return scalars and 0 < len(values) <= MOST


def _written(
    document: Document, section: str, key: str | int, entry: Any, axes: Axes, used: set[str], room: int
) -> tuple[list[tuple[str | int, Any]], int]:
    """What an entry stands for, as (key, entry), and how many more values may be written out."""
    path: Path = (section, key)
    texts = [*_texts(entry, path), *([(path, key, True)] if isinstance(key, str) else [])]
    named: set[str] = set()
    for place, text, on_key in texts:
        for axis in PLACEHOLDER.findall(text):
            if axis not in _declared(document):
                hint = suggestion(axis, _declared(document)) or f" (known here: {', '.join(_declared(document))})"
                document.complain(
                    document.locate(place, key=on_key), f"unknown axis {axis!r} of the matrix{hint}", path
                )
            named.add(axis)
    used |= named
    if not named:
        return [(key, entry)], room
    if not named <= axes.keys():
        document.suspect.add(path)
        return [(key, entry)], room
    order = [axis for axis in axes if axis in named]
    count = math.prod(len(axes[axis]) for axis in order)
    room -= count * _size(entry)
    if count > MOST or room < 0:
        document.complain(document.locate(path), f"the matrix makes {count} entries of this one: too many", path)
        return [(key, entry)], max(room, 0)
    combinations = [dict(zip(order, values, strict=True)) for values in product(*(axes[axis] for axis in order))]
    return [(_filled_key(key, values), _filled(entry, values)) for values in combinations], room


def _declared(document: Document) -> list[str]:
    return list(document.data[SECTION]) if isinstance(document.data, dict) else []


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str, bool]]:
    """Every text within a value and where it stands; True for keys."""
    if isinstance(value, str):
        yield path, value, False
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _texts(one, (*path, number))
    elif isinstance(value, dict):
        for key, one in value.items():
            yield (*path, key), key, True
            yield from _texts(one, (*path, key))


def _size(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_size, inner))


def _filled(value: Any, values: Mapping[str, Scalar]) -> Any:
    if isinstance(value, str):
        whole = PLACEHOLDER.fullmatch(value)
        return values[whole[1]] if whole else PLACEHOLDER.sub(lambda found: _word(values[found[1]]), value)
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if isinstance(value, dict):
        return {_filled_key(key, values): _filled(one, values) for key, one in value.items()}
    return value


def _filled_key(key: Any, values: Mapping[str, Scalar]) -> Any:
    return PLACEHOLDER.sub(lambda found: _word(values[found[1]]), key) if isinstance(key, str) else key


def _word(value: Scalar) -> str:
    """A value within a text, as YAML writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _replace(document: Document, section: str, made: Sequence[tuple[str | int, str | int, Any]], listed: bool) -> None:
    """Put what was written out in the place of a section, with the positions of what it was written out from."""
    data = document.data
    assert isinstance(data, dict)
    steps = [(old, number if listed else new) for number, (old, new, _) in enumerate(made)]
    twice: set[str | int] = set()
    entries: dict[str | int, Any] = {}
    for (old, new), (_, _, entry) in zip(steps, made, strict=True):
        if new in entries and new not in twice:
            twice.add(new)
            message = f"the matrix gives the name {new!r} to more than one entry; put an axis into it"
            document.complain(document.locate((section, old), key=True), message, (section, new))
        entries.setdefault(new, entry)
    counts = {old: sum(other == old for other, _ in steps) for old, _ in steps}
    written = [
        _name(entry) if listed else str(new)
        for (old, new), (_, _, entry) in zip(steps, made, strict=True)
        if counts[old] > 1 or entry != (data[section][old])
    ]
    data[section] = list(entries.values()) if listed else entries
    if written:
        document.expanded[section] = tuple(written)
    _move(document.values, section, steps)
    _move(document.keys, section, steps)
    lost = {path: Mark(1, 1) for path in document.suspect}
    _move(lost, section, steps)
    document.suspect = set(lost)


def _name(entry: Any) -> str:
    found = [entry.get(key) for key in ("name", "id")] if isinstance(entry, dict) else []
    return next((one for one in found if isinstance(one, str)), "?")


def _move(places: dict[Path, Mark], section: str, steps: Sequence[tuple[str | int, str | int]]) -> None:
    """Give the positions of an entry to all that was written out from it."""
    before: dict[str | int, list[tuple[Path, Mark]]] = {}
    for path in [path for path in places if path[0:1] == (section,) and len(path) > 1]:
        before.setdefault(path[1], []).append((path[2:], places.pop(path)))
    for old, new in steps:
        for rest, mark in before.get(old, ()):
            places[section, new, *rest] = mark


def _elsewhere(document: Document) -> None:
    """Complain of axes that are named where no entry is written out."""
    assert isinstance(document.data, dict)
    for name, value in document.data.items():
        if name in (*SECTIONS, SECTION):
            continue
        for path, text, on_key in _texts(value, (name,)):
            if PLACEHOLDER.search(text):
                message = f"only entries of {', '.join(SECTIONS)} can name an axis of the matrix"
                document.complain(document.locate(path, key=on_key), message, path)
