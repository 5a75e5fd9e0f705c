"""Progress: a bar on a terminal, plain lines elsewhere, nothing with `--quiet` or `--json`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from mechshift_core.cli.console import Console

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.progress import Task

    from mechshift_core.progress import Progress


@contextmanager
def progress_on(console: Console) -> Iterator[Progress | None]:
    """A callback (what is being done, steps done, steps in all) that shows progress on standard error."""
    if console.quiet or console.json:
        yield None
    elif sys.stderr.isatty():
        with _bar() as callback:
            yield callback
    else:
        yield _lines()


@contextmanager
def _bar(terminal: Terminal | None = None) -> Iterator[Progress]:
    """A bar for one stretch after another, with the time since the command began."""
    from rich.console import Console as Terminal
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    began = time.monotonic()

    class Clock(ProgressColumn):  # rich's own stops where a stretch is done, though another follows
        def render(self, task: Task) -> Text:
            return Text(str(timedelta(seconds=int(time.monotonic() - began))), style="progress.elapsed")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Clock())
    with Bar(*columns, console=terminal or Terminal(stderr=True), transient=True) as bar:
        shown = bar.add_task("starting", total=None)

        def update(what: str, done: int, total: int) -> None:
            bar.update(shown, description=what, completed=done, total=total)

        yield update


def _lines() -> Progress:
    """One line whenever something else begins, and every tenth of a long stretch."""
    last: list[object] = [None, -1]

    def update(what: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if [what, tenth] != last:
            last[:] = [what, tenth]
            sys.stderr.write(f"[{done}/{total}] {what}\n")
            sys.stderr.flush()

    return update
