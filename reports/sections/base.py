"""What a section is: a piece of the page with an address and a heading, and the parts that some are made of."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from reports.figures.base import Figure
from reports.tables import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the page.

    Attributes:
        id: Fragment identifier.
        title: Heading.
        body: Content below the heading.
        figures: The figures in it, in order; they and the next two are set by :func:`reports.page.sections_of`.
        tables: Its tables that belong to no figure.
        draws: The tables of the run and the measures that it is drawn from.
    """

    id: str
    title: str
    body: Markup
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    draws: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a section that explains what it shows, for the template `parts`.

    Attributes:
        heading: Heading of the part; empty where the section's says enough.
        paragraphs: What is shown, how it was made and what it does not show.
        figure: Drawn below the paragraphs.
    """

    heading: str = ""
    paragraphs: tuple[str, ...] = ()
    figure: Figure | None = None
