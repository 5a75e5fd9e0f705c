"""`mechshift run`, `plan`, `analyze`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli import verdicts
from mechshift_core.cli.console import Console
from mechshift_core.cli.overriding import Limit, Set, overrides
from mechshift_core.cli.progress import progress_on
from mechshift_core.errors import UsageError
from mechshift_core.run_files import REPORT

if TYPE_CHECKING:
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.plan import Plan
    from mechshift_core.pipeline import Run

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file.", show_default=False)]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.", show_default=False)]
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
MEASURED_ON = 8
"""Prompts of each task that a plan times passes on."""
CACHED, SHARED, TO_DO = "cached", "in store", "to do"
"""How a cell of a plan stands: in the run directory, in the store that runs share, or nowhere."""

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
    for command in (run, plan, analyze, report):
        app.command()(command)


def run(
    context: typer.Context,
    spec: SpecFile,
    out: Annotated[Path | None, typer.Option(help="Run directory; runs/NAME unless given.")] = None,
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


def plan(
    context: typer.Context,
    spec: SpecFile,
    cells: Cells = None,
    settings: Set = None,
    limit: Limit = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time a few passes of each model now, where no earlier run tells.")
    ] = False,
) -> None:
    """Show the prompts and cells of a spec, what of them is there, the hypotheses, the cost; run nothing.

    Minutes are those of earlier runs on this machine with models of the same shape; --measure loads the models and
    times a few passes where there were none.
    """
    from mechshift_core.cli.prompts import prompt_lines, tasks_as_json
    from mechshift_core.earlier_spec import other_overrides
    from mechshift_core.execution.cell_store import open_store
    from mechshift_core.execution.cost import cost
    from mechshift_core.execution.plan import make_plan
    from mechshift_core.execution.store import RunFolder as Store
    from mechshift_core.execution.timing import expect
    from mechshift_core.run_files import RUNS
    from mechshift_core.spec import load_spec

    console: Console = context.obj
    loaded = load_spec(spec, overrides=overrides(settings, limit))
    planned = make_plan(loaded)
    folder, store = Store(RUNS / loaded.name), open_store(cells, device=loaded.execution.device)
    states: dict[str, str] = {}
    for _, cell in planned.every_cell:
        if cell.key not in states:
            shared = not (cached := folder.has_cell(cell.key)) and store is not None and store.has(cell.key)
            states[cell.key] = CACHED if cached else SHARED if shared else TO_DO
    found = [(own, cell, states[cell.key]) for own, cell in planned.every_cell]
    missing = [(own, cell) for own, cell, state in found if state == TO_DO]
    other = other_overrides(folder.path, loaded)
    others = sorted(path for path in RUNS.iterdir() if path.is_dir()) if RUNS.is_dir() else []
    timing = expect(planned, missing, [folder.path, *others])
    now = _measured(console, planned, missing) if measure and timing.timed < timing.cells else None
    if console.json:
        shown = ("intervention", "model", "task", "pair", "budget", "part", "start", "stop", "key")
        rows = [
            {name: getattr(cell, name) for name in shown} | {"cached": state == CACHED, "shared": state == SHARED}
            for _, cell, state in found
        ]
        times: dict[str, object] = {
            "seconds": timing.seconds,
            "timed": timing.timed,
            "measured": timing.measured,
            "runs": timing.runs,
        }
        hypotheses = [h.id for h in loaded.hypotheses]
        note = {"overrides": dict(loaded.overrides), "folder": str(folder.path), "other_run": other}
        note |= {"expanded": dict(loaded.expanded)} if loaded.expanded else {}
        times["measured_now"] = now
        told = {"tasks": tasks_as_json(planned), "cells": rows, "hypotheses": hypotheses, "time": times}
        console.result_json({**told, **note})
        return
    console.result("\n".join(["prompts:", *prompt_lines(planned)]))
    width = 8 if SHARED in states.values() else 7
    for _, cell, state in found:
        examples = f"{cell.stop - cell.start} examples"
        budget = f" at {cell.budget}" if len(planned.budgets) > 1 else ""
        of_pair = f", pair {cell.pair}, at most {examples}" if cell.pair else f", {examples}"
        reads = "" if cell.of_weights else f"{budget}{of_pair}"
        console.result(f"{state:<{width}} {cell.what}{reads}")
    console.result(f"{len(found)} cells, {len(missing)} to do: {cost(missing)}")
    if len(planned.budgets) > 1:
        for budget in planned.budgets:
            own_cells = [(own, cell) for own, cell in missing if cell.budget == budget]
            console.result(f"  denoising steps {budget}: {len(own_cells)} to do: {cost(own_cells)}")
    if missing:
        console.result(f"time: {timing}")
        if now is not None:
            shared_out = now / min(loaded.execution.workers, len(missing)) / 60
            amount = "less than a minute" if shared_out < 1 else f"about {shared_out:.0f} min"
            console.result(f"time by passes measured now: {amount} for all {len(missing)} cells, without statistics")
        elif timing.timed < timing.cells:
            console.result("  --measure times a few passes of each model now")
    if other:
        console.result(f"note: {other}")
    for hypothesis in loaded.hypotheses:
        console.result(f"hypothesis {hypothesis.id}: {hypothesis.measure}, {hypothesis.test.kind}")


def _measured(console: Console, planned: Plan, missing: list[tuple[Plan, Cell]]) -> float:
    """Seconds of the cells that are missing, by passes that are timed now."""
    from mechshift_core.execution.trying import look

    with progress_on(console) as progress:
        return look(planned, limit=MEASURED_ON, cells=missing, progress=progress).seconds


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

    console: Console = context.obj
    path = write_report(run, static=static)
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
    elif not console.quiet:
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
