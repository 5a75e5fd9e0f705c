"""`mechshift runs list`, `runs show`, `runs gc`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.run_commands import RunFolder
from mechshift_core.cli.run_names import runs_argument

if TYPE_CHECKING:
    from mechshift_core.runs import RunSummary

runs = typer.Typer(no_args_is_help=True, help="Run directories: list them, look into one, remove what no plan needs.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(runs, name="runs")


@runs.command("list")
def list_runs(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Folder of run directories; runs unless given.")
    ] = None,
) -> None:
    """List the runs of a folder: state, when last active (UTC), cells there and needed, size, verdicts."""
    from mechshift_core.run_files import RUNS
    from mechshift_core.runs import find_runs

    console: Console = context.obj
    found = [] if folder is None and not RUNS.exists() else find_runs(RUNS if folder is None else folder)
    if console.json:
        console.result_json([_as_json(run) for run in found])
        return
    width = max((len(str(run.path)) for run in found), default=0)
    for run in found:
        counts = Counter(run.verdicts.values())
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counts.items()) or "no verdicts"
        when = "-" if run.last is None else run.last[:16].replace("T", " ")
        cells = f"{run.cells}/{run.needed} cells"
        console.result(
            f"{run.path!s:<{width}}  {run.state:<10}  {when:<16}  {cells:>13}  {size(run.bytes):>9}  {verdicts}"
        )
    if not found:
        console.say("no runs")


@runs.command("show")
def show(context: typer.Context, run: RunFolder) -> None:
    """Show how a run stands: state, cells, size, every verdict, and what failed or is not there."""
    from mechshift_core.runs import garbage, summarize

    console: Console = context.obj
    found = summarize(run)
    unneeded = garbage(run) if found.needed else []
    if console.json:
        console.result_json({**_as_json(found), "unneeded_bytes": sum(item.bytes for item in unneeded)})
        return
    console.result(f"{found.path}: {found.name}, {found.state}, last active {found.last or 'at an unknown time'}")
    console.result(f"cells: {found.cells} of {found.needed} are there; {size(found.bytes)} in all")
    if unneeded:
        freed = size(sum(item.bytes for item in unneeded))
        console.result(f"not needed any more: {_count(len(unneeded))}, {freed} (mechshift runs gc {run})")
    for name, verdict in found.verdicts.items():
        console.result(f"{verdict:<14} {name}")
    for line in found.note:
        console.result(f"note: {line}")


@runs.command("gc")
def gc(
    context: typer.Context,
    folders: Annotated[
        list[Path] | None,
        runs_argument("Run directories; all of runs unless given.", show_default=True),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; otherwise it is only shown.")] = False,
) -> None:
    """Show the cells and data sets that the current plan of a run does not need; remove them with --yes.

    The cells of alternatives (`sensitivity`) are needed too.
    """
    from mechshift_core.run_files import PLAN, RUNS
    from mechshift_core.runs import collect, garbage

    console: Console = context.obj
    chosen = folders or [path.parent for path in sorted(RUNS.glob(f"*/{PLAN}"))]
    found = {path: collect(path) if yes else garbage(path) for path in chosen}
    if console.json:
        items = [{"path": str(item.path), "bytes": item.bytes} for listed in found.values() for item in listed]
        console.result_json({"removed": yes, "items": items})
        return
    for path, listed in found.items():
        for item in listed:
            console.say(f"{'removed' if yes else 'not needed'}: {item.path} ({size(item.bytes)})")
        total = size(sum(item.bytes for item in listed))
        console.result(f"{path}: {_count(len(listed))}, {total}{'' if yes else ' to remove (--yes removes them)'}")


def size(count: int) -> str:
    """Bytes for the eye, e.g. `3.2 MiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def _count(number: int) -> str:
    return f"{number} item" if number == 1 else f"{number} items"


def _as_json(run: RunSummary) -> dict[str, Any]:
    return {**asdict(run), "path": str(run.path), "note": list(run.note), "verdicts": dict(run.verdicts)}
