"""`mechshift export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechshift_core.cli.console import Console


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(export)


def export(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.", show_default=False)],
    sqlite: Annotated[Path, typer.Option(metavar="FILE", help="File to write.", show_default=False)],
    most_rows: Annotated[
        int, typer.Option(min=0, max=10_000_000, help="Tables of a run with more rows are left out.")
    ] = 20_000,
) -> None:
    """Write findings, estimates and small tables of runs into one SQLite file, for Datasette and other tools.

    The file is there whole or not at all. The table `columns` says what every column means.
    """
    from mechshift_core.export import export as export_runs

    console: Console = context.obj
    done = export_runs(runs, sqlite, most_rows=most_rows)
    skipped = [{"run": run, "table": table, "rows": rows} for run, table, rows in done.skipped]
    if console.json:
        console.result_json({"written": str(sqlite), "rows": done.rows, "skipped": skipped})
        return
    for run, table, rows in done.skipped:
        console.say(f"left out: {table} of {run} ({rows} rows; --most-rows)")
    console.say(f"wrote {sqlite}: {len(runs)} runs, {sum(done.rows.values())} rows in {len(done.rows)} tables")
