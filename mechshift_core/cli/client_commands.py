"""`mechshift submit`, `ps`, `watch`, `cancel`, `logs`, `fetch`: runs on a server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.overriding import Limit, Set, overrides
from mechshift_core.markdown import printable

if TYPE_CHECKING:
    from mechshift_core.service.client import Client, RunStatus

Server = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Address of the server; MECHSHIFT_SERVER, or http://127.0.0.1:8300, unless given."
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="Token; better in MECHSHIFT_TOKEN: what stands on a command line is seen by others of this machine.",
    ),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name of the run on the server.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (submit, ps, watch, cancel, logs, fetch):
        app.command()(command)


def submit(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file.", show_default=False)],
    watch: Annotated[bool, typer.Option("--watch", help="Wait until it has ended, and show how it goes.")] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Hypothesis that must hold; otherwise exit code 1. Waits. Repeatable."),
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="TEXT", help="Name of this submission: the same one again is the same run.")
    ] = "",
    server: Server = None,
    token: Token = None,
    settings: Set = None,
    limit: Limit = None,
) -> None:
    """Hand in a spec to a server, with the files beside it that it names; prints the name of the run.

    With --watch the exit code is that of the run: 3 if it failed, is partial or was cancelled. Ctrl+C ends the watching
    only.
    """
    from mechshift_core.cli.run_commands import check_ids
    from mechshift_core.service.handing import hypotheses_of, read_text

    console: Console = context.obj
    wanted, given = fail_on or [], overrides(settings, limit)
    if wanted and (known := hypotheses_of(read_text(spec))) is not None:
        check_ids(wanted, known)
    with _client(server, token) as client:
        run = client.submit(spec, key=key, **({"overrides": given} if given else {}))
        if not (watch or wanted):
            if console.json:
                console.result_json(_as_json(run))
            else:
                console.result(printable(run.name))
            return
        console.say(printable(run.name))
        _end(console, client, _watched(console, client, run.name), wanted)


def ps(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 50,
    server: Server = None,
    token: Token = None,
) -> None:
    """List the runs of a server: those that wait or run, with --all also those that have ended; last active first."""
    console: Console = context.obj
    states = () if all_ else ("queued", "running", "cancelling", "died")
    with _client(server, token) as client:
        found = client.runs(limit=limit, **({"state": states} if states else {}))
    if console.json:
        console.result_json([_as_json(run) for run in found])
        return
    width = max((len(run.name) for run in found), default=0)
    for run in found:
        when = str(run.last or "-")[:16].replace("T", " ")
        line = f"{run.name:<{width}}  {run.state:<10}  {when:<16}  {run.submitted_by or '-':<12}  {_counts(run)}"
        console.result(printable(line))


def watch(context: typer.Context, run: RunName, server: Server = None, token: Token = None) -> None:
    """Show how a run goes until it has ended; exit code 3 if it failed, is partial or was cancelled.

    Where the connection breaks it is made again. Ctrl+C ends the watching only.
    """
    console: Console = context.obj
    with _client(server, token) as client:
        _end(console, client, _watched(console, client, run), [])


def cancel(context: typer.Context, run: RunName, server: Server = None, token: Token = None) -> None:
    """Have a run end early; what is complete is kept."""
    console: Console = context.obj
    with _client(server, token) as client:
        state = client.cancel(run)
    if console.json:
        console.result_json({"name": run, "state": state})
    console.say(printable(f"{run}: {state}"))


def logs(
    context: typer.Context,
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run has ended.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Which attempt; the last one unless given.")
    ] = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Print what the process of a run wrote."""
    from mechshift_core.errors import UsageError

    console: Console = context.obj
    if follow and (attempt is not None or console.json):
        raise UsageError("--follow goes on with the last attempt, as text; leave --attempt and --json out")
    with _client(server, token) as client:
        if follow:
            for event in client.watch(run):
                _write(event.log)
            return
        text = client.log(run, attempt=attempt)
    if console.json:
        console.result_json({"run": run, "log": text})
    else:
        _write(text)


def fetch(
    context: typer.Context,
    run: RunName,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="New folder that it goes to; runs/RUN unless given.")
    ] = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Fetch what a run found: findings, tables, report, spec, provenance; `check`, `compare` and `export` read it.

    The folder is there whole or not at all. Cells stay on the server, so that it can't be analysed again here.
    """
    from mechshift_core.run_files import RUNS
    from mechshift_core.service.fetching import fetch as fetch_run

    console: Console = context.obj
    folder = RUNS / Path(run).name if to is None else to
    with _client(server, token) as client:
        found = fetch_run(client, run, folder)
    if console.json:
        console.result_json({"run": run, "folder": str(folder), "files": list(found)})
    console.say(f"wrote {folder}: {len(found)} files")


@contextmanager
def _client(server: str | None, token: str | None) -> Iterator[Client]:
    from mechshift_core.service.client import Client

    with Client(server, token) as client:
        yield client


def _watched(console: Console, client: Client, name: str) -> RunStatus:
    """Show how a run goes, and return how it ended."""
    from mechshift_core.cli.progress import progress_on

    run = None
    try:
        with progress_on(console) as progress:
            for event in client.watch(name):
                run = event.run or run
                if progress is None or event.run is None:
                    continue
                steps = event.run.progress or {}
                what = printable(str(steps.get("what") or event.run.state))
                progress(what, int(steps.get("done") or 0), int(steps.get("total") or 1))
    except KeyboardInterrupt:
        console.complain(f"{name} goes on; `mechshift watch {name}` shows it again, `mechshift cancel {name}` ends it")
        raise
    return client.run(name) if run is None or not run.has_ended else run


def _end(console: Console, client: Client, run: RunStatus, wanted: list[str]) -> None:
    """Print how a run ended, and exit with its code."""
    from mechshift_core.cli.run_commands import check_ids

    verdicts: dict[str, str] = {}
    if run.state in ("complete", "partial"):
        found = client.findings(run.name)["hypotheses"]
        verdicts = {
            str(one["id"]): str(one["verdict"])
            for one in found
            if isinstance(one, dict) and {"id", "verdict"} <= {*one}
        }
    if console.json:
        console.result_json({**_as_json(run), "verdicts": verdicts})
    else:
        console.say(printable(f"{run.name}: {run.state}"))
        for name, verdict in verdicts.items():
            console.result(f"{printable(verdict):<14} {printable(name)}")
    if run.state != "complete":
        console.complain(printable(f"{run.state}: {run.message or 'no reason was given'}"))
        raise typer.Exit(3)
    check_ids(wanted, [*verdicts])
    if broken := [name for name in wanted if verdicts[name] != "supported"]:
        console.complain(f"not supported: {', '.join(broken)}")
        raise typer.Exit(1)


def _counts(run: RunStatus) -> str:
    counts = {name: getattr(run, name) for name in ("supported", "refuted", "inconclusive", "not_estimable")}
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number) or "no verdicts"


def _as_json(run: RunStatus) -> dict[str, Any]:
    return asdict(run)


def _write(text: str) -> None:
    """A log, as it is but for what a terminal would obey."""
    safe = "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(safe.encode(encoding, errors="replace").decode(encoding))
    sys.stdout.flush()
