"""What linear probes read off the residual stream, before and after."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Results, mean_interval
from mechshift_core.analysis.read_at import read_apart
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.probe.section import OF_STATES, Probe
from mechshift_core.spec import Spec

Floats = npt.NDArray[np.float64]


def measure_probes(sample: Sample, spec: Spec, intervention: Probe, results: Results) -> Measured:
    """Rows of `probes`: accuracy of every variable and layer on each model, and after minus before."""
    rows: list[dict[str, object]] = []
    stored: dict[str, Stored] = {}
    for side, found in results.items():
        if isinstance(found, str):
            rows.append(_row(sample, intervention, side, None, None, status=found))
        else:
            stored[side] = found
            rows += _side_rows(sample, spec, intervention, side, found)
    if len(stored) == 2:
        rows += _shift_rows(sample, spec, intervention, stored["before"], stored["after"])
    return Measured(rows={"probes": rows})


def _side_rows(
    sample: Sample, spec: Spec, intervention: Probe, side: str, stored: Stored
) -> Iterator[dict[str, object]]:
    for at, variable in enumerate(stored.description["variables"]):
        for layer, (correct, control) in enumerate(
            zip(stored.tensors["correct"][at], stored.tensors["control"][at], strict=True)
        ):
            known = correct >= 0
            interval = mean_interval(sample, spec, correct[known].astype(np.float64), examples=sample.ids(side)[known])
            yield _row(sample, intervention, side, variable["name"], layer) | {
                "accuracy": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "control": float(control[known].mean()),
                "majority": variable["majority"],
                "classes": variable["classes"],
                "n": int(known.sum()),
            }
    for name in stored.description["left_out"]:
        status = "fewer than two values that five examples or more have"
        if name in OF_STATES:
            status = f"no example has two states with values that five examples or more have ({sample.reading.budget})"
        yield _row(sample, intervention, side, name, None, status=status)


def _shift_rows(
    sample: Sample, spec: Spec, intervention: Probe, before: Stored, after: Stored
) -> Iterator[dict[str, object]]:
    """Differences by example; on halves of the prompts, by place, of as many as both have."""
    apart = read_apart(sample, spec)
    if apart:
        yield _row(sample, intervention, "shift", None, None, status=apart)
        return
    place = {variable["name"]: at for at, variable in enumerate(before.description["variables"])}
    for at, variable in enumerate(after.description["variables"]):
        if variable["name"] not in place:
            continue
        own, other = after.tensors["correct"][at], before.tensors["correct"][place[variable["name"]]]
        for layer, (late, early) in enumerate(zip(own, other, strict=True)):
            known = (late >= 0) & (early >= 0)
            if known.any():
                changes = (late - early)[known].astype(np.float64)
                interval = mean_interval(sample, spec, changes, examples=sample.ids("after")[: len(late)][known])
                yield _row(sample, intervention, "shift", variable["name"], layer) | {
                    "accuracy": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "classes": variable["classes"],
                    "n": int(known.sum()),
                }


def _row(
    sample: Sample, intervention: Probe, side: str, variable: str | None, layer: int | None, *, status: str = "ok"
) -> dict[str, object]:
    return {
        **sample.labels(),
        "model": None if side == "shift" else sample.side(side).model,
        "side": side,
        "intervention": intervention.name,
        "variable": variable,
        "layer": layer,
        **dict.fromkeys(("accuracy", "low", "high", "control", "majority", "classes")),
        "n": 0,
        "status": status,
    }
