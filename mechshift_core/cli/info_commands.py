"""`mechshift list`, `mechshift doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.errors import UsageError

if TYPE_CHECKING:
    from mechshift_core.machine import Machine

SECTIONS = ("tasks", "metrics", "interventions", "measures", "tests", "architectures", "models", "runs")
"""What `mechshift list` lists, in this order."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("list")(list_everything)
    app.command()(doctor)


def list_everything(
    context: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(metavar="WHAT", help=f"One of {', '.join(SECTIONS)}; all of it unless given."),
    ] = None,
) -> None:
    """List tasks, metrics, kinds and where they come from, bundled models and the runs in the working directory."""
    from mechshift_core.kinds import INTERVENTIONS, MEASURES, TESTS, testables
    from mechshift_core.kinds.extensions import registries
    from mechshift_core.metrics import METRICS
    from mechshift_core.models.declared import ARCHITECTURES
    from mechshift_core.options import listing, suggestion
    from mechshift_core.registry import OURS
    from mechshift_core.run_files import PLAN, RUNS
    from mechshift_core.tasks import TASKS
    from mechshift_core.zoo import bundled_models

    if what is not None and what not in SECTIONS:
        raise UsageError(f"list: nothing is called {what!r}{suggestion(what, SECTIONS)}; expected {listing(SECTIONS)}")
    console: Console = context.obj
    origins = {registry.sort: registry for registry in registries()}

    def of(sort: str, name: str, text: str) -> str:
        origin = origins[sort].origin(name)
        return text if origin == OURS else f"{text} [from {origin}]"

    measures = {one.name: (kind.name, one.words) for one, kind in testables()}
    found: dict[str, dict[str, str]] = {
        "tasks": {
            task.name: of("task", task.name, f"{task.regime}: {task.summary}{_banks(task)}") for task in TASKS.values()
        },
        "metrics": {kind.name: of("metric", kind.name, kind.summary) for kind in METRICS.values()},
        "interventions": {kind.name: of("intervention", kind.name, kind.summary) for kind in INTERVENTIONS.values()},
        "measures": {
            name: of("measure" if kind in MEASURES else "intervention", kind, words)
            for name, (kind, words) in measures.items()
        },
        "tests": {kind.name: of("test", kind.name, kind.text) for kind in TESTS.values()},
        "architectures": {name: of("architecture", name, "") for name in ARCHITECTURES},
        "models": {f"bundled:{name}": str(folder) for name, folder in bundled_models().items()},
        "runs": {str(path.parent): "" for path in sorted(RUNS.glob(f"*/{PLAN}"))},
    }
    assert tuple(found) == SECTIONS
    if what is not None:
        found = {what: found[what]}
    if console.json:
        console.result_json(found)
        return
    for heading, entries in found.items():
        console.result(heading if entries else f"{heading}: none")
        for name, text in entries.items():
            console.result(f"  {name:<28} {text}".rstrip())


def _banks(task: object) -> str:
    """The words that a task can draw from, e.g. ` (words: bundled, 4 wordings; natural, 25 wordings)`."""
    from mechshift_core.tasks.banks import banks_of

    counted = [
        f"{name}, {len(one.bank.frames)} wording{'s' if len(one.bank.frames) != 1 else ''}"
        for name, one in banks_of(task).items()
    ]
    return f" (words: {'; '.join(counted)})" if counted else ""


def doctor(context: typer.Context) -> None:
    """Say what this machine can run: versions, processors, memory, GPU, disk, browser, Hub, bundled models."""
    from dataclasses import asdict

    from mechshift_core.machine import this_machine

    console: Console = context.obj
    machine = this_machine()
    if console.json:
        console.result_json({**asdict(machine), "largest_model": machine.largest_model})
    else:
        for name, text in _described(machine).items():
            console.result(f"{name + ':':<16} {text}")
    for problem in machine.problems:
        console.complain(f"problem: {problem}")
    if machine.problems:
        raise typer.Exit(3)


def _described(machine: Machine) -> dict[str, str]:
    def of(free: float | None, total: float | None) -> str:
        return " of ".join(f"{size:g} GiB" for size in (free, total) if size is not None) or "unknown"

    gpu = machine.gpu and f"{machine.gpu}, {of(machine.gpu_memory_free, machine.gpu_memory)} free"
    number_format = "bfloat16" if machine.gpu else "float32"
    return {
        "processors": f"{machine.cpus}, {machine.torch_threads} threads of torch (OMP_NUM_THREADS sets them)",
        "memory": f"{of(machine.memory_free, machine.memory)} free",
        "GPU": gpu or "none",
        "largest model": "unknown"
        if machine.largest_model is None
        else f"about {machine.largest_model:g} x 10^9 parameters in {number_format}, weights in half of what is free",
        "disk": f"{machine.disk_free:g} GiB free here",
        "browser": machine.browser or "none (only the tests of reports need one)",
        "Hub": f"{machine.hub}; cache: {machine.hub_cache}",
        "bundled models": ", ".join(machine.bundled_models) or "none",
        "packages": ", ".join(f"{name} {version}" for name, version in machine.packages.items()),
    }
