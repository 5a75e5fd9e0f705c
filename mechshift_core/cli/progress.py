"""Progress: a bar on a terminal, plain lines elsewhere, nothing with `--quiet` or `--json`.

Both say how much time is left of a stretch of equal steps, as far as those that are done tell.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from mechshift_core.cli.console import Console
from mechshift_core.durations import roughly

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.progress import Task

    from mechshift_core.progress import Progress

EARLY = 10.0
"""Seconds of a stretch after which something is said of the time left."""


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

    left = TimeLeft()

    class Left(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(left.words, style="progress.remaining")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Clock(), Left())
    with Bar(*columns, console=terminal or Terminal(stderr=True), transient=True) as bar:
        shown = bar.add_task("starting", total=None)

        def update(what: str, done: int, total: int) -> None:
            left.told(done, total)
            bar.update(shown, description=what, completed=done, total=total)

        yield update


def _lines() -> Progress:
    """One line whenever something else begins, and every tenth of a long stretch."""
    last: list[object] = [None, -1]
    left = TimeLeft()

    def update(what: str, done: int, total: int) -> None:
        left.told(done, total)
        tenth = 10 * done // total if total else 0
        if [what, tenth] != last:
            last[:] = [what, tenth]
            sys.stderr.write(f"{left.line(what)}\n")
            sys.stderr.flush()

    return update


class TimeLeft:
    """How long a stretch still takes, from how long its steps took so far; those that were there already took none.

    Args:
        clock: Seconds since some time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began, self._first, self._done, self._total = clock(), 0, 0, 0

    def told(self, done: int, total: int) -> None:
        """Steps done, of how many; fewer done, or another number in all, begin another stretch."""
        if total != self._total or done < self._done:
            self._began, self._first, self._total = self._clock(), done, total
        self._done = done

    @property
    def words(self) -> str:
        """In words; empty while there is nothing to tell it from."""
        passed, more = self._clock() - self._began, self._done - self._first
        if more <= 0 or passed < EARLY or self._done >= self._total:
            return ""
        return f"{roughly(passed / more * (self._total - self._done))} left"

    def line(self, what: str) -> str:
        """A line that says how far a stretch is: `[3/12] cells (about 5 min left)`."""
        return f"[{self._done}/{self._total}] {what}{self.words and f' ({self.words})'}"
