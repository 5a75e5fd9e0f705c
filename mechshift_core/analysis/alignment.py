"""How sharply components write the answer, and when it is decided: per prompt, for both models and their shift."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mechshift_core.analysis.indices import REFERENCES
from mechshift_core.analysis.lens_read import LensRead
from mechshift_core.analysis.measured import Measured, Rows, mean_estimate
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.spec import Spec
from stats.alignment import Alignment, output_alignment
from stats.decision import DecisionTimes, decision_times
from stats.findings import Estimate
from stats.replicates import mean_replicates


def decision_estimates(sample: Sample, spec: Spec, read: Mapping[str, LensRead]) -> tuple[Estimate, ...]:
    """Decision times of both models and their shift; none where every answer is read in one step."""
    if max(int(one.tensors["steps"].max()) for one in read.values()) == 1:
        return ()
    times: dict[str, DecisionTimes] = {
        side: decision_times(one.right[:, :, -1], one.tensors["steps"]) for side, one in read.items()
    }
    values = {side: one.time for side, one in times.items()}
    nulls = {side: one.null for side, one in times.items()}
    shift = {"shift": values["after"] - values["before"]}
    null_shift = {"shift": nulls["after"] - nulls["before"]}
    return tuple(
        mean_estimate(sample, spec, "decision_time", side, one, {"null": float((nulls | null_shift)[side].mean())})
        for side, one in (values | shift).items()
    )


def measure_alignment(sample: Sample, spec: Spec, read: Mapping[str, LensRead]) -> Measured:
    """The weighted entropy of heads and MLPs before and after, and its shift prompt by prompt."""
    found = {side: _aligned(sample, one) for side, one in read.items()}
    before, after = found["before"], found["after"]
    null = after.null - before.null
    shift = after.per_prompt - before.per_prompt
    estimates = (
        *(
            mean_estimate(sample, spec, "alignment", side, one.per_prompt, _reference(one))
            for side, one in found.items()
        ),
        mean_estimate(sample, spec, "alignment", "shift", shift, {"null": null, "excess": float(shift.mean()) - null}),
    )
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
        for row in estimates
    ]
    replicated = mean_replicates(
        shift,
        task_weights(sample, spec.statistics.bootstrap.replicates, all_examples=True),
        label=f"alignment of {sample.pair.name} on {sample.task.name}",
        examples=sample.selected,
        cluster=sample.templates if sample.by_template else None,
    )
    return Measured(rows={"indices": rows}, estimates=estimates, replicated={"alignment": replicated})


def _aligned(sample: Sample, read: LensRead) -> Alignment:
    own = [number for number, kind in enumerate(read.kinds) if kind in ("head", "mlp")]
    entropy, added = (read.tensors[name][own].T.astype(np.float64) for name in ("entropy", "direct"))
    return output_alignment(entropy, added, [read.kinds[number] for number in own], seed=sample.seed)


def _reference(one: Alignment) -> dict[str, float | None]:
    return {"null": one.null, "null_low": one.null_low, "null_high": one.null_high, "excess": one.excess}
