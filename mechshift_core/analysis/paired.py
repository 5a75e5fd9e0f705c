"""A mean over prompts (or trimmed mean) before and after: both models, and their shift as hypotheses are tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, located, mean_estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec

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
    return Measured(estimates=tuple(estimates), replicated={measure: located(sample, spec, measure, shift)})
