"""Tables in GitHub's Markdown, in which no text from a spec can act as markup."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKUP = re.compile(r"[\\`*_{}\[\]#|~!&@$:]")


def printable(text: str) -> str:
    """Text on one line, with a replacement character for each that is not printable."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in re.sub(r"\s", " ", text))


def escape(text: str) -> str:
    """Text as it is, whatever it contains."""
    escaped = _MARKUP.sub(lambda found: f"\\{found[0]}", printable(text))
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
