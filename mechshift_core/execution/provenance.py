"""Where the numbers of a run come from: inputs by hash, versions, machine, seeds, state of the repository."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from mechshift_core import __version__
from mechshift_core.execution.code_version import versions
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.scores import judgement
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds.extensions import origins

PACKAGES = ("torch", "transformers", "nnsight", "numpy", "scipy", "polars", "statsmodels", "altair", "pydantic")


def provenance(plan: Plan, folder: RunFolder, failures: Collection[str]) -> dict[str, object]:
    """The record that goes into `provenance.json`; it holds no clock, so the same run gives the same bytes.

    Args:
        plan: The plan that was executed.
        folder: Its run directory.
        failures: Keys of the cells that are not there.
    """
    spec = plan.spec
    described = [(cell, folder.describe(cell.key)) for cell in plan.cells if cell.key not in failures]
    devices = {stored["device"] for _, stored in described}
    return {
        "mechshift": __version__,
        "spec": {
            "name": spec.name,
            "title": spec.title or "",
            "sha256": hashlib.sha256(spec.text.encode()).hexdigest(),
            "seed": spec.seed,
        },
        **({"overrides": dict(spec.overrides)} if spec.overrides else {}),
        **({"matrix": {name: list(names) for name, names in spec.expanded.items()}} if spec.matrix else {}),
        "units": spec.statistics.units.model_dump(mode="json"),
        "models": {
            name: {
                "source": facts.declared.source,
                "paradigm": facts.declared.paradigm,
                **({} if facts.revision is None else {"revision": facts.revision}),
                **({"origin": facts.origin} if facts.origin else {}),
                **({"adapters": list(map(str, facts.adapters))} if facts.adapters else {}),
                "weights_sha256": facts.weights,
                "weights_dtype": facts.dtype,
                "tokenizer_sha256": facts.tokenizer,
                "prompts_begin_with": list(facts.begin),
            }
            for name, facts in plan.models.items()
        },
        "data": {
            name: {
                "examples": len(dataset.examples),
                "sha256": dataset.digest(),
                "asked": dataset.asked,
                "found": dataset.account.found,
                "aligned": dataset.account.aligned,
                "dropped": dict(dataset.dropped),
                "metric": dataset.metric,
                "judged_by": judgement(spec, dataset),
                **({} if dataset.file is None else {k: v for k, v in asdict(dataset.file).items() if v is not None}),
                **({} if dataset.words is None else {"words": dataset.words}),
                "templates": dataset.account.templates,
            }
            for name, dataset in plan.datasets.items()
        },
        "cells": len(plan.cells),
        **_shared(plan, folder, failures),
        "batching": {
            "sizes": sorted({stored["batch_size"] for _, stored in described if "batch_size" in stored}),
            "out_of_memory": [
                {"model": cell.model, "task": cell.task, "examples": cell.start, "sizes": stored["halvings"]}
                for cell, stored in described
                if stored.get("halvings")
            ],
        },
        "packages": package_versions(),
        "machine": {"system": platform.system(), "processor": platform.machine(), "cells_ran_on": sorted(devices)},
        "execution": {
            **spec.execution.model_dump(mode="json"),
            "weights_dtype": ", ".join(sorted({facts.dtype for facts in plan.models.values()})),
            "attention": ", ".join(sorted({stored["attention"] for _, stored in described})),
        },
        **_code(plan),
        "git": git_state(spec.folder),
    }


def _shared(plan: Plan, folder: RunFolder, failures: Collection[str]) -> dict[str, object]:
    """Which cells were taken from the store, by the machine that computed them; nothing where none were."""
    found: dict[str, list[str]] = {}
    for key in dict.fromkeys(cell.key for _, cell in plan.every_cell):
        if key not in failures and folder.is_shared(key):
            machine = folder.describe(key).get("machine") or {}
            name = f"{machine['node']} ({machine['processor']})" if machine else "not recorded"
            found.setdefault(name, []).append(key)
    return {"cells_from_the_store": found} if found else {}


def _code(plan: Plan) -> dict[str, object]:
    """What else than this package the numbers come from: files that the spec names, and other packages' kinds."""
    named = [{"file": one.name, "sha256": one.sha256, "kinds": list(one.kinds)} for one in plan.spec.loaded_extensions]
    files = {one.origin for one in plan.spec.loaded_extensions}
    used = {kind: origin for kind, origin in origins().items() if origin not in files}
    return ({"extensions": named} if named else {}) | ({"kinds_of_packages": used} if used else {})


def package_versions() -> dict[str, str]:
    """Versions of the packages that the numbers depend on."""
    return {"python": platform.python_version(), **versions(PACKAGES)}


def git_state(folder: Path) -> dict[str, object] | None:
    """Commit of the repository that holds the spec, and whether it has uncommitted changes; None outside of one."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        changed = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"commit": git("rev-parse", "HEAD"), "changed": changed}
    except (OSError, subprocess.SubprocessError):
        return None
