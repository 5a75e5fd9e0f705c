"""The spec of a finished run, read though this version would refuse it: what is left out, and what is kept as it was.

Rules are added and words go out of use, but results that are there must stay readable. What only says which results are
shown, or how to run, is left out. A value that the schema takes no more is kept as it stands, so that a report says
what was run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mechshift_core.spec.schema import Spec
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path

CHOICES, CLAIMS, HOW_TO_RUN = "sensitivity", "hypotheses", ("execution", "report")
"""Sections that results can be read without, or without parts of."""
Checked = Callable[[Any], tuple[Spec | None, list[Complaint]]]
"""From the data of a document to the spec, None where the schema refuses it, and all that is wrong with it."""


@dataclass(frozen=True, slots=True)
class Read:
    """A spec that was read over its faults.

    Attributes:
        spec: The spec; None where it can't be read.
        refused: What this version would refuse, a line each.
        left_out: The choices of `sensitivity` of which some are left out, or all.
    """

    spec: Spec | None
    refused: tuple[str, ...]
    left_out: tuple[str, ...]


def read_over(data: Any, checked: Checked) -> Read:
    """Read the data of a spec whose results are there."""
    refused: dict[str, None] = {}
    left_out: dict[str, None] = {}
    kept: dict[Path, Any] = {}
    whole = True  # without some of its claims it is no news that others, or choices, lack something
    while True:
        spec, complaints = checked(data)
        if spec is None or whole:
            refused |= dict.fromkeys(map(_said, complaints))
            left_out |= dict.fromkeys(
                str(one.path[1]) for one in complaints if one.path[:1] == (CHOICES,) and len(one.path) > 1
            )
        if spec is not None and not whole:
            break
        path = next(filter(None, (_dropped(one, data, built=spec is not None) for one in complaints)), None)
        if path is None:
            break
        if path[0] not in (CHOICES, CLAIMS, *HOW_TO_RUN):
            kept[path] = _frozen(_at(data, path))
        data, whole = without(data, [path]), whole and path[0] != CLAIMS
    if spec is not None:
        for path, value in kept.items():
            spec = _with_value(spec, path, value)
    return Read(spec, tuple(refused), tuple(left_out))


def without(data: Any, paths: Iterable[Path]) -> Any:
    """Plain data without what stands at some paths, later ones as they are after the earlier are gone."""
    kept = copy.deepcopy(data)
    for path in paths:
        entry = _at(kept, path[:-1])
        if isinstance(entry, list):
            del entry[path[-1]]  # type: ignore[arg-type]
        else:
            entry.pop(path[-1], None)
    return kept


def _dropped(complaint: Complaint, data: Any, *, built: bool) -> Path | None:
    """What is left out because of a complaint; None where nothing can be, or need be.

    Args:
        complaint: What is wrong.
        data: All that there is.
        built: Whether the schema takes the rest as it is.
    """
    path = complaint.path
    if complaint.unknown_key or not path:
        return None
    if path[0] == CHOICES:
        return path[:3]
    if built:
        return None
    if path[0] == CLAIMS:
        return path[:2] if len(path) > 1 else None
    if path[0] in HOW_TO_RUN:
        return path[:2]
    while path and not isinstance(path[-1], str):
        path = path[:-1]  # the list that a wrong item stands in
    there = path and path[-1] in _at(data, path[:-1])
    return path if there and _is_plain(_at(data, path)) else None


def _said(complaint: Complaint) -> str:
    place, section = (".".join(map(str, path)) for path in (complaint.path, complaint.path[:2]))
    said = complaint.message.startswith(f"{section}: ") or not place
    return complaint.message if said else f"{place}: {complaint.message}"


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _is_plain(value: Any) -> bool:
    """Whether it is a word or a number, or a list of them: what stands in a spec as it is read."""
    items = value if isinstance(value, list) else [value]
    return all(isinstance(one, str | int | float) or one is None for one in items)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _with_value(part: Any, path: Path, value: Any) -> Any:
    """A part of a spec with another value at a path; it is not checked again."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(part, BaseModel):
        fields = type(part).model_fields
        name = next(name for name, field in fields.items() if step == (field.alias or name))
        return part.model_copy(update={name: _with_value(getattr(part, name), rest, value)})
    if isinstance(part, tuple):
        place = int(step)
        return (*part[:place], _with_value(part[place], rest, value), *part[place + 1 :])
    return {**part, step: _with_value(part[step], rest, value)}
