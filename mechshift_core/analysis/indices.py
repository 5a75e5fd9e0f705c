"""An index of each model of a pair and its shift: estimates, rows of the table, and what hypotheses are tested with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Rows, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec
from stats.findings import Estimate
from stats.hypothesis_tests import difference_test
from stats.replicates import Replicated
from stats.resampling import MINIMUM_CLUSTERS


@dataclass(frozen=True, eq=False, slots=True)
class SideIndex:
    """The index of one model.

    Attributes:
        value: On the selected examples, and `replicates` in every bootstrap replicate, [R].
        reference: What it is read against, e.g. `null` and `excess`.
    """

    value: float
    replicates: npt.NDArray[np.float64]
    reference: Mapping[str, float | None]


def measure_index(
    sample: Sample, spec: Spec, measure: str, *, index: str, name: str, before: SideIndex, after: SideIndex
) -> Measured:
    """Rows of `indices` and estimates before and after, and their difference as the measure.

    Args:
        measure: What hypotheses call the shift of the index.
        index: What the table calls the index, and `name`, what it is in words.
        before: The model before, and `after` the model after.
    """
    shift = SideIndex(after.value - before.value, after.replicates - before.replicates, {})
    sides = {"before": before, "after": after, "shift": shift}
    results = {side: _replicated(sample, f"{measure} ({side})", one) for side, one in sides.items()}
    estimates = tuple(
        _estimate(sample, spec, measure, side, results[side], name=name, reference=one.reference)
        for side, one in sides.items()
    )
    rows: Rows = [
        {
            **sample.labels(),
            "index": index,
            "side": row.side,
            "value": row.estimate,
            "null": row.reference.get("null"),
            "excess": row.reference.get("excess"),
            "low": row.low,
            "high": row.high,
        }
        for row in estimates
    ]
    return Measured(rows={"indices": rows}, estimates=estimates, replicated={measure: results["shift"]})


def _replicated(sample: Sample, label: str, one: SideIndex) -> Replicated:
    units, name = sample.units, "templates" if sample.by_template else "prompts"
    enough = units >= MINIMUM_CLUSTERS
    # Multinomial weights give (units - 1) / units of the variance over units.
    widened = one.replicates * np.sqrt(units / (units - 1)) if enough else None
    return Replicated(
        label=f"{label} of {sample.pair.name} on {sample.task.name}",
        estimate=one.value,
        replicates=widened,
        se=None if widened is None else float(widened.std(ddof=1)),
        df=units - 1,
        units=units,
        message="" if enough else f"{units} {name}: fewer than {MINIMUM_CLUSTERS}, no interval",
    )


def _estimate(
    sample: Sample,
    spec: Spec,
    measure: str,
    side: str,
    result: Replicated,
    *,
    name: str,
    reference: Mapping[str, float | None],
) -> Estimate:
    test = difference_test(result.estimate, result.se, result.df, confidence=spec.statistics.confidence)
    return estimate(
        sample,
        spec,
        measure=measure,
        side=side,
        value=result.estimate,
        low=test.low,
        high=test.high,
        method=f"{name}; t interval with the bootstrap standard error over {sample.unit}",
        status=test.status,
        message=result.message or test.message,
        reference=reference,
    )
