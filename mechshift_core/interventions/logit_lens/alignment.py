"""How sharply components write the answer, and when it is decided: per prompt, for both models and their shift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mechshift_core.analysis.indices import REFERENCES
from mechshift_core.analysis.measured import Measured, Rows
from mechshift_core.analysis.paired import Floats, bounded, paired_shift
from mechshift_core.analysis.samples import Sample
from mechshift_core.interventions.logit_lens.read import LensRead
from mechshift_core.spec import Spec
from stats.alignment import Alignment, output_alignment
from stats.decision import DecisionTimes, decision_times
from stats.trimmed import trimmed_mean


def measure_decision(sample: Sample, spec: Spec, read: Mapping[str, LensRead]) -> Measured:
    """Decision times of both models and their shift, `decision_time`; why not, where all answers are read in one step.

    A prompt of a single step among others has a time, too: 0 if its answer is right, else 1.
    """
    single = [
        f"{side}: every answer is read in one denoising step ({sample.reading.budget}), over which nothing varies"
        for side, one in read.items()
        if int(one.tensors["steps"].max()) == 1
    ]
    if single:
        return Measured(problems={"decision_time": "; ".join(single)})
    times: dict[str, DecisionTimes] = {
        side: decision_times(one.right[:, :, -1], one.tensors["steps"]) for side, one in read.items()
    }
    nulls = {side: one.null for side, one in times.items()}
    nulls["shift"] = nulls["after"] - nulls["before"]
    found = paired_shift(
        sample,
        spec,
        "decision_time",
        {side: one.time for side, one in times.items()},
        references={side: {"null": float(one.mean())} for side, one in nulls.items()},
        limits=(0.0, 1.0),
    )
    return bounded(found, few=True)


def measure_alignment(sample: Sample, spec: Spec, read: Mapping[str, LensRead]) -> Measured:
    """The weighted entropy of heads and MLPs before and after, and its shift prompt by prompt."""
    found = {side: _aligned(sample, one) for side, one in read.items()}
    before, after = found["before"], found["after"]
    null = after.null - before.null
    shift = after.per_prompt - before.per_prompt
    references = {side: _reference(one, spec) for side, one in found.items()}
    references["shift"] = {"null": null, "excess": _location(shift, spec) - null}
    values = {side: one.per_prompt for side, one in found.items()}
    measured = paired_shift(sample, spec, "alignment", values, references=references)
    rows: Rows = [
        {
            **sample.labels(),
            "measure": "alignment",
            "index": "alignment",
            "side": row.side,
            "value": row.estimate,
            **{name: row.reference.get(name) for name in REFERENCES},
            "low": row.low,
            "high": row.high,
        }
        for row in measured.estimates
    ]
    return replace(measured, rows={"indices": rows})


def _aligned(sample: Sample, read: LensRead) -> Alignment:
    own = [number for number, kind in enumerate(read.kinds) if kind in ("head", "mlp")]
    entropy, added = (read.tensors[name][own].T.astype(np.float64) for name in ("entropy", "direct"))
    return output_alignment(entropy, added, [read.kinds[number] for number in own], seed=sample.seed)


def _reference(one: Alignment, spec: Spec) -> dict[str, float | None]:
    excess = one.excess if spec.statistics.location == "mean" else _location(one.per_prompt, spec) - one.null
    return {"null": one.null, "null_low": one.null_low, "null_high": one.null_high, "excess": excess}


def _location(values: Floats, spec: Spec) -> float:
    return float(values.mean()) if spec.statistics.location == "mean" else trimmed_mean(values).estimate
