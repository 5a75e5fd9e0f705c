"""What is checked of the kinds that have measures and tables, when they are registered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mechshift_core.kinds.tables import Column, Tables
from mechshift_core.kinds.testable import Least, Testable
from mechshift_core.registry import NAME
from mechshift_core.spec.base import Section


def faults_of_section(section: object, base: type[Section]) -> Iterator[str]:
    """What is wrong with the section of a spec that a kind has: a documented class, of documented fields."""
    if not (isinstance(section, type) and issubclass(section, base)):
        yield f"its `section` is to be a class of {base.__name__}, got {section!r}"
        return
    if not section.__doc__:
        yield f"{section.__name__} has no docstring, which is its documentation"
    undocumented = [name for name, one in section.model_fields.items() if not one.description]
    if undocumented:
        yield f"fields of {section.__name__} without documentation: {', '.join(undocumented)}"


def faults_of_parts(
    least: object,
    testables: Iterable[object],
    tables: Tables,
    *,
    taken: Iterable[str],
    named: set[str],
) -> Iterator[str]:
    """What is wrong with the parts of a kind.

    Args:
        taken: Tables that others have, and `named`, measures that others let hypotheses name.
    """
    if not isinstance(least, Least):
        yield f"its `least` is to be a Least, got {least!r}"
    own: set[str] = set()
    for one in testables:
        if not isinstance(one, Testable):
            yield f"its `testables` are to be Testable, got {one!r}"
            continue
        yield from one.faults
        if one.name in named | own:
            yield f"hypotheses can name {one.name!r} already"
        own.add(one.name)
    for name, columns in tables.items():
        if not NAME.fullmatch(name):
            yield f"expected a table name of lower-case letters, digits and '_', got {name!r}"
        if name in taken:
            yield f"there is a table {name!r} already"
        if not all(isinstance(column, Column) for column in columns.values()):
            yield f"the columns of table {name!r} are to be Column"
