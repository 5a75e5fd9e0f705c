"""Run directories on the command line: by path, or by the name that `mechshift runs list` shows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from mechshift_core.cli.console import Console
from mechshift_core.errors import UsageError
from mechshift_core.run_files import PLAN, RUNS

MOST = 10
"""Runs that a message names."""


def run_at(path: Path) -> Path:
    """The run directory that is meant: the folder itself, or the one of this name in `runs`.

    Raises:
        UsageError: if there is neither, with the names that there are.
    """
    if (path / PLAN).is_file():
        return path
    named = RUNS / path
    if len(path.parts) == 1 and path.name not in ("..", "") and named.is_dir():
        return named
    if path.is_file():
        inside = f", {path.parent}" if (path.parent / PLAN).is_file() else f", such as {RUNS}/NAME"
        raise UsageError(f"{path} holds no run: it is a file; give a run directory{inside}")
    if os.path.lexists(path):
        return path
    from mechshift_core.options import listing, suggestion

    known = sorted(at.parent.name for at in RUNS.glob(f"*/{PLAN}"))
    shown = listing(known, conjunction="and")
    if len(known) > MOST:
        shown = f"{', '.join(map(repr, known[:MOST]))}, ..."
    here = f"; runs here: {shown}" if known else ""
    raise UsageError(
        f"{path} holds no run: there is no such folder{suggestion(path.name, known)}; give a run directory, such as "
        f"{RUNS}/NAME, or the name of one in {RUNS}{here}"
    )


def runs_at(paths: list[Path] | None) -> list[Path] | None:
    """The same of several."""
    return paths and [run_at(path) for path in paths]


def say_refused(console: Console, run: Path, reasons: Sequence[str]) -> None:
    """Say of a run of another version what of its spec this one would refuse."""
    from mechshift_core.markdown import printable

    if reasons:
        console.say(printable(f"note: {run}: this version would refuse its spec: {'; '.join(reasons)}"))


def runs_argument(text: str, *, show_default: bool = False) -> Any:
    """The argument of a command that takes several runs, with its help."""
    return typer.Argument(metavar="RUN", help=text, show_default=show_default, callback=runs_at)
