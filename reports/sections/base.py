"""What a section is: a piece of the page with an address and a heading."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the page.

    Attributes:
        id: Fragment identifier.
        title: Heading.
        body: Content below the heading.
    """

    id: str
    title: str
    body: Markup
