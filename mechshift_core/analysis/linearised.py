"""Results whose error is a sum over prompts to first order: ratios and jackknifed indices, as findings have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import by_example, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec
from stats.findings import Estimate, Status
from stats.hypothesis_tests import TestResult, difference_test
from stats.minimums import MINIMUM_CLUSTERS
from stats.replicates import Replicated

Floats = npt.NDArray[np.float64]


class Estimated(Protocol):
    """A result of `stats` with an interval."""

    @property
    def estimate(self) -> float | None:
        """Point estimate; None if undefined."""

    @property
    def low(self) -> float | None:
        """Lower end of its interval; None without."""

    @property
    def high(self) -> float | None:
        """Upper end."""

    @property
    def status(self) -> Status:
        """Whether it can be used."""

    @property
    def message(self) -> str:
        """Why not, or what to keep in mind."""


def linearised(sample: Sample, measure: str, value: float, parts: Mapping[str, Floats | None]) -> Replicated:
    """What hypotheses are tested with, from a value and what the units of each side contribute to its error.

    Args:
        sample: The pair on the task.
        measure: What the value is called.
        value: The estimate.
        parts: Side -> contributions, one a prompt (or template); None where there are too few units. Then it has no
            standard error.
    """
    known = {side: one for side, one in parts.items() if one is not None}
    enough = sample.units >= MINIMUM_CLUSTERS and len(known) == len(parts)
    influence = by_example(sample, known)
    return Replicated(
        label=f"{measure} of {sample.pair.name} on {sample.task.name}",
        estimate=value,
        replicates=None,
        se=float(np.linalg.norm(influence)) if enough else None,
        df=sample.units - 1,
        units=sample.units,
        influence=influence if enough else None,
        linearised=True,
    )


def jackknifed(sample: Sample, measure: str, value: float, parts: Mapping[str, Floats | None]) -> Replicated:
    """As :func:`linearised`, and it says so where there are too few units."""
    found = linearised(sample, measure, value, parts)
    units = "templates" if sample.by_template else "prompts"
    few = f"{sample.units} {units}: fewer than {MINIMUM_CLUSTERS}, no interval"
    return found if found.influence is not None else replace(found, message=few)


def tested(spec: Spec, found: Replicated | str) -> TestResult | None:
    """The estimate with its t interval; None of a reason why there is none."""
    if isinstance(found, str):
        return None
    return difference_test(found.estimate, found.se, found.df, confidence=spec.statistics.confidence)


def labelled(
    sample: Sample,
    spec: Spec,
    found: Estimated | None,
    reason: str,
    *,
    measure: str,
    side: str,
    method: str,
    reference: Mapping[str, float | None] | None = None,
) -> Estimate:
    """A result with the labels of its pair and task; None is undefined for a reason."""
    return estimate(
        sample,
        spec,
        measure=measure,
        side=side,
        value=None if found is None else found.estimate,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        method=method,
        status="undefined" if found is None else found.status,
        message=reason if found is None else found.message,
        reference=reference,
    )
