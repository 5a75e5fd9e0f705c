"""Values on a grid as squares whose area is the magnitude: filled where positive, hollow where negative (Hinton 1986).

No shade of a colour has to be told from another, hence it reads the same in light, dark and print, and for everyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import formats
from reports.figures import svg
from reports.figures.base import Key
from reports.figures.svg import cut, element, picture, short

NAMED = 24
"""Squares of a drawing that answer to the pointer: the largest ones. (All of them would outweigh the page.)"""
LONGEST = 16
"""Characters of a name beside the grid."""
_TOP, _BOTTOM, _RIGHT, _LETTER = 22, 20, 8, 7.0
_SMALLEST = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A value in a column and a row, numbered from the left and from the top; `name` says what it is of."""

    column: int
    row: int
    value: float
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Columns or rows of a grid.

    Attributes:
        names: One for each column or row; empty where none is written.
        apart: How many of the columns at the end stand apart from the others.
    """

    names: tuple[str, ...]
    apart: int = 0

    @property
    def written(self) -> list[tuple[int, str]]:
        """The names that are written, with the number of their column or row."""
        return [(at, name) for at, name in enumerate(self.names) if name]


def numbered(letter: str, count: int, *, size: float, room: float) -> tuple[str, ...]:
    """`L0`, `L1`, ...: as many of them, from the first, as have room.

    Args:
        letter: Before the number.
        count: Of columns or rows.
        size: Of a place, in pixels.
        room: That a name needs, in pixels.
    """
    every = next((step for step in (1, 2, 4, 8, 16) if step * size >= room), 32)
    return tuple(f"{letter}{at}" if at % every == 0 else "" for at in range(count))


def draw(
    cells: Sequence[Cell],
    *,
    columns: Axis,
    rows: Axis,
    size: float,
    top: float,
    side: str,
    label: str,
    title: str = "",
    pitch: float | None = None,
) -> Markup:
    """One grid.

    Args:
        cells: Values; places without one stay empty, like those below a hundredth of `top`.
        columns: From the left.
        rows: From the top.
        size: Of a place, in pixels.
        pitch: From row to row, in pixels; `size` unless given.
        top: Magnitude that fills a place.
        side: `before` or `after`, which is written above the grid and decides its colour.
        label: Text alternative.
        title: What is written above the grid after the side.
    """
    left = 12 + _LETTER * max((min(len(name), LONGEST) for _, name in rows.written), default=0)
    places = _places(columns, size=size, left=left)
    pitch = pitch or size
    width, height = places[-1] + max(size / 2 + _RIGHT, 18), _TOP + pitch * len(rows.names) + _BOTTOM
    middles = [_TOP + pitch * (at + 0.5) for at in range(len(rows.names))]
    across = width - _RIGHT - left
    stripes = "".join(
        f"M{short(left)} {short(y - pitch / 2)}h{short(across)}v{short(pitch)}h-{short(across)}z" for y in middles[::2]
    )
    names = [element("path", d=stripes, class_="stripe")]
    names += [
        element("text", cut(name, LONGEST), x=left - 5, y=middles[at] + 4, class_="end") for at, name in rows.written
    ]
    names += [
        element("text", cut(name, LONGEST), x=places[at], y=height - 5, class_="middle") for at, name in columns.written
    ]
    heading = f"{side}, {title}" if title else side
    parts = [element("text", heading, x=left, y=13, class_="strong")]
    parts.append(element("g", *names, class_="places"))
    parts += _squares(cells, places, middles, size=size, top=top, side=side)
    # A heading longer than a narrow grid needs its room.
    return picture(*parts, width=max(width, left + _LETTER * len(heading)), height=height, label=label, class_="matrix")


def legend() -> tuple[Key, ...]:
    """What filled and hollow squares mean."""
    positive = svg.sample(
        *(element("rect", x=x, y=7 - r, width=2 * r, height=2 * r, class_="f-ink") for x, r in _SHOWN)
    )
    negative = svg.sample(
        *(element("rect", x=x, y=7 - r, width=2 * r, height=2 * r, class_="f-paper s-ink") for x, r in _SHOWN)
    )
    return Key(sample=positive, label="positive: works for the answer"), Key(
        sample=negative, label="negative: against it"
    )


_SHOWN = ((4, 2), (14, 4.5))


def _places(columns: Axis, *, size: float, left: float) -> list[float]:
    """Middles of the columns; between those that stand apart there is room for their names."""
    end = len(columns.names) - columns.apart
    places = [left + size * (at + 0.5) for at in range(end)]
    for name in columns.names[end:]:
        room = max(size, 14 + _LETTER * min(len(name), LONGEST) / 2)
        places.append((places[-1] if places else left) + room + (0 if end == len(places) else room / 2))
    return places


def _squares(
    cells: Sequence[Cell], places: list[float], middles: list[float], *, size: float, top: float, side: str
) -> list[Markup]:
    shown = [cell for cell in cells if abs(cell.value) >= _SMALLEST * top > 0]
    shown.sort(key=lambda cell: (-abs(cell.value), cell.row, cell.column))
    named: dict[bool, list[Markup]] = {True: [], False: []}
    paths = {True: "", False: ""}
    for number, cell in enumerate(shown):
        positive = cell.value > 0
        edge = (size - 1) * min(1.0, abs(cell.value) / top) ** 0.5 - (0 if positive else 1)
        edge = round(max(edge, 1.0), 1)
        x, y = places[cell.column] - edge / 2, middles[cell.row] - edge / 2
        path = f"M{short(round(x, 1))} {short(round(y, 1))}h{edge:g}v{edge:g}h-{edge:g}z"
        if number < NAMED:
            title = element("title", f"{cell.name}: {formats.number(cell.value)}")
            named[positive].append(element("path", title, d=path))
        else:
            paths[positive] += path
    for positive, path in paths.items():
        named[positive] += [element("path", d=path)] if path else []
    return [element("g", *found, class_=_class(side, positive)) for positive, found in named.items() if found]


def _class(side: str, positive: bool) -> str:
    return f"f-{side}" if positive else f"f-paper s-{side}"
