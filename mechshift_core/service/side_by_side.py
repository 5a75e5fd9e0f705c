"""Several runs side by side, and a run against a baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.gate import check_run, formats, read_run
from mechshift_core.service.root import Root
from stats.baseline import Baseline

MOST_RUNS = 20
NUMBERS = ("estimate", "low", "high", "p_corrected", "verdict", "status")


def side_by_side(root: Root, names: Sequence[str]) -> list[dict[str, Any]]:
    """Every hypothesis of some runs, with its numbers in each: None where a run has it not.

    Raises:
        UsageError: if there are too few or too many, or one is no run.
        ExecutionError: if one has not come to an end.
    """
    if not 2 <= len(names) <= MOST_RUNS or len({*names}) != len(names):
        raise UsageError(f"name between 2 and {MOST_RUNS} runs, each once")
    runs = [read_run(root.run(name)).findings for name in names]
    found = [{finding.id: finding for finding in run.hypotheses} for run in runs]
    rows = []
    for id in dict.fromkeys(id for one in found for id in one):
        there = [one.get(id) for one in found]
        first = next(finding for finding in there if finding is not None)
        numbers = [None if f is None else {name: getattr(f, name) for name in NUMBERS} for f in there]
        rows.append({"id": id, "claim": first.claim, "measure": first.measure, "runs": numbers})
    return rows


def gate(
    root: Root, name: str, baseline: Mapping[str, Any], *, tolerance: float | None, must_hold: Sequence[str]
) -> dict[str, Any]:
    """A run against a baseline; the answer has the exit code that `mechshift check` would have.

    Raises:
        UsageError: if the baseline is none, or `must_hold` names no hypothesis.
        ExecutionError: if the run has not come to an end.
    """
    stored = read_run(root.run(name))
    try:
        recorded = Baseline.from_json(json.dumps(baseline))
    except ValueError as error:
        raise UsageError(f"baseline: {error}") from error
    known = {finding.id for finding in (*stored.baseline.findings, *recorded.findings)}
    if unknown := [id for id in must_hold if id not in known]:
        raise UsageError(f"must_hold: no hypothesis {unknown[0]!r}")
    result = check_run(stored, recorded, tolerance=tolerance, must_hold=must_hold)
    return {**formats.as_json(result), "exit_code": result.exit_code}
