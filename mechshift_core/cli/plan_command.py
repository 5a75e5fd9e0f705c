"""`mechshift plan`: what a spec asks for, what of it is there, and what it will cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.overriding import Limit, Set, overrides
from mechshift_core.cli.progress import progress_on
from mechshift_core.cli.run_commands import Cells, SpecFile
from mechshift_core.durations import roughly

if TYPE_CHECKING:
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.timing import Timing

CACHED, SHARED, TO_DO = "cached", "in store", "to do"
"""How a cell of a plan stands: in the run directory, in the store that runs share, or nowhere."""
MEASURED_ON = 8
"""Prompts of each task that passes are timed on."""
SHOWN = ("intervention", "model", "task", "pair", "budget", "part", "start", "stop", "key")
"""What of a cell the JSON has."""


@dataclass(frozen=True)
class Outlook:
    """What is known of a run before it: every cell with its state, times, and what stands in its way.

    Attributes:
        cells: Each with the plan that it belongs to and how it stands.
        folder: The run directory that would be used.
        timing: Minutes by earlier runs; `now`, seconds by passes measured now, None where none were.
        other_run: Why that directory can't be used; empty if it can.
    """

    plan: Plan
    cells: list[tuple[Plan, Cell, str]]
    folder: Path
    timing: Timing
    now: float | None
    other_run: str

    @property
    def missing(self) -> list[tuple[Plan, Cell]]:
        """The cells that have to be computed."""
        return [(own, cell) for own, cell, state in self.cells if state == TO_DO]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(plan)


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
    """Show the prompts and cells of a spec, what of them is there, the hypotheses and the cost; run nothing.

    Minutes are those of earlier runs on this machine with models of the same shape; --measure loads the models and
    times a few passes where there were none.
    """
    from mechshift_core.execution.plan import make_plan
    from mechshift_core.spec import load_spec

    console: Console = context.obj
    planned = make_plan(load_spec(spec, overrides=overrides(settings, limit)))
    outlook = _outlook(console, planned, cells, measure=measure)
    if console.json:
        console.result_json(_as_json(outlook))
    else:
        for line in _lines(outlook):
            console.result(line)


def _outlook(console: Console, planned: Plan, cells: str | None, *, measure: bool) -> Outlook:
    from mechshift_core.earlier_spec import default_folder, other_overrides
    from mechshift_core.execution.cell_store import open_store
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.execution.timing import expect
    from mechshift_core.run_files import RUNS

    spec = planned.spec
    folder, store = RunFolder(default_folder(spec)), open_store(cells, device=spec.execution.device)
    states: dict[str, str] = {}
    for _, cell in planned.every_cell:
        if cell.key not in states:
            shared = not (cached := folder.has_cell(cell.key)) and store is not None and store.has(cell.key)
            states[cell.key] = CACHED if cached else SHARED if shared else TO_DO
    found = [(own, cell, states[cell.key]) for own, cell in planned.every_cell]
    missing = [(own, cell) for own, cell, state in found if state == TO_DO]
    others = sorted(path for path in RUNS.iterdir() if path.is_dir()) if RUNS.is_dir() else []
    timing = expect(planned, missing, [folder.path, *others])
    now = _measured(console, planned, missing) if measure and timing.timed < timing.cells else None
    return Outlook(planned, found, folder.path, timing, now, other_overrides(folder.path, spec))


def _measured(console: Console, planned: Plan, missing: list[tuple[Plan, Cell]]) -> float:
    """Seconds of the cells that are missing, by passes that are timed now."""
    from mechshift_core.execution.trying import look

    with progress_on(console) as progress:
        return look(planned, limit=MEASURED_ON, cells=missing, progress=progress).seconds


def _as_json(outlook: Outlook) -> dict[str, Any]:
    from mechshift_core.cli.prompts import tasks_as_json
    from mechshift_core.execution.prompts import cautions

    spec, timing = outlook.plan.spec, outlook.timing
    rows = [
        {name: getattr(cell, name) for name in SHOWN} | {"cached": state == CACHED, "shared": state == SHARED}
        for _, cell, state in outlook.cells
    ]
    return {
        "tasks": tasks_as_json(outlook.plan),
        "warnings": [*cautions(outlook.plan)],
        "cells": rows,
        "hypotheses": [hypothesis.id for hypothesis in spec.hypotheses],
        "time": {
            "seconds": timing.seconds,
            "timed": timing.timed,
            "measured": timing.measured,
            "runs": timing.runs,
        },
        "seconds_measured_now": outlook.now,
        "overrides": dict(spec.overrides),
        "folder": str(outlook.folder),
        "other_run": outlook.other_run,
        "expanded": dict(spec.expanded),
    }


def _lines(outlook: Outlook) -> Iterator[str]:
    from mechshift_core.cli.prompts import prompt_lines
    from mechshift_core.execution.cost import cost

    planned, missing = outlook.plan, outlook.missing
    yield from ("prompts:", *prompt_lines(planned))
    width = max([7, *(len(state) for _, _, state in outlook.cells)])
    for _, cell, state in outlook.cells:
        examples = f"{cell.stop - cell.start} examples"
        budget = f" at {cell.budget}" if len(planned.budgets) > 1 else ""
        of_pair = f", pair {cell.pair}, at most {examples}" if cell.pair else f", {examples}"
        reads = "" if cell.of_weights else f"{budget}{of_pair}"
        yield f"{state:<{width}} {cell.what}{reads}"
    yield f"{len(outlook.cells)} cells, {len(missing)} to do: {cost(missing)}"
    if len(planned.budgets) > 1:
        for budget in planned.budgets:
            own_cells = [(own, cell) for own, cell in missing if cell.budget == budget]
            yield f"  denoising steps {budget}: {len(own_cells)} to do: {cost(own_cells)}"
    yield from _time_lines(outlook)
    yield f"run directory: {outlook.folder}"
    if outlook.other_run:
        yield f"note: {outlook.other_run}"
    for hypothesis in planned.spec.hypotheses:
        yield f"hypothesis {hypothesis.id}: {hypothesis.measure}, {hypothesis.test.kind}"


def _time_lines(outlook: Outlook) -> Iterator[str]:
    missing, timing = len(outlook.missing), outlook.timing
    if not missing:
        return
    yield f"time: {timing}"
    if outlook.now is not None:
        amount = roughly(outlook.now / min(outlook.plan.spec.execution.workers, missing))
        yield f"time by passes measured now: {amount} for all {missing} cells, without statistics"
    elif timing.timed < timing.cells:
        yield "  --measure times a few passes of each model now"
