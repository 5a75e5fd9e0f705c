"""Progress of what is called in Python: shown in a notebook, silent in a script unless asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mechshift_core.progress import Progress

PAUSE = 0.2
"""Seconds between two changes of the line in a notebook."""


@contextmanager
def shown(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """What is called with the progress of a computation while this lasts.

    Args:
        progress: A function of the caller's; whether progress is shown, in a notebook as one line that changes and
            elsewhere as on a command line; None shows it in a notebook only.
    """
    if progress is not None and not isinstance(progress, bool):
        yield progress
    elif not (in_notebook() if progress is None else progress):
        yield None
    elif in_notebook():
        yield changing_line()
    else:
        from mechshift_core.cli.console import Console
        from mechshift_core.cli.progress import progress_on

        with progress_on(Console()) as callback:
            yield callback


def in_notebook() -> bool:
    """Whether this runs in a notebook that can change what it has displayed (Jupyter, VS Code, Colab)."""
    ipython = sys.modules.get("IPython")
    shell: object = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


def changing_line() -> Progress:
    """A line below the cell that says what is being done."""
    from mechshift_core.cli.progress import TimeLeft

    display: Any = sys.modules["IPython"].display.display
    handle: Any = None
    last, left = -PAUSE, TimeLeft()

    def update(what: str, done: int, total: int) -> None:
        nonlocal handle, last
        left.told(done, total)
        if time.monotonic() - last < PAUSE and done < total:
            return
        last = time.monotonic()
        line = {"text/plain": left.line(what)}
        if handle is None:
            handle = display(line, raw=True, display_id=True)
        else:
            handle.update(line, raw=True)

    return update
