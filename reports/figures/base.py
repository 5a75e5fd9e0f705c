"""What a figure is: panels of drawings, a legend, a caption, and its numbers as a table."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from markupsafe import Markup

from reports.tables import Table

WIDEST = 4
"""Most panels in a row."""
MANY = 24
"""Panels of a figure beyond which only those of the leading pairs are open."""
_leading: ContextVar[Set[str]] = ContextVar("leading pairs", default=frozenset())


@contextmanager
def leading_pairs(pairs: Set[str]) -> Iterator[None]:
    """While a page is made, figures of many panels show these pairs first, and fold the panels of others."""
    before = _leading.set(pairs)
    try:
        yield
    finally:
        _leading.reset(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An entry of a legend: a drawn sample and its meaning."""

    sample: Markup
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One of a figure's small multiples.

    Attributes:
        title: What the panel is about (task), `subtitle` the rest (pair).
        drawings: SVG elements side by side, each with a text alternative.
        note: What to say where something could not be drawn.
    """

    title: str
    subtitle: str
    drawings: tuple[Markup, ...]
    note: str = ""

    @property
    def pair(self) -> str:
        """The pair that the panel is of: what its subtitle begins with."""
        return self.subtitle.partition(", ")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure of the page.

    Attributes:
        id: Fragment identifier.
        caption: What to see in it, in two or three sentences.
        more: What else a reader may ask about it, folded under the caption.
        hint: What a reader of the page can do with it, with a mouse say; files on their own leave it out.
        panels: Small multiples, row by row.
        columns: Panels that belong in a row.
        legend: Entries of the legend.
        tables: The numbers behind the drawings.
    """

    id: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int
    legend: tuple[Key, ...]
    tables: tuple[Table, ...]
    more: str = ""
    hint: str = ""

    @property
    def folded(self) -> tuple[Panel, ...]:
        """Panels of other than the leading pairs, where there are many; the others are :attr:`open`."""
        other = tuple(panel for panel in self.panels if panel.pair not in _leading.get())
        return other if len(self.panels) > MANY and len(other) < len(self.panels) else ()

    @property
    def open(self) -> tuple[Panel, ...]:
        """Panels that a page shows at once: all of them where there are few."""
        hidden = {id(panel) for panel in self.folded}
        return tuple(panel for panel in self.panels if id(panel) not in hidden)

    @property
    def abreast(self) -> int:
        """Panels in a row where the page is wide: at most 4, and so few that no row mixes two groups if it can be."""
        return self.columns if self.columns <= WIDEST else next((n for n in (4, 3) if self.columns % n == 0), WIDEST)
