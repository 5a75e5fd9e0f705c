"""What the cards of all trained models share: their file, and how they write tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mechshift_core.zoo.storage import save_text

CARD = "README.md"


def save_card(folder: Path, text: str) -> None:
    """Write a card into the folder of its model, unless it is there already.

    Raises:
        UsageError: if it can't be written.
    """
    path = folder / CARD
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        save_text(path, text)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, without a line break at its end."""
    lines = [f"| {' | '.join(map(str, row))} |" for row in (headings, *rows)]
    return "\n".join([lines[0], "|---" * len(headings) + "|", *lines[1:]])
