"""`mechshift try`: a look at a study before it is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.overriding import Set, overrides
from mechshift_core.cli.progress import progress_on
from mechshift_core.cli.run_commands import SpecFile
from mechshift_core.durations import MINUTE, roughly
from mechshift_core.markdown import printable

if TYPE_CHECKING:
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.tried import Answered, Tried


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("try")(try_spec)


def try_spec(
    context: typer.Context,
    spec: SpecFile,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=100_000, help="Prompts of each task that are looked at.")
    ] = 20,
    settings: Set = None,
) -> None:
    """Look at a study before hours of it: accuracy, selected prompts, time, and what would make it fail.

    Every model answers a few prompts of every task. Nothing is written.
    """
    from dataclasses import asdict

    from mechshift_core.cli.prompts import tasks_as_json
    from mechshift_core.execution.plan import make_plan
    from mechshift_core.execution.trying import PATCHED, look
    from mechshift_core.spec import load_spec

    console: Console = context.obj
    planned = make_plan(load_spec(spec, overrides=overrides(settings, None)))
    with progress_on(console) as progress:
        tried = look(planned, limit=limit, progress=progress)
    if console.json:
        derived = {"minutes": tried.seconds / 60, "patched_counted_as": PATCHED}
        console.result_json({"tasks": tasks_as_json(planned), **asdict(tried), **derived})
    else:
        console.result("\n".join(map(printable, _lines(planned, tried))))


def _above(one: Answered) -> str:
    return "" if one.metric_above is None else f"above 0 on {one.metric_above}, "


def _lines(plan: Plan, tried: Tried) -> list[str]:
    from mechshift_core.execution.prompts import accounts
    from mechshift_core.execution.trying import PATCHED

    shown = ["prompts:", *(f"  {one.task}: {one}" for one in accounts(plan)), "answers:"]
    shown += [
        f"  {one.model} on {one.task}: {one.correct} of {one.looked_at} right (by {one.judged_by}); most likely "
        f"token right on {one.argmax}, metric {_above(one)}{one.mean_metric:.3g} in the mean"
        for one in tried.answered
    ]
    shown.append(f"selected (correct: {plan.spec.select.correct}):")
    for pair in tried.kept:
        why = "; ".join(f"{count} x {reason}" for reason, count in pair.dropped.items())
        dropped = f" ({why})" if why else ""
        counts = f"{pair.selected} of {pair.looked_at}{dropped}, about {pair.expected} of {pair.read} in the run"
        shown.append(f"  {pair.pair} on {pair.task}: {counts}")
    shown.append("prompts as the models see them:")
    for one in tried.answered:
        seen = one.seen
        likely = ", ".join(f"{token!r} {share:.3f}" for token, share in seen.likely)
        shown += [
            f"  {one.model} on {one.task}: {seen.text!r}, {seen.tokens} tokens",
            f"    answer {_listed(seen.answers)}, foil {_listed(seen.foils)}; most likely: {likely}",
        ]
    shown.append(f"time of one prompt, measured now on {tried.device}:")
    for passes in tried.passes:
        forward, both = f"{1000 * passes.forward:.3g} ms forward", f"{1000 * passes.both:.3g} ms forward and backward"
        shown.append(f"  {passes.model}: {forward}, {both}; {passes.loading:.3g} s to load it")
    shown.append(
        f"whole run: {_minutes(tried.seconds)} in one process, from these times: {tried.forward} forward, "
        f"{tried.backward} backward and {tried.patched} patched passes of one prompt (each of the last counted as "
        f"{PATCHED} forward ones) and loading the models; statistics and report are not counted"
    )
    return [*shown, *(f"warning: {text}" for text in tried.warnings)]


def _listed(words: tuple[str, ...]) -> str:
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return f"{', '.join(map(repr, words[:3]))}{more}"


def _minutes(seconds: float) -> str:
    return f"about {seconds:.2g} s" if seconds < MINUTE else roughly(seconds)
