"""What commands share: the options that stand anywhere on the line, and how text gets out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GLOBAL_FLAGS = ("--debug", "--quiet", "--json", "--allow-code")


@dataclass(slots=True)
class Console:
    """How this call speaks; every command finds it as `context.obj`.

    Attributes:
        debug: Whether errors come with a traceback.
        quiet: Whether only results and errors are printed: no progress, no notes.
        json: Whether results are JSON on standard output.
    """

    debug: bool = False
    quiet: bool = False
    json: bool = False

    def say(self, text: str) -> None:
        """A line on standard output; not with `--quiet` or `--json`."""
        if not (self.quiet or self.json):
            _write(text, sys.stdout)

    def result_marked(self, word: str, rest: str, *, style: str) -> None:
        """A result that begins with a word in colour: on a terminal that takes colours, unless NO_COLOR is set."""
        if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            _write(f"{word} {rest}", sys.stdout)
            return
        from rich.console import Console as Terminal
        from rich.text import Text

        Terminal(highlight=False).print(Text.assemble((word, style), " ", rest), soft_wrap=True)

    def result(self, text: str) -> None:
        """What the command was called for, on standard output whatever the options."""
        _write(text, sys.stdout)

    def result_json(self, content: Any) -> None:
        """The same as JSON."""
        _write(json.dumps(content, indent=2, allow_nan=False), sys.stdout)

    def complain(self, text: str) -> None:
        """An error on standard error; coloured on a terminal."""
        if not sys.stderr.isatty():
            _write(text, sys.stderr)
            return
        from rich.console import Console as Terminal
        from rich.text import Text

        terminal = Terminal(stderr=True, highlight=False)
        for line in text.splitlines():
            style = "bold red" if line.strip() == "^" else "" if line.startswith("  ") else "bold"
            terminal.print(Text(line, style=style), soft_wrap=True)


def hoist_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global flags in front, where the parser expects them; what follows `--` is left alone."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [argument for argument in arguments[:end] if argument in GLOBAL_FLAGS]
    return [*flags, *(a for a in arguments[:end] if a not in GLOBAL_FLAGS), *arguments[end:]]


def _write(text: str, stream: Any) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, errors="replace").decode(encoding) + "\n")
    stream.flush()
