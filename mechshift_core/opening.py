"""Opening a finished run: what running it returned, read from its directory."""

from __future__ import annotations

import os
from pathlib import Path

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.prompts import accounts
from mechshift_core.execution.store import RunFolder
from mechshift_core.finished_run import Run
from mechshift_core.gate.stored import read_run
from mechshift_core.options import checked_as
from mechshift_core.pipeline import require_end, stored_plan
from mechshift_core.run_versions import version_told


@checked_as(UsageError)
def open_run(path: str | os.PathLike[str], *, allow_code: bool = False) -> Run:
    """A finished run as :func:`.run` returned it; nothing is computed or written, and no model is loaded.

    A run of which parts failed is opened, too: `failures` says what is missing.

    Args:
        path: A run directory.
        allow_code: Whether the copies of `extensions` in the run directory may be run.

    Raises:
        UsageError: if the folder is not there or holds no run, or its spec can't be read.
        ExecutionError: if the run has not come to an end, its files are damaged or a process is writing them, or
            another version of mechshift wrote what this one can't read.
    """
    folder = RunFolder(Path(path))
    if not folder.path.is_dir():
        raise UsageError(f"{folder.path}: no such folder; give a run directory")
    if folder.claimed:
        raise ExecutionError(f"{folder.path}: a process is running in it; open it when that has come to an end")
    with version_told(folder.path):
        return _opened(folder, allow_code=allow_code)


def _opened(folder: RunFolder, *, allow_code: bool) -> Run:
    plan = stored_plan(folder.path, allow_code=allow_code, finished=True)
    stored = read_run(folder.path)
    require_end(plan, folder)
    return Run(
        folder.path,
        stored.findings,
        computed=0,
        cached=sum(folder.has_cell(cell.key) for _, cell in plan.every_cell),
        failures=tuple(str(line) for line in stored.provenance.get("failures", [])),
        analysed=False,
        too_few=str(stored.provenance.get("too_few", "")),
        prompts=accounts(plan),
        allowed_code=bool(plan.spec.loaded_extensions),
        overrides=dict(plan.spec.overrides),
        refused=plan.spec.refused,
    )
