"""A study from within a test: run, or read where it is run already."""

from __future__ import annotations

from pathlib import Path

from mechshift_core.errors import ExecutionError
from mechshift_core.gate import StoredRun, read_run


def conclusions(path: Path) -> StoredRun:
    """The conclusions of a run directory, or of a spec file, which is run for it.

    Raises:
        UsageError: if the path is neither, or the spec is wrong.
        ExecutionError: if the run is partial or came to nothing.
    """
    if path.is_dir():
        folder = path
    else:
        from mechshift_core.pipeline import run

        folder = run(path).path
    stored = read_run(folder)
    if stored.failures:
        raise ExecutionError("\n".join([f"{folder} is partial:", *stored.failures]))
    return stored
