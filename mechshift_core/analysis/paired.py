"""A mean over prompts (or trimmed mean) before and after: both models, and their shift as hypotheses are tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, located, mean_estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec
from stats.findings import Estimate
from stats.minimums import MINIMUM_CLUSTERS
from stats.rates import constant_band

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
    limits: tuple[float, float] | None = None,
) -> Measured:
    """Estimates before, after and of the shift, and the shift, prompt by prompt, as what hypotheses are tested with.

    Args:
        sample: A pair on a task, with at least two selected examples.
        measure: What hypotheses call the shift.
        values: `before` and `after` -> one value per selected example, [n].
        references: Side -> what the estimate is read against.
        source: The intervention that the values are from, for the estimates' method.
        limits: The lowest and the highest value that a prompt can have, where few values are possible: that all prompts
            have the same one is then no evidence that others have.
    """
    shift = values["after"] - values["before"]
    every = {"before": values["before"], "after": values["after"], "shift": shift}
    estimates = [
        mean_estimate(sample, spec, measure, side, one, (references or {}).get(side)) for side, one in every.items()
    ]
    if limits is not None:
        spans = {side: limits if side != "shift" else (limits[0] - limits[1], limits[1] - limits[0]) for side in every}
        estimates = [_of_constant(sample, one, every[one.side], spans[one.side]) for one in estimates]
    if source:
        estimates = [replace(one, method=f"{source}: {one.method}") for one in estimates]
    return Measured(estimates=tuple(estimates), replicated={measure: located(sample, spec, measure, shift)})


def bounded(measured: Measured, *, few: bool = False) -> Measured:
    """What is measured, as of values that have bounds and are the same on most prompts: see :class:`.Replicated`.

    Args:
        measured: What is measured.
        few: Whether few values from -1 to 1 are possible (`counted`).
    """
    found = {name: replace(one, bounded=True, counted=few) for name, one in measured.replicated.items()}
    return replace(measured, replicated=found)


def _of_constant(sample: Sample, one: Estimate, values: Floats, limits: tuple[float, float]) -> Estimate:
    """The estimate with an exact interval where all prompts have the same value: none has no width."""
    if np.ptp(values) > 0 or sample.units < MINIMUM_CLUSTERS:
        return one
    low, high = constant_band(float(values[0]), sample.units, one.confidence, lowest=limits[0], highest=limits[1])
    unit = "templates" if sample.by_template else "prompts"
    message = f"all {sample.units} {unit} have the same value: the interval is of what was seen in none of them"
    return replace(one, low=low, high=high, method="mean: exact (Clopper-Pearson)", status="ok", message=message)
