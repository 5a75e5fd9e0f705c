"""`mechshift calibrate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.progress import progress_on
from mechshift_core.cli.run_commands import Cells, Cluster, CopyCells, ProfileName, Scheduler, SpecFile, Workers

if TYPE_CHECKING:
    from stats.calibration import Calibration, HypothesisCalibration
    from stats.rates import Rate

COLUMNS = ("hypothesis", "null at", "false positives", "corrected", "coverage", "detectable", "corrected")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(calibrate)


def calibrate(
    context: typer.Context,
    spec: SpecFile,
    out: Annotated[
        Path | None, typer.Option(help="Run directory; runs/NAME unless given, or runs/NAME-OVERRIDES.")
    ] = None,
    repetitions: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="A/A data sets; those that were measured before are kept.")
    ] = 200,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of their draws; the spec's unless given.")] = None,
    shift: Annotated[
        list[float] | None,
        typer.Option(
            help="Distance from the null at which power is computed, in units of the measures; multiples of each "
            "hypothesis' standard error unless given. Repeatable."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a calibration of the run that has more repetitions.")
    ] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    cluster: Cluster = None,
    profile: ProfileName = None,
    cells: Cells = None,
    copy_cells: CopyCells = False,
) -> None:
    """Run a spec, then its analysis on A/A data many times: how often it errs, and what it can detect.

    Running it again resumes.
    """
    from mechshift_core.execution.profiles import chosen_profile
    from mechshift_core.pipeline import calibrate as calibrate_study
    from stats.rates import uninformative

    console: Console = context.obj
    with progress_on(console) as progress:
        finished, calibration = calibrate_study(
            spec,
            out=out,
            repetitions=repetitions,
            seed=seed,
            distances=shift or (),
            replace=replace,
            profile=chosen_profile(profile, workers=workers, scheduler=scheduler, cluster=cluster),
            cells=cells,
            copy_cells=copy_cells,
            progress=progress,
        )
    if console.json:
        console.result_json(
            {
                "run": str(finished.path),
                "failures": list(finished.failures),
                "notice": finished.notice,
                "uninformative": uninformative(calibration.repetitions, calibration.level),
                **asdict(calibration),
            }
        )
    else:
        _show(console, calibration)
        if finished.notice:
            console.say(f"note: {finished.notice}")
        console.say(f"report: {finished.path / 'report.html'}")
    for line in finished.failures:
        console.complain(f"failed: {line}")
    untested = all(one.status == "undefined" for one in calibration.hypotheses)
    if untested:
        console.complain(f"failed: no hypothesis could be tested on A/A data: {calibration.hypotheses[0].message}")
    if finished.failures or untested:
        raise typer.Exit(3)


def _show(console: Console, calibration: Calibration) -> None:
    from stats.rates import uninformative

    level, confidence = calibration.level, calibration.confidence
    console.result(
        f"{calibration.repetitions} A/A repetitions, {calibration.replicates} bootstrap replicates each; "
        f"nominal level {level:g}, coverage {confidence:g}"
    )
    few = uninformative(calibration.repetitions, level)
    if few:
        console.result(few)
    for half in calibration.halves:
        console.result(f"  {half.pair} on {half.task}: {half.model}, {half.prompts} + {half.prompts} of its prompts")
    rows = [row for one in calibration.hypotheses for row in _rows(one)]
    if rows:
        _table(console, COLUMNS, rows)
    covered = [(one.measure, f"{one.truth:g}", _rate(one.rate)) for one in calibration.measures]
    if covered:
        _table(console, ("measure, every pair and task", "is", "covered"), covered)
    if calibration.family is not None:
        console.result(f"any false positive, corrected ({calibration.correction}): {_rate(calibration.family)}")
    for one in calibration.hypotheses:
        if one.message:
            console.result(f"{one.id}: {'' if one.status == 'ok' else f'{one.status}: '}{one.message}")
    for scenario in calibration.scenarios:
        console.result(f"{scenario.name}: {scenario.description}")
        rows = [row for one in scenario.hypotheses for row in _rows(one)]
        _table(console, COLUMNS[:5], [row[:5] for row in rows])
        covered = [(one.measure, f"{one.truth:g}", _rate(one.rate)) for one in scenario.measures]
        if covered:
            _table(console, ("measure, every pair and task", "is", "covered"), covered)
        for one in scenario.hypotheses:
            if one.message:
                console.result(f"{one.id}: {'' if one.status == 'ok' else f'{one.status}: '}{one.message}")
    for sentence in calibration.unseen:
        console.result(f"not seen: {sentence}")
    console.result(
        f"Detectable: distance from the null that is detected with a power of .8 with {_prompts(calibration)} prompts "
        "a side, unpaired: half as many as a pair has that is read on the same prompts."
    )


def _prompts(calibration: Calibration) -> str:
    numbers = sorted({half.prompts for half in calibration.halves})
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}" if numbers else "no"


def _rows(one: HypothesisCalibration) -> list[tuple[str, ...]]:
    coverage = "" if one.coverage is None else _rate(one.coverage)
    if not one.false_positives:
        return [(one.id, "", one.status, "", coverage, "", "")]
    first, *others = one.false_positives
    largest = one.power[-1].distance if one.power else 0.0
    sizes = [
        f"> {largest:.3g}" if found is None else f"{found:.3g}" for found in (one.detectable, one.detectable_corrected)
    ]
    row = (one.id, f"{first.value:g}", _rate(first.rate), f"{first.corrected.value:.3f}", coverage, *sizes)
    more = [("", f"{at.value:g}", _rate(at.rate), f"{at.corrected.value:.3f}", "", "", "") for at in others]
    return [row, *more]


def _rate(rate: Rate) -> str:
    flag = {"": "", "above": " too high", "below": " too low"}[rate.flag]
    return f"{rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]{flag}"


def _table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, aligned columns elsewhere."""
    if not sys.stdout.isatty():
        lines = [columns, *rows]
        widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
        for line in lines:
            console.result("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich.console import Console as Terminal
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*columns)
    for row in rows:
        drawn.add_row(*(Text(cell, style="bold red" if " too " in cell else "") for cell in row))
    Terminal().print(drawn)
