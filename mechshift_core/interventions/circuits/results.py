"""Faithfulness of circuits by size, and under the partner's circuit, from the runs that kept only a circuit intact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.linearised import labelled
from mechshift_core.analysis.measured import Measured, Results, Rows
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.execution.selected import FEWEST
from mechshift_core.interventions.circuits.ratios import Value, performance_shift, shift_estimate, transfer
from mechshift_core.interventions.circuits.section import CircuitPatching, CircuitTransfer
from mechshift_core.spec import Spec
from stats.faithfulness import METHOD, FaithfulnessCurve, RatioEstimate, faithfulness_curve, transfer_ratio
from stats.findings import Estimate
from stats.replicates import Replicated

Description = Mapping[str, Any]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Curve:
    """The circuits of one kind by size: what they are, mean of the metric and faithfulness [sizes], CMD and CPR."""

    circuits: Sequence[Description]
    metric: Floats
    faithfulness: Sequence[RatioEstimate]
    whole: FaithfulnessCurve


def measure_faithfulness(sample: Sample, spec: Spec, intervention: CircuitPatching, results: Results) -> Measured:
    """Rows of `faithfulness`; CMD and CPR of each model beside those of random circuits, the shift of the CPR."""
    rows: Rows = []
    estimates: list[Estimate] = []
    performance: dict[str, Value] = {}
    for side, stored in results.items():
        reason = _unusable(sample, stored)
        if isinstance(stored, str) or reason:
            performance[side] = reason
            rows += [_row(sample, side, intervention, "own", size, reason) for size in intervention.sizes]
            values = (_estimate(sample, spec, side, intervention, name, None, reason) for name in ("cmd", "cpr"))
            estimates += [*values]
            continue
        confidence = spec.statistics.confidence
        own = _curve(sample, stored, "own", None, confidence)
        drawn = [_curve(sample, stored, "random", draw, confidence) for draw in range(intervention.random)]
        performance[side] = own.whole.cpr
        for place in range(len(own.circuits)):
            rows.append(_own_row(sample, side, intervention, own, place))
            rows += [_random_row(sample, side, intervention, drawn, place)] if drawn else []
        for name in ("cmd", "cpr"):
            found = [getattr(curve.whole, name).estimate for curve in drawn]
            reference = _spread([value for value in found if value is not None])
            value = getattr(own.whole, name)
            estimates.append(_estimate(sample, spec, side, intervention, name, value, "", reference))
    shift = performance_shift(sample, performance)
    estimates.append(shift_estimate(sample, spec, intervention, shift))
    return replace(_tested_with("faithfulness", shift), rows={"faithfulness": rows}, estimates=tuple(estimates))


def measure_performance(sample: Sample, spec: Spec, intervention: CircuitPatching, results: Results) -> Measured:
    """`faithfulness` alone, without rows and random circuits, as hypotheses are tested with it."""
    performance: dict[str, Value] = {}
    for side, stored in results.items():
        reason = _unusable(sample, stored)
        performance[side] = reason
        if not isinstance(stored, str) and not reason:
            performance[side] = _curve(sample, stored, "own", None, spec.statistics.confidence).whole.cpr
    return _tested_with("faithfulness", performance_shift(sample, performance))


def measure_transfer(sample: Sample, spec: Spec, intervention: CircuitTransfer, results: Results) -> Measured:
    """Rows of `faithfulness` under the own and the partner's circuit, and the ratio of the two."""
    rows: Rows = []
    estimates: list[Estimate] = []
    after: Value = ""
    for side, stored in results.items():
        reason = _unusable(sample, stored)
        if isinstance(stored, str) or reason:
            after = reason if side == "after" else after
            rows += [_row(sample, side, intervention, kind, intervention.size, reason) for kind in ("own", "partner")]
            estimates.append(_estimate(sample, spec, side, intervention, "transfer_ratio", None, reason))
            continue
        circuits = stored.description["circuits"]
        metric = {circuit["origin"]: values for circuit, values in zip(circuits, stored.tensors["metric"], strict=True)}
        ratio = transfer_ratio(
            metric["own"],
            metric["partner"],
            full=stored.tensors["clean_metric"],
            empty=stored.tensors["empty_metric"],
            cluster=sample.clusters(stored.tensors["examples"]),
            confidence=spec.statistics.confidence,
        )
        of_circuit = {"own": ratio.own, "partner": ratio.other}
        for circuit in circuits:
            kind = circuit["origin"]
            row = _row(sample, side, intervention, kind, intervention.size, _status(of_circuit[kind], circuit))
            rows.append({**row, **_measured(circuit, float(metric[kind].mean()), of_circuit[kind])})
        after = ratio.ratio if side == "after" else after
        reference = {kind: value.estimate for kind, value in of_circuit.items()}
        estimates.append(_estimate(sample, spec, side, intervention, "transfer_ratio", ratio.ratio, "", reference))
    carried = transfer(sample, after)
    return replace(_tested_with("transfer", carried), rows={"faithfulness": rows}, estimates=tuple(estimates))


def _tested_with(measure: str, found: Replicated | str) -> Measured:
    if isinstance(found, str):
        return Measured(problems={measure: found})
    return Measured(replicated={measure: found})


def _unusable(sample: Sample, stored: Stored | str) -> str:
    """Why a side has no numbers; empty where it has."""
    if isinstance(stored, str):
        return stored
    circuits = stored.description["circuits"]
    if not circuits:
        return f"{sample.selection}; circuits need at least {FEWEST}"
    empty = any(circuit["edges"] == 0 for circuit in circuits)
    return "no edge has a score other than zero in a half of the prompts: there is no circuit" if empty else ""


def _curve(sample: Sample, stored: Stored, origin: str, draw: int | None, confidence: float) -> _Curve:
    described = stored.description["circuits"]
    chosen = [row for row, c in enumerate(described) if (c["origin"], c["draw"]) == (origin, draw)]
    metric = stored.tensors["metric"][chosen].astype(np.float64)
    # In a small graph several percentages are the same number of edges, and so the same circuit.
    sizes, first, place = np.unique([described[row]["edges"] for row in chosen], return_index=True, return_inverse=True)
    whole = faithfulness_curve(
        metric[first],
        full=stored.tensors["clean_metric"],
        empty=stored.tensors["empty_metric"],
        cluster=sample.clusters(stored.tensors["examples"]),
        fractions=sizes / len(sample.graph.edges),
        confidence=confidence,
    )
    by_size = [whole.faithfulness[number] for number in place]
    return _Curve([described[row] for row in chosen], metric.mean(axis=1), by_size, whole)


def _row(
    sample: Sample,
    side: str,
    intervention: CircuitPatching | CircuitTransfer,
    circuit: str,
    percent: float,
    status: str,
) -> dict[str, object]:
    return {
        **sample.labels(),
        "model": sample.side(side).model,
        "side": side,
        "intervention": intervention.name,
        "ablation": intervention.ablation,
        "circuit": circuit,
        "percent": float(percent),
        **dict.fromkeys(("edges", "live_edges", "metric", "faithfulness", "low", "high")),
        "n": sample.n,
        "status": status,
    }


def _measured(circuit: Description, metric: float, value: RatioEstimate) -> dict[str, object]:
    return {
        "edges": round(circuit["edges"]),
        "live_edges": round(circuit["live_edges"]),
        "metric": metric,
        "faithfulness": value.estimate,
        "low": value.low,
        "high": value.high,
    }


def _own_row(sample: Sample, side: str, intervention: CircuitPatching, curve: _Curve, place: int) -> dict[str, object]:
    circuit, value = curve.circuits[place], curve.faithfulness[place]
    # The full circuit is the clean run: 1 for every example, which leaves nothing for an interval to say.
    full = circuit["edges"] == len(sample.graph.edges) and value.estimate is not None
    row = _row(sample, side, intervention, "own", circuit["percent"], "ok" if full else _status(value, circuit))
    return {**row, **_measured(circuit, float(curve.metric[place]), value)}


def _random_row(
    sample: Sample, side: str, intervention: CircuitPatching, drawn: Sequence[_Curve], place: int
) -> dict[str, object]:
    circuits = [curve.circuits[place] for curve in drawn]
    found = [curve.faithfulness[place] for curve in drawn]
    spread = _spread([value.estimate for value in found if value.estimate is not None])
    row = _row(sample, side, intervention, "random", circuits[0]["percent"], found[0].message if not spread else "ok")
    return {
        **row,
        "edges": round(circuits[0]["edges"]),
        "live_edges": round(float(np.mean([circuit["live_edges"] for circuit in circuits]))),
        "metric": float(np.mean([curve.metric[place] for curve in drawn])),
        "faithfulness": spread.get("random"),
        "low": spread.get("random_low"),
        "high": spread.get("random_high"),
    }


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, smallest and largest over random circuits; empty if there are none."""
    if not values:
        return {}
    return {"random": float(np.mean(values)), "random_low": min(values), "random_high": max(values)}


def _status(value: RatioEstimate, circuit: Description) -> str:
    asked, edges = circuit.get("asked", 0), circuit["edges"]
    fewer = f"only {edges:g} of {asked} edges have a score other than zero" if edges < asked else ""
    return "; ".join(filter(None, (fewer, "" if value.status == "ok" else value.message))) or "ok"


def _estimate(
    sample: Sample,
    spec: Spec,
    side: str,
    intervention: CircuitPatching | CircuitTransfer,
    measure: str,
    value: RatioEstimate | None,
    reason: str,
    reference: Mapping[str, float | None] | None = None,
) -> Estimate:
    halves = "ranked on the other half of the prompts" if intervention.held_out else "ranked on the same prompts"
    method = f"{intervention.name}: {intervention.ablation} ablation, {halves}; {METHOD}"
    return labelled(sample, spec, value, reason, measure=measure, side=side, method=method, reference=reference)
