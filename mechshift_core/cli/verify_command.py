"""`mechshift verify`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.progress import progress_on
from mechshift_core.cli.run_commands import RunFolder


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(verify)


def verify(
    context: typer.Context,
    run: RunFolder,
    cells: Annotated[int, typer.Option(min=0, help="Stored cells that are computed again, chosen at random.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of that choice.")] = 0,
) -> None:
    """Check a run: hashes of weights, data and all cells, and some cells computed again; nothing is written.

    Exit code 1 if something differs, 3 if nothing differs but something could not be checked.
    """
    from mechshift_core.execution.store import RunFolder as Store
    from mechshift_core.execution.verify import verify as verify_run
    from mechshift_core.pipeline import stored_plan

    console: Console = context.obj
    plan = stored_plan(run)
    with progress_on(console) as progress:
        checks = verify_run(plan, Store(run), cells=cells, seed=seed, progress=progress)
    outcomes = {check.outcome for check in checks}
    code = 1 if "differs" in outcomes else 3 if "not checked" in outcomes else 0
    if console.json:
        console.result_json({"run": str(run), "exit_code": code, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            found = "" if check.difference is None else f" (largest difference {check.difference:.2g})"
            console.say(f"{check.outcome:<12} {check.subject}{found}")
    for check in checks:
        if check.outcome != "same":
            console.complain(f"{check.outcome}: {check.subject}: {check.detail}")
    if code:
        raise typer.Exit(code)
