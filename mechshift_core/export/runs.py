"""What of a run directory is exported: its report's data, after the checks that it is a run that has come to an end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError
from mechshift_core.gate import read_run

if TYPE_CHECKING:
    from reports import ReportData


def report_data_of(run: Path, *, allow_code: bool = False) -> ReportData:
    """All that the report of a run is made from; no model is loaded, and nothing is written.

    Args:
        run: The run directory.
        allow_code: Whether the copies of `extensions` in it may be run.

    Raises:
        UsageError: if the folder holds no run.
        ExecutionError: if the run has not come to an end since its spec was last changed, or is damaged.
    """
    import polars as pl

    from mechshift_core.execution.store import RunFolder
    from mechshift_core.pipeline import stored_plan
    from mechshift_core.reporting import report_data

    read_run(run)
    if not RunFolder(run).data.is_dir():
        raise ExecutionError(f"{run}: its data sets are not here, as of a run that was fetched; export it where it ran")
    plan = stored_plan(run, allow_code=allow_code, finished=True)
    try:
        return report_data(plan, RunFolder(run), static=True)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ExecutionError(f"{run}: {error}; `mechshift analyze {run}` writes its tables again") from error
