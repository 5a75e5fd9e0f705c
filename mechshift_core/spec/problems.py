"""What is wrong with a file, where it is, and how that is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mechshift_core.errors import UsageError
from mechshift_core.options import listing, suggestion

__all__ = ["LINE_BREAK", "Mark", "Problem", "SpecError", "listing", "suggestion"]

LINE_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
"""What ruamel counts as the end of a line."""
SHOWN_PROBLEMS = 50
SHOWN_WIDTH = 120


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A position in a text; the first character is line 1, column 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file.

    Attributes:
        file: The path as the user gave it.
        line: Line of the offending text, counted from 1; 0 where the problem is the file itself.
        column: Column of the offending text, counted from 1 in characters; 0 as for `line`.
        message: What was expected and what came.
        source_line: The offending line, without its line break.
    """

    file: str
    line: int
    column: int
    message: str
    source_line: str = ""

    def __str__(self) -> str:
        if not self.line:
            return f"{self.file}: {self.message}"
        head = f"{self.file}:{self.line}:{self.column}: {self.message}"
        return "\n".join([head, *_excerpt(self.source_line, self.column)]) if self.source_line else head


class SpecError(UsageError):
    """A spec (or another YAML input) cannot be used; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column, p.message)))
        super().__init__(self.render())

    def render(self) -> str:
        """All problems, each with its line and a caret; a long list ends with a count of the rest."""
        shown = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        hidden = len(self.problems) - len(shown)
        return "\n".join([*shown, *([f"... and {hidden} more problems"] if hidden else [])])


def _excerpt(source: str, column: int) -> tuple[str, str]:
    """The line and a caret under `column`, cut to a window around it, safe for a terminal."""
    start = max(0, column - 1 - SHOWN_WIDTH * 2 // 3) if len(source) > SHOWN_WIDTH else 0
    window = source[start : start + SHOWN_WIDTH]
    safe = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in window.replace("\t", " "))
    return f"  {safe}".rstrip(), "  " + " " * (column - 1 - start) + "^"
