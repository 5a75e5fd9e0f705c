"""The files of a run directory, by name."""

from __future__ import annotations

from pathlib import Path

from mechshift_core.errors import UsageError

RUNS = Path("runs")
FINDINGS, REPORT, PLAN, SPEC, PROVENANCE = (
    "findings.json",
    "report.html",
    "plan.json",
    "spec.yaml",
    "provenance.json",
)
DECLARATIONS = "declarations.json"
"""What was declared when."""
STATE = "analysis.json"
"""Written last: what findings and report depend on."""


def require_run(path: Path) -> None:
    """Check that a folder holds a run.

    Raises:
        UsageError: if it does not.
    """
    if not (path / PLAN).is_file() or not (path / SPEC).is_file():
        raise UsageError(f"{path} holds no run (no {PLAN}); give a run directory, such as {RUNS}/NAME")
