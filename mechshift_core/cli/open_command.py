"""`mechshift open`: the report of a run in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.run_commands import RunFolder
from mechshift_core.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("open")(open_report)


def open_report(
    context: typer.Context,
    run: RunFolder,
    path: Annotated[bool, typer.Option("--path", help="Only print where the report is.")] = False,
) -> None:
    """Open the report of a run in the browser; print where it is, where there is no browser."""
    import webbrowser

    from mechshift_core.run_files import REPORT, require_run

    console: Console = context.obj
    page = run / REPORT
    if not page.is_file():
        require_run(run)
        raise UsageError(
            f"{run} holds no {REPORT} yet; `mechshift run` writes it, and `mechshift report` writes it again"
        )
    opened = False
    if not path:
        try:
            opened = webbrowser.open(page.resolve().as_uri())
        except (webbrowser.Error, OSError):
            opened = False
    if console.json:
        console.result_json({"report": str(page.resolve()), "opened": opened})
    elif path:
        console.result(str(page.resolve()))
    else:
        console.result(f"opened {page.resolve()}" if opened else f"no browser here; the report is {page.resolve()}")
