"""What of a run an experiment tracker is told: a few numbers for each hypothesis, the settings, and files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.gate import read_run
from mechshift_core.run_files import FINDINGS, PROVENANCE, REPORT, SPEC

NUMBERS = ("estimate", "low", "high", "p", "p_corrected")
"""What is logged of each hypothesis as numbers, besides its verdict."""
NEEDED = {
    "wandb": "pip install wandb",
    "mlflow": "pip install mlflow",
}
"""Package of a tracker -> how it is installed."""

_REFUSED = re.compile(r"[^\w. /-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What is logged of a run.

    Attributes:
        study: Name of the study, and `name` of the run directory.
        config: The spec with all its defaults, and the provenance.
        numbers: `hypothesis/estimate` and so on; those that there are.
        words: `hypothesis/verdict` -> the verdict, and `hypothesis/claim`.
        files: Report, findings, spec and provenance.
        tables: Folder of the run's tables.
    """

    study: str
    name: str
    config: Mapping[str, Any]
    numbers: Mapping[str, float]
    words: Mapping[str, str]
    files: tuple[Path, ...]
    tables: Path


def logged_of(run: Path) -> Logged:
    """Read what is logged of a run.

    Raises:
        UsageError: if the folder holds no run.
        ExecutionError: if the run has not come to an end, or is damaged.
    """
    from mechshift_core.spec import load_stored_spec

    stored = read_run(run)
    spec = load_stored_spec(run / SPEC)
    numbers: dict[str, float] = {}
    words: dict[str, str] = {}
    for found in stored.findings.hypotheses:
        name = _REFUSED.sub("_", found.id)
        words |= {f"{name}/verdict": found.verdict, f"{name}/claim": found.claim or found.estimand}
        values = {key: getattr(found, key) for key in NUMBERS}
        numbers |= {f"{name}/{key}": float(v) for key, v in values.items() if v is not None and math.isfinite(v)}
    return Logged(
        study=stored.findings.name,
        name=run.resolve().name,
        config={"spec": spec.model_dump(mode="json"), "provenance": dict(stored.provenance)},
        numbers=numbers,
        words=words,
        files=tuple(path for name in (REPORT, FINDINGS, SPEC, PROVENANCE) if (path := run / name).is_file()),
        tables=run / "tables",
    )


def flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as names with dots and values as text; lists whole."""
    for key, value in content.items():
        name = _REFUSED.sub("_", f"{above}{key}")
        if isinstance(value, Mapping):
            yield from flat(value, f"{name}.")
        else:
            yield name, str(value)


def tracker(package: str) -> ModuleType:
    """The package of an experiment tracker.

    Raises:
        UsageError: saying how to install it, where it is missing.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(f"--{package}: the package {package} is missing ({error}): {NEEDED[package]}") from error
