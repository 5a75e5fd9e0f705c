"""What measuring one sample gives: table rows, estimates, and what hypotheses are tested with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.spec import Spec
from mechshift_core.spec.interventions import Intervention
from stats.findings import Estimate, Status
from stats.replicates import Replicated
from stats.resampling import Interval, bootstrap_interval

Rows = list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of one measure on one pair and task.

    Attributes:
        rows: Table -> rows.
        estimates: What goes into the findings beside the hypotheses.
        replicated: Measure that hypotheses can name -> its estimate with replicates.
        problems: Measure -> why it has no estimate that could be tested.
        failed: What failed, and why, where the computation itself did; otherwise empty.
    """

    rows: Mapping[str, Rows] = field(default_factory=dict)
    estimates: tuple[Estimate, ...] = ()
    replicated: Mapping[str, Replicated] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    failed: str = ""


Measure = Callable[[Sample, Spec], Measured]
Results = Mapping[str, Stored | str]
"""Side -> what an intervention left of it, or why there is nothing."""
InterventionMeasure = Callable[[Sample, Spec, Intervention, Results], Measured]
Component = tuple[str, str, int]
"""Name, kind (head, mlp or residual) and layer."""


def mean_interval(
    sample: Sample, spec: Spec, values: npt.NDArray[np.float64], *, examples: npt.ArrayLike | None = None
) -> Interval:
    """Interval of the mean of one value per selected example, [n], as the spec's statistics say.

    Args:
        examples: Ids of the examples, where they are not all that are selected.
    """
    bootstrap = spec.statistics.bootstrap
    return bootstrap_interval(
        values,
        cluster=sample.clusters(examples),
        method=bootstrap.method,
        confidence=spec.statistics.confidence,
        replicates=bootstrap.replicates,
        seed=sample.seed,
    )


def component_rows(
    sample: Sample,
    spec: Spec,
    side: str,
    effects: Iterable[tuple[Component, npt.NDArray[np.float64]]],
    *,
    intervention: str,
    method: str,
    token_role: str | None = None,
    examples: npt.ArrayLike | None = None,
) -> Rows:
    """Rows of `components`, from each component's effect on each example, [n]; see :func:`mean_interval`."""
    rows: Rows = []
    for (name, kind, layer), values in effects:
        interval = mean_interval(sample, spec, values, examples=examples)
        rows.append(
            {
                **sample.labels(),
                "model": sample.side(side).model,
                "side": side,
                "intervention": intervention,
                "method": method,
                "component": name,
                "kind": kind,
                "layer": layer,
                "token_role": token_role,
                "effect": interval.estimate,
                "low": interval.low,
                "high": interval.high,
            }
        )
    return rows


def estimate(
    sample: Sample,
    spec: Spec,
    *,
    measure: str,
    side: str,
    value: float | None,
    low: float | None,
    high: float | None,
    method: str,
    status: Status = "ok",
    message: str = "",
    reference: Mapping[str, float | None] | None = None,
) -> Estimate:
    """An estimate labelled with its pair and task."""
    return Estimate(
        pair=sample.pair.name,
        role=sample.pair.role,
        seed=sample.pair.seed,
        task=sample.task.name,
        regime=sample.task.regime,
        measure=measure,
        side=side,
        estimate=value,
        low=low,
        high=high,
        confidence=spec.statistics.confidence,
        n={"prompt": sample.n, **({"template": sample.units} if sample.by_template else {})},
        method=method,
        status=status,
        message=message,
        reference=reference or {},
    )


def mean_estimate(
    sample: Sample,
    spec: Spec,
    measure: str,
    side: str,
    values: npt.NDArray[np.float64],
    reference: Mapping[str, float | None] | None = None,
) -> Estimate:
    """The mean of one value per selected example, [n], as a labelled estimate; see :func:`mean_interval`."""
    interval = mean_interval(sample, spec, values)
    return estimate(
        sample,
        spec,
        measure=measure,
        side=side,
        value=interval.estimate,
        low=interval.low,
        high=interval.high,
        method=interval.method,
        status=interval.status,
        message=interval.message,
        reference=reference,
    )
