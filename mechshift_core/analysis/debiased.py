"""Indices whose expectation does not depend on noise: what hypotheses on them are tested with.

Contributions to the error are kept by example of the task (or by template of it), so that pairs and models that share
prompts pair up in contrasts.
"""

from __future__ import annotations

from collections.abc import Mapping

from mechshift_core.analysis.indices import REFERENCES
from mechshift_core.analysis.linearised import jackknifed
from mechshift_core.analysis.measured import Measured, Rows, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec
from stats.findings import Estimate, Status
from stats.hypothesis_tests import difference_test
from stats.jackknife import Jackknifed, shift
from stats.replicates import Replicated


def measure_debiased(
    sample: Sample, spec: Spec, measure: str, sides: Mapping[str, Jackknifed], *, index: str, name: str, declared: str
) -> Measured:
    """Rows of `indices` before, after and of the shift; estimates and what is tested, where it is declared.

    Args:
        measure: What hypotheses call the shift.
        sides: The index of each model, `before` and `after`.
        index: Its name in the table, `name` in words.
        declared: The index that the spec declares.
    """
    found = {side: _side(sample, f"{measure} ({side})", side, one) for side, one in sides.items()}
    found["shift"] = _shift(sample, f"{measure} (shift)", sides)
    rows: Rows = []
    estimates: list[Estimate] = []
    status: Status
    for side, one in found.items():
        if isinstance(one, str):
            test, status, message = None, "undefined", one
        else:
            test = difference_test(one.estimate, one.se, one.df, confidence=spec.statistics.confidence)
            status, message = test.status, one.message or test.message
        value, low, high = (None, None, None) if test is None else (test.estimate, test.low, test.high)
        rows.append(
            {
                **sample.labels(),
                "measure": measure,
                "index": index,
                "side": side,
                **dict.fromkeys(REFERENCES),
                "value": value,
                "low": low,
                "high": high,
            }
        )
        estimates.append(
            estimate(
                sample,
                spec,
                measure=measure,
                side=side,
                value=value,
                low=low,
                high=high,
                method=f"{name}; t interval with the jackknife standard error over {sample.unit}",
                status=status,
                message=message,
            )
        )
    if index != declared:
        return Measured(rows={"indices": rows})
    change = found["shift"]
    if isinstance(change, str):
        return Measured(rows={"indices": rows}, estimates=tuple(estimates), problems={measure: change})
    return Measured(rows={"indices": rows}, estimates=tuple(estimates), replicated={measure: change})


def _side(sample: Sample, label: str, side: str, one: Jackknifed) -> Replicated | str:
    if one.estimate is None:
        return one.message
    return jackknifed(sample, label, one.estimate, {side: one.influence})


def _shift(sample: Sample, label: str, sides: Mapping[str, Jackknifed]) -> Replicated | str:
    before, after = sides["before"], sides["after"]
    if before.estimate is None or after.estimate is None:
        return "; ".join(f"{side}: {one.message}" for side, one in sides.items() if one.estimate is None)
    change = shift(before, after, paired=sample.selected_after is None)
    return jackknifed(sample, label, change.estimate, {"before": change.before, "after": change.after})
