"""What hypotheses about circuits are tested with: the transfer ratio, and the shift of the circuit performance ratio.

Both are ratios of means over prompts. Their error is linear in the prompts' contributions to first order, which are
kept by example of the task: contrasts of pairs and models that share prompts pair up.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.linearised import labelled, linearised, tested
from mechshift_core.analysis.samples import Sample
from mechshift_core.interventions.circuits.section import CircuitPatching
from mechshift_core.spec import Spec
from stats.faithfulness import METHOD, RatioEstimate
from stats.findings import Estimate
from stats.replicates import Replicated

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
    total = 0.0
    known: dict[str, npt.NDArray[np.float64] | None] = {}
    problems = []
    for side, (sign, value) in parts.items():
        if isinstance(value, str) or value.estimate is None:
            problems.append(f"{side}: {value if isinstance(value, str) else value.message}")
            continue
        total += sign * value.estimate
        known[side] = None if value.influence is None else sign * value.influence
    return "; ".join(problems) or linearised(sample, measure, total, known)


def shift_estimate(sample: Sample, spec: Spec, intervention: CircuitPatching, shift: Replicated | str) -> Estimate:
    """The shift of the CPR, as it stands beside the CPR of each model."""
    method = f"{intervention.name}: {METHOD}"
    return labelled(sample, spec, tested(spec, shift), str(shift), measure="cpr", side="shift", method=method)
