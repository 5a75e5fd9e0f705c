"""What hypotheses about circuits are tested with: the transfer ratio, and the shift of the circuit performance ratio.

Both are ratios of means over prompts. Their error is linear in the prompts' contributions to first order, which are
kept by example of the task: contrasts of pairs and models that share prompts pair up.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mechshift_core.analysis.measured import by_example, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.interventions.circuits.section import CircuitPatching
from mechshift_core.spec import Spec
from stats.faithfulness import METHOD, RatioEstimate
from stats.findings import Estimate
from stats.hypothesis_tests import difference_test
from stats.replicates import Replicated
from stats.resampling import MINIMUM_CLUSTERS

Value = RatioEstimate | str
"""A ratio, or why there is none."""


def transfer(sample: Sample, value: Value) -> Replicated | str:
    """The transfer ratio of the model after under the circuit of the model before; or why it has none."""
    return _combined(sample, "transfer", {"after": (1.0, value)})


def performance_shift(sample: Sample, values: Mapping[str, Value]) -> Replicated | str:
    """After-minus-before shift of the CPR, from that of each side; or why it has none."""
    signs = {"before": -1.0, "after": 1.0}
    return _combined(sample, "faithfulness", {side: (signs[side], value) for side, value in values.items()})


def _combined(sample: Sample, measure: str, parts: Mapping[str, tuple[float, Value]]) -> Replicated | str:
    total, known = 0.0, {}
    problems = []
    for side, (sign, value) in parts.items():
        if isinstance(value, str) or value.estimate is None:
            problems.append(f"{side}: {value if isinstance(value, str) else value.message}")
            continue
        total += sign * value.estimate
        if value.influence is not None:
            known[side] = sign * value.influence
    if problems:
        return "; ".join(problems)
    enough = sample.units >= MINIMUM_CLUSTERS
    influence = by_example(sample, known)
    return Replicated(
        label=f"{measure} of {sample.pair.name} on {sample.task.name}",
        estimate=total,
        replicates=None,
        se=float(np.linalg.norm(influence)) if enough else None,
        df=sample.units - 1,
        units=sample.units,
        influence=influence if enough else None,
        linearised=True,
    )


def shift_estimate(sample: Sample, spec: Spec, intervention: CircuitPatching, shift: Replicated | str) -> Estimate:
    """The shift of the CPR, as it stands beside the CPR of each model."""
    test = None
    if not isinstance(shift, str):
        test = difference_test(shift.estimate, shift.se, shift.df, confidence=spec.statistics.confidence)
    return estimate(
        sample,
        spec,
        measure="cpr",
        side="shift",
        value=None if test is None else test.estimate,
        low=None if test is None else test.low,
        high=None if test is None else test.high,
        method=f"{intervention.name}: {METHOD}",
        status="undefined" if test is None else test.status,
        message=str(shift) if test is None else test.message,
    )
