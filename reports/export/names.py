"""Names of files that say what is in them, for every file system and for LaTeX."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 48
"""Most characters that a text gives to a name."""


class Names:
    """Names of one folder, no two of them alike; the same texts in the same order give the same names."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, *parts: str) -> str:
        """A name of small letters, digits and hyphens; with a number where another has it already."""
        wanted = "-".join(part for part in map(slug, parts) if part) or "part"
        found, number = wanted, 1
        while found in self._taken:
            number += 1
            found = f"{wanted}-{number}"
        self._taken.add(found)
        return found


def slug(text: str) -> str:
    """A text as small letters, digits and hyphens, cut at a word; letters lose their accents, others are left out."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall("[a-z0-9]+", plain)
    while len(words) > 1 and len("-".join(words)) > LONGEST:
        words.pop()
    return "-".join(words)[:LONGEST]
