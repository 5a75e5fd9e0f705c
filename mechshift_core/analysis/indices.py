"""Indices of each model of a pair and their shift: rows of the table, estimates, what hypotheses are tested with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Rows, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.kinds import testable
from mechshift_core.spec import Spec
from stats.checks import SAME, varies
from stats.findings import Estimate
from stats.hypothesis_tests import TestResult, difference_test
from stats.replicates import Replicated
from stats.resampling import MINIMUM_CLUSTERS


@dataclass(frozen=True, eq=False, slots=True)
class SideIndex:
    """The index of one model.

    Attributes:
        value: On the selected examples, and `replicates` in every bootstrap replicate, [R]; None where they are too
            dear, which leaves the index without an interval.
        reference: What it is read against: `null` with `null_low` and `null_high`, `excess`, `crossfitted`; any may be
            missing.
    """

    value: float
    replicates: npt.NDArray[np.float64] | None
    reference: Mapping[str, float | None]


@dataclass(frozen=True, eq=False, slots=True)
class Compared:
    """An index of both models of a pair.

    Attributes:
        name: What it is in words.
    """

    name: str
    before: SideIndex
    after: SideIndex

    @property
    def sides(self) -> dict[str, SideIndex]:
        """Before, after and shift (after minus before, replicate by replicate)."""
        before, after = self.before, self.after
        replicates = None
        if before.replicates is not None and after.replicates is not None:
            replicates = after.replicates - before.replicates
            # Indices that are the same up to rounding do not differ.
            size = np.maximum(np.abs(before.replicates), np.abs(after.replicates))
            replicates[np.abs(replicates) <= SAME * size] = 0
        shift = SideIndex(after.value - before.value, replicates, {})
        return {"before": before, "after": after, "shift": shift}


UNTESTED = "this index moves with the noise of the effects alone: its shift is described, not tested"
REFERENCES = ("null", "null_low", "null_high", "excess", "crossfitted")
"""What an index is read against: columns of the table `indices`."""


def measure_indices(
    sample: Sample, spec: Spec, measure: str, compared: Mapping[str, Compared], *, declared: str
) -> Measured:
    """Rows of `indices` for all indices; estimates before, after and of the shift, the measure, for the declared one.

    Args:
        measure: What hypotheses call the shift of the declared index.
        compared: Name of an index in the table -> the index of both models.
        declared: The index that the spec declares; where it is none of `compared`, there are rows only.
    """
    rows: Rows = []
    estimates: list[Estimate] = []
    replicated: dict[str, Replicated] = {}
    for index, one in compared.items():
        noisy = index in testable(measure).noisy
        for side, value in one.sides.items():
            result = replicated_index(sample, f"{measure} ({side})", value)
            if noisy and side == "shift":
                result = replace(result, replicates=None, se=None, message=UNTESTED)
            test = difference_test(result.estimate, result.se, result.df, confidence=spec.statistics.confidence)
            rows.append(
                {
                    **sample.labels(),
                    "measure": measure,
                    "index": index,
                    "side": side,
                    "value": value.value,
                    **{name: value.reference.get(name) for name in REFERENCES},
                    "low": test.low,
                    "high": test.high,
                }
            )
            if index == declared:
                message = result.message or test.message
                estimates.append(_estimate(sample, spec, measure, side, one.name, test, message, value.reference))
                replicated = {measure: result}
    return Measured(rows={"indices": rows}, estimates=tuple(estimates), replicated=replicated)


def measure_index(
    sample: Sample, spec: Spec, measure: str, *, index: str, name: str, before: SideIndex, after: SideIndex
) -> Measured:
    """:func:`measure_indices` of a measure that has a single index."""
    return measure_indices(sample, spec, measure, {index: Compared(name, before, after)}, declared=index)


def replicated_index(sample: Sample, label: str, one: SideIndex) -> Replicated:
    """An index with its replicates widened to the spread over so many units; no interval where these are too few."""
    units, name = sample.units, "templates" if sample.by_template else "prompts"
    enough, few = units >= MINIMUM_CLUSTERS, f"{units} {name}: fewer than {MINIMUM_CLUSTERS}, no interval"
    # Multinomial weights give (units - 1) / units of the variance over units.
    widened = one.replicates * np.sqrt(units / (units - 1)) if enough and one.replicates is not None else None
    se = None if widened is None else float(widened.std(ddof=1)) if varies(widened) else 0.0
    return Replicated(
        label=f"{label} of {sample.pair.name} on {sample.task.name}",
        estimate=one.value,
        replicates=widened,
        se=se,
        df=units - 1,
        units=units,
        message="" if enough else few,
    )


def _estimate(
    sample: Sample,
    spec: Spec,
    measure: str,
    side: str,
    name: str,
    test: TestResult,
    message: str,
    reference: Mapping[str, float | None],
) -> Estimate:
    return estimate(
        sample,
        spec,
        measure=measure,
        side=side,
        value=test.estimate,
        low=test.low,
        high=test.high,
        method=f"{name}; t interval with the bootstrap standard error over {sample.unit}",
        status=test.status,
        message=message,
        reference=reference,
    )
