"""A mean over prompts before and after: estimates of both models, and their shift as hypotheses are tested with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, mean_estimate
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.spec import Spec
from stats.replicates import mean_replicates

Floats = npt.NDArray[np.float64]
Reference = Mapping[str, float | None]


def paired_shift(
    sample: Sample,
    spec: Spec,
    measure: str,
    values: Mapping[str, Floats],
    *,
    references: Mapping[str, Reference] | None = None,
    source: str = "",
) -> Measured:
    """Estimates before, after and of the shift, and the shift, prompt by prompt, as what hypotheses are tested with.

    Args:
        sample: A pair on a task, with at least two selected examples.
        measure: What hypotheses call the shift.
        values: `before` and `after` -> one value per selected example, [n].
        references: Side -> what the estimate is read against.
        source: The intervention that the values are from, for the estimates' method.
    """
    shift = values["after"] - values["before"]
    estimates = [
        mean_estimate(sample, spec, measure, side, one, (references or {}).get(side))
        for side, one in {"before": values["before"], "after": values["after"], "shift": shift}.items()
    ]
    if source:
        estimates = [replace(one, method=f"{source}: {one.method}") for one in estimates]
    replicated = mean_replicates(
        shift,
        task_weights(sample, spec.statistics.bootstrap.replicates, all_examples=True),
        label=f"{measure} of {sample.pair.name} on {sample.task.name}",
        examples=sample.selected,
        cluster=sample.templates if sample.by_template else None,
    )
    return Measured(estimates=tuple(estimates), replicated={measure: replicated})
