"""The run directories of a folder: how each of them stands, and what in it no plan needs any more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mechshift_core.errors import ExecutionError, MechshiftError, UsageError
from mechshift_core.execution.plan import saved_names
from mechshift_core.execution.store import EVENTS, RunFolder
from mechshift_core.files import remove
from mechshift_core.gate import read_run
from mechshift_core.run_files import PLAN, require_run

State = Literal["running", "complete", "partial", "unfinished"]
"""`partial`: something failed. `unfinished`: interrupted, or the spec has changed since; running it again resumes."""
OUR_NAMES = {"cells": re.compile(r"[0-9a-f]{32}"), "data": re.compile(r".+-[0-9a-f]{16}\.json")}
"""What gc may remove; anything else in these folders was put there by somebody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run stands.

    Attributes:
        path: The run directory.
        name: That of its study.
        note: What failed or is not there, one line each.
        last: When something was last done in it (UTC, ISO 8601); None where the log is lost.
        cells: Cells that are there; `needed`, that its plan asks for; `stored`, all, those of earlier plans too.
        bytes: Size of all its files; of a cell that is a link to the store, nothing.
        verdicts: Hypothesis -> verdict.
    """

    path: Path
    name: str
    state: State
    note: tuple[str, ...]
    last: str | None
    cells: int
    needed: int
    stored: int
    bytes: int
    verdicts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Garbage:
    """A cell, or a link to one of the store, or a data set that the plan of its run does not need."""

    path: Path
    bytes: int


def find_runs(folder: Path) -> list[RunSummary]:
    """Every run directory in a folder, by name.

    Raises:
        UsageError: if it is no folder.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {what}; give a folder that holds run directories")
    found = (path for path in sorted(folder.iterdir()) if (path / PLAN).is_file() or (path / ".lock").is_file())
    return [summarize(path) for path in found]


def summarize(path: Path) -> RunSummary:
    """How a run stands; its cells are counted, not read. Nothing is written.

    Raises:
        UsageError: if the folder holds no run at all.
    """
    if not (path / ".lock").is_file():
        require_run(path)
    folder, name, verdicts = RunFolder(path), path.name, dict[str, str]()
    state: State
    try:
        needed, _ = saved_names(_read_plan(path))
        run = read_run(path)
        name, verdicts = run.findings.name, {finding.id: finding.verdict for finding in run.findings.hypotheses}
        state, note = "partial" if run.failures else "complete", run.failures
    except MechshiftError as error:
        state, note = "unfinished", (str(error),)
        try:
            needed, _ = saved_names(_read_plan(path))
        except MechshiftError:
            needed = frozenset()
    if folder.claimed:
        state, note = "running", ()
    # A link whose entry the store has lost is no cell.
    stored = {cell.name for cell in folder.cells.glob("*") if OUR_NAMES["cells"].fullmatch(cell.name) and cell.exists()}
    return RunSummary(
        path=path,
        name=name,
        state=state,
        note=note,
        last=_last_event(path),
        cells=len(stored & needed),
        needed=len(needed),
        stored=len(stored),
        bytes=_size(path),
        verdicts=verdicts,
    )


def garbage(path: Path) -> list[Garbage]:
    """The cells and data sets of a run that its current plan, alternatives included, does not need.

    Raises:
        UsageError: if the folder holds no run.
        ExecutionError: if its plan is damaged.
    """
    require_run(path)
    cells, data = saved_names(_read_plan(path))
    folder = RunFolder(path)
    found = []
    for place, needed in ((folder.cells, cells), (folder.data, data)):
        ours = (file for file in sorted(place.glob("*")) if OUR_NAMES[place.name].fullmatch(file.name))
        found += [Garbage(file, _size(file)) for file in ours if file.name not in needed]
    return found


def collect(path: Path) -> list[Garbage]:
    """Remove what :func:`garbage` finds.

    Raises:
        UsageError: if the folder holds no run, or can't be written to.
        ExecutionError: if its plan is damaged, or a process is running in it.
    """
    require_run(path)
    folder = RunFolder(path)
    with folder.claim():
        found = garbage(path)
        try:
            for item in found:
                remove(item.path)
        except OSError as error:
            raise ExecutionError(f"{path}: {error}; what is left can be removed by the same command") from error
        folder.log("gc", removed=[item.path.name for item in found], bytes=sum(item.bytes for item in found))
    return found


def _read_plan(path: Path) -> str:
    try:
        return (path / PLAN).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ExecutionError(f"{path / PLAN}: {error}; run the spec again") from error


def _last_event(path: Path) -> str | None:
    try:
        lines = (path / EVENTS).read_bytes().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            event: Any = json.loads(line)
            return str(event["time"])
        except (ValueError, KeyError, TypeError):  # half a line
            continue
    return None


def _size(path: Path) -> int:
    files = [path] if path.is_file() or path.is_symlink() else path.rglob("*")
    return sum(_file_size(file) for file in files)


def _file_size(path: Path) -> int:
    try:
        return path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
    except OSError:  # a run that is going on has moved it
        return 0
