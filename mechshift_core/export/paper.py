"""Writing what an author puts into a paper: figures, tables, methods and sentences of one run as files of a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from mechshift_core.errors import UsageError
from mechshift_core.export.runs import report_data_of
from mechshift_core.files import sync, unwritable
from mechshift_core.run_files import PLAN

MOST_ROWS = 200
"""Rows of a table beyond which it is not written, unless another number is given: nobody prints it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """What was written.

    Attributes:
        files: Paths within the folder.
        figures: How many figures there are, and `tables`.
        left_out: Captions of tables that have too many rows, and how many.
        broken: Sections of the report that could not be drawn, and why; their figures and tables are missing.
        panels_left_out: Panels that are in the figures, but have no file of their own.
        refused: What of the run's spec this version would refuse, a line each.
    """

    files: tuple[str, ...]
    figures: int
    tables: int
    left_out: tuple[tuple[str, int], ...]
    broken: tuple[str, ...]
    panels_left_out: int = 0
    refused: tuple[str, ...] = ()


def export_paper(
    run: Path, target: Path, *, force: bool = False, most_rows: int = MOST_ROWS, allow_code: bool = False
) -> Paper:
    """Write figures, tables, methods and sentences of a run into a folder.

    All of it is made before anything appears there, and no file is ever there half-written. Other files stay.

    Args:
        run: The run directory.
        target: The folder; it is made where it is not there.
        force: Whether files that are there may be replaced.
        most_rows: Tables with more rows are left out.
        allow_code: Whether the copies of `extensions` in the run directory may be run.

    Raises:
        UsageError: if `run` is no run, or the folder can't be written or has files that would be replaced.
        ExecutionError: if the run has not come to an end, or is damaged.
    """
    from reports.export import TEXTS, files_of

    _require_place(target)
    data = report_data_of(run, allow_code=allow_code)
    if not force:
        _require_free(target, TEXTS)
    made = files_of(data, run=run.as_posix(), most_rows=most_rows)
    if not force:
        _require_free(target, made.content)
    with _explained(target):
        _write(target.absolute(), made.content)
    return Paper(
        files=tuple(made.content),
        figures=made.figures,
        tables=made.tables,
        left_out=made.left_out,
        broken=made.broken,
        panels_left_out=made.panels_left_out,
        refused=made.refused,
    )


def _require_place(target: Path) -> None:
    """Refuse, before any work, what can never become the folder."""
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file, and no folder to export to; choose another --to")
    if (target / PLAN).is_file():
        raise UsageError(f"{target}: is a run directory, which is not written into; choose another --to")
    within = target.absolute()
    while not within.exists():
        within = within.parent
    if not within.is_dir():
        raise UsageError(f"{target}: {within} is no folder; choose another --to")
    if not os.access(within, os.W_OK | os.X_OK):
        raise UsageError(f"{target}: cannot be written: no right to write in {within}; choose another --to")


def _require_free(target: Path, names: Iterable[str]) -> None:
    taken = [name for name in names if os.path.lexists(target / name)]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise UsageError(
            f"{target}: {taken[0]}{more} would be replaced; give --force to replace them, or choose another --to"
        )


def _write(target: Path, content: Mapping[str, bytes]) -> None:
    """All files beside the folder first; then the folder takes its name, or each file its place in the one there is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.{uuid4().hex[:8]}.tmp")
    try:
        for name, one in content.items():
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one)
            sync(path)
        if not target.exists():
            beside.rename(target)
            return
        for name in content:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).replace(target / name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(unwritable(target, error)) from error
