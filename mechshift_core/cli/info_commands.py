"""`mechshift list`, `mechshift doctor`."""

from __future__ import annotations

import typer

from mechshift_core.cli.console import Console


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("list")(list_everything)
    app.command()(doctor)


def list_everything(context: typer.Context) -> None:
    """List tasks, measures, bundled models and the runs in the working directory."""
    from mechshift_core.run_files import PLAN, RUNS
    from mechshift_core.spec.implemented import IMPLEMENTED
    from mechshift_core.tasks import TASKS
    from mechshift_core.zoo import bundled_models

    console: Console = context.obj
    found: dict[str, dict[str, str]] = {
        "tasks": {task.name: f"{task.regime}: {task.summary}" for task in TASKS.values()},
        "measures": {str(name): "for hypotheses" for name in IMPLEMENTED["hypothesis measure"]},
        "models": {f"bundled:{name}": str(folder) for name, folder in bundled_models().items()},
        "runs": {str(path.parent): "" for path in sorted(RUNS.glob(f"*/{PLAN}"))},
    }
    if console.json:
        console.result_json(found)
        return
    for heading, entries in found.items():
        console.result(heading)
        for name, text in entries.items():
            console.result(f"  {name:<28} {text}".rstrip())


def doctor(context: typer.Context) -> None:
    """Say what this machine can run: versions, accelerator, memory, bundled models."""
    import os

    import torch

    from mechshift_core.execution.provenance import package_versions
    from mechshift_core.zoo import bundled_models

    console: Console = context.obj
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    facts: dict[str, object] = {
        "packages": package_versions(),
        "cpus": os.cpu_count(),
        "memory_gib": round(pages * size / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "bundled_models": sorted(bundled_models()),
    }
    if console.json:
        console.result_json(facts)
        return
    console.result(f"processors: {facts['cpus']}, memory: {facts['memory_gib']} GiB, GPU: {facts['gpu'] or 'none'}")
    console.result("packages: " + ", ".join(f"{name} {version}" for name, version in package_versions().items()))
    console.result("bundled models: " + (", ".join(sorted(bundled_models())) or "none"))
