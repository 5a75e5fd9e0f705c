"""`mechshift run`, `analyze`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli import verdicts
from mechshift_core.cli.console import Console
from mechshift_core.cli.overriding import Limit, Set, overrides
from mechshift_core.cli.progress import progress_on
from mechshift_core.cli.run_names import run_at, say_refused
from mechshift_core.errors import UsageError
from mechshift_core.run_files import REPORT, SPEC

if TYPE_CHECKING:
    from mechshift_core.pipeline import Run

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file.", show_default=False)]
RunFolder = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Run directory, or the name of one in runs.", show_default=False, callback=run_at
    ),
]
Cells = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Store of cells that runs share, or `none`; MECHSHIFT_CELLS, or `cells` in the cache, unless given.",
    ),
]
CopyCells = Annotated[
    bool,
    typer.Option(
        "--copy-cells", help="Copy cells of a store on another file system to the run directory, which else links them."
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, max=1024, help="Processes, or jobs of the cluster; the spec's unless given.")
]
Scheduler = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="A running Dask scheduler: tls://HOST:PORT.", show_default=False)
]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Cluster manager: slurm, pbs, lsf, sge, htcondor, oar.", show_default=False),
]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Profile that says how to run, or its file.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (run, analyze, report):
        app.command()(command)


def run(
    context: typer.Context,
    spec: SpecFile,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/NAME unless given, or runs/NAME-OVERRIDES.")
    ] = None,
    fail_on: Annotated[
        list[str] | None, typer.Option(help="Hypothesis that must hold; otherwise exit code 1. Repeatable.")
    ] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    profile: ProfileName = None,
    cells: Cells = None,
    copy_cells: CopyCells = False,
    settings: Set = None,
    limit: Limit = None,
) -> None:
    """Plan, execute what is missing, analyse, write the report; running it again resumes."""
    from mechshift_core.execution.profiles import chosen_profile
    from mechshift_core.pipeline import run as run_study
    from mechshift_core.spec import load_spec

    console: Console = context.obj
    how = chosen_profile(profile, workers=workers, scheduler=scheduler, cluster=cluster)
    loaded = load_spec(spec, overrides=overrides(settings, limit))
    wanted = fail_on or []
    check_ids(wanted, [hypothesis.id for hypothesis in loaded.hypotheses])
    with progress_on(console) as progress:
        finished = run_study(loaded, out=out, profile=how, cells=cells, copy_cells=copy_cells, progress=progress)
    _summarise(console, finished, wanted)


def analyze(
    context: typer.Context,
    run: RunFolder,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    profile: ProfileName = None,
) -> None:
    """Compute statistics and report again from the stored cells; no model is needed."""
    from mechshift_core.execution.profiles import chosen_profile
    from mechshift_core.pipeline import analyze as analyze_run

    console: Console = context.obj
    how = chosen_profile(profile, workers=workers, scheduler=scheduler, cluster=cluster)
    with progress_on(console) as progress:
        finished = analyze_run(run, profile=how, progress=progress)
    _summarise(console, finished, [])


def report(
    context: typer.Context,
    run: RunFolder,
    static: Annotated[bool, typer.Option("--static", help="Without the script, whatever the spec says.")] = False,
) -> None:
    """Write the report again from the stored tables and findings; no model is needed."""
    from mechshift_core.pipeline import report as write_report
    from mechshift_core.spec import load_stored_spec

    console: Console = context.obj
    path = write_report(run, static=static)
    say_refused(console, run, load_stored_spec(run / SPEC).refused)
    if console.json:
        console.result_json({"report": str(path)})
    console.say(f"wrote {path}")


def check_ids(wanted: list[str], known: list[str]) -> None:
    """Refuse a hypothesis of `--fail-on` that nobody knows."""
    from mechshift_core.spec.problems import listing, suggestion

    for name in wanted:
        if name not in known:
            hint = suggestion(name, known)
            raise UsageError(f"--fail-on: unknown hypothesis {name!r}{hint}; expected {listing(known) or 'none'}")


def _summarise(console: Console, finished: Run, wanted: list[str]) -> None:
    """Print the verdicts; exit with 3 if the run is partial or came to nothing, with 1 if a wanted hypothesis fails."""
    findings = finished.findings.hypotheses
    broken = [finding.id for finding in findings if finding.id in wanted and finding.verdict != "supported"]
    if console.json:
        console.result_json(
            {
                "run": str(finished.path),
                "computed": finished.computed,
                "cached": finished.cached,
                "shared": finished.shared,
                "notice": finished.notice,
                "failures": list(finished.failures),
                "too_few": finished.too_few,
                "tasks": [account.to_json() for account in finished.prompts],
                "verdicts": {finding.id: finding.verdict for finding in findings},
                "hypotheses": verdicts.as_json(findings),
                "overrides": dict(finished.overrides),
                "changed": list(finished.changed),
                "report": str(finished.path / REPORT),
            }
        )
    else:
        for account in finished.prompts:
            console.say(f"prompts of {account.task}: {account}")
        shared = f"{finished.shared} from the store, " if finished.shared else ""
        counted = f"{finished.computed} computed, {finished.cached} cached, {shared}{len(finished.failures)} failed"
        console.say(f"cells: {counted}")
        if finished.notice:
            console.say(f"note: {finished.notice}")
        if finished.overrides:
            told = ", ".join(f"{key}={value}" for key, value in finished.overrides.items())
            console.say(f"note: overrides of the spec: {told}")
        if finished.changed:
            console.say("note: the run directory held a run of another spec; what is not as it was:")
            for line in finished.changed:
                console.say(f"  {line}")
        verdicts.tell(console, findings)
        console.say(f"report: {finished.path / REPORT}")
    for line in finished.failures:
        console.complain(f"failed: {line}")
    if finished.too_few:
        console.complain(f"failed: {finished.too_few}")
    if finished.failures or finished.too_few:
        raise typer.Exit(3)
    if broken:
        console.complain(f"not supported: {', '.join(broken)}")
        raise typer.Exit(1)
