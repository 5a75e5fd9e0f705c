"""`mechshift export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.run_names import runs_argument, say_refused
from mechshift_core.errors import UsageError

SQLITE_ROWS = 20_000
"""Rows of a table beyond which it is not in the file of `--sqlite`, unless another number is given."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(export)


def export(
    context: typer.Context,
    runs: Annotated[list[Path], runs_argument("Run directories, or names of those in runs.")],
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for figures, tables and methods of one run.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are in the folder of --to.")] = False,
    sqlite: Annotated[
        Path | None, typer.Option(metavar="FILE", help="SQLite file of all the runs.", show_default=False)
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option(metavar="PROJECT", help="Project of Weights & Biases that one run is logged in."),
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(metavar="URI", help="Tracking address of MLflow where one run is logged.")
    ] = None,
    most_rows: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=10_000_000,
            help="Tables of a run with more rows are left out; 20000 of --sqlite, 200 of --to, unless given.",
        ),
    ] = None,
) -> None:
    """Write findings, tables and figures of runs for a paper, a database or an experiment tracker.

    --to: a folder with every figure as SVG and PDF, every small table as CSV, LaTeX and Markdown, the methods with
    their references, and the findings in sentences. --sqlite: findings, estimates and small tables in one file, for
    Datasette and other tools; its table `columns` says what every column means. Files are there whole or not at all.
    """
    console: Console = context.obj
    _check(runs, to=to, force=force, sqlite=sqlite, trackers=(wandb, mlflow), most_rows=most_rows)
    done: dict[str, Any] = {}
    if sqlite is not None:
        done |= _sqlite(console, runs, sqlite, SQLITE_ROWS if most_rows is None else most_rows)
    if to is not None:
        done |= _paper(console, runs[0], to, force, most_rows)
    if wandb is not None:
        from mechshift_core.export import to_wandb

        done["wandb"] = to_wandb(runs[0], wandb)
        console.say(f"logged in {done['wandb']}")
    if mlflow is not None:
        from mechshift_core.export import to_mlflow

        done["mlflow"] = to_mlflow(runs[0], mlflow)
        console.say(f"logged in MLflow as {done['mlflow']}")
    if console.json:
        console.result_json(done)
    if done.get("failures"):
        raise typer.Exit(3)


def _check(
    runs: Sequence[Path],
    *,
    to: Path | None,
    force: bool,
    sqlite: Path | None,
    trackers: tuple[str | None, str | None],
    most_rows: int | None,
) -> None:
    """Refuse options that go with no other, and one folder for several runs."""
    names = ("--to", "--wandb", "--mlflow")
    given = [name for name, value in zip(names, (to, *trackers), strict=True) if value is not None]
    if not given and sqlite is None:
        raise UsageError("nothing to write; give --to FOLDER, --sqlite FILE, --wandb PROJECT or --mlflow URI")
    if given and len(runs) > 1:
        raise UsageError(f"{given[0]}: is of one run, and {len(runs)} are given; call it for each")
    if force and to is None:
        raise UsageError("--force: says that files of --to may be replaced; give --to")
    if most_rows is not None and to is None and sqlite is None:
        raise UsageError("--most-rows: says which tables --to and --sqlite leave out; give one of them")


def _sqlite(console: Console, runs: Sequence[Path], sqlite: Path, most_rows: int) -> dict[str, Any]:
    from mechshift_core.export import export as export_runs

    done = export_runs(runs, sqlite, most_rows=most_rows)
    for run, table, rows in done.skipped:
        console.say(f"left out: {table} of {run} ({rows} rows; --most-rows)")
    console.say(f"wrote {sqlite}: {len(runs)} runs, {sum(done.rows.values())} rows in {len(done.rows)} tables")
    skipped = [{"run": run, "table": table, "rows": rows} for run, table, rows in done.skipped]
    return {"written": str(sqlite), "rows": done.rows, "skipped": skipped}


def _paper(console: Console, run: Path, to: Path, force: bool, most_rows: int | None) -> dict[str, Any]:
    from mechshift_core.export import export_paper
    from mechshift_core.export.paper import MOST_ROWS

    done = export_paper(run, to, force=force, most_rows=MOST_ROWS if most_rows is None else most_rows)
    for caption, rows in done.left_out:
        console.say(f"left out: {caption} ({rows} rows; --most-rows)")
    say_refused(console, run, done.refused)
    if done.panels_left_out:
        console.say(
            f"left out: {done.panels_left_out} single panels of figures of many; README.md says how to draw them"
        )
    console.say(f"wrote {to}: {done.figures} figures, {done.tables} tables, {len(done.files)} files; see README.md")
    for line in done.broken:
        console.complain(f"missing: {line}")
    left_out = [{"caption": caption, "rows": rows} for caption, rows in done.left_out]
    return {"folder": str(to), "files": list(done.files), "left_out": left_out, "failures": list(done.broken)}
