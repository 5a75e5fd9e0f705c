"""What a section shows, as objects: the figures and tables that its templates are filled with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass

from reports.figures.base import Figure
from reports.tables import Table


def shown_in(contexts: Iterable[Mapping[str, object]]) -> tuple[tuple[Figure, ...], tuple[Table, ...]]:
    """The figures, and the tables with rows that belong to none of them, each once and in order.

    Args:
        contexts: What templates are filled with: figures and tables, or lists and dataclasses that hold some.
    """
    found = {id(one): one for context in contexts for one in _within(context)}
    figures = tuple(one for one in found.values() if isinstance(one, Figure))
    return figures, tuple(one for one in found.values() if isinstance(one, Table) and one.rows)


def _within(value: object) -> Iterator[Figure | Table]:
    if isinstance(value, Figure | Table):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _within(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _within(one)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _within(getattr(value, field.name))
