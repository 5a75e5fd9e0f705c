"""What measuring one sample gives: table rows, estimates, and what hypotheses are tested with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.execution.scores import Stored
from mechshift_core.spec import Spec
from stats.findings import Estimate, Status
from stats.hypothesis_tests import difference_test
from stats.means import MeanIntervals, mean_intervals
from stats.percentile_tests import percentile_difference
from stats.prompt_means import mean_replicates
from stats.replicates import Contrast, Replicated, linear_contrast
from stats.resampling import Interval, bootstrap_interval
from stats.trimmed import TRIMMED_MEAN, Location

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


def joined(parts: Iterable[Measured], **rows: Rows) -> Measured:
    """The results of several measures as one, with further rows by table."""
    every = [*parts, Measured(rows=rows)]
    tables = dict.fromkeys(table for one in every for table in one.rows)
    return Measured(
        rows={table: [row for one in every for row in one.rows.get(table, [])] for table in tables},
        estimates=tuple(chain.from_iterable(one.estimates for one in every)),
        replicated={name: value for one in every for name, value in one.replicated.items()},
        problems={name: reason for one in every for name, reason in one.problems.items()},
    )


class Resampled(Protocol):
    """A result of `stats` with replicates."""

    @property
    def estimate(self) -> float | None:
        """Point estimate; None if undefined."""

    @property
    def replicates(self) -> npt.NDArray[np.float64] | None:
        """[R]; None without."""

    @property
    def se(self) -> float | None:
        """Standard error."""

    @property
    def df(self) -> float:
        """Its degrees of freedom."""

    @property
    def units(self) -> int:
        """Number of independent units."""


def replicated(sample: Sample, measure: str, found: Resampled, message: str) -> Replicated:
    """What hypotheses on a measure are tested with, from a result that has an estimate."""
    assert found.estimate is not None
    return Replicated(
        label=f"{measure} of {sample.pair.name} on {sample.task.name}",
        estimate=found.estimate,
        replicates=found.replicates,
        se=found.se,
        df=found.df,
        units=found.units,
        message=message,
    )


def by_example(sample: Sample, contributions: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Contributions of each side's prompts to an error, added up by example of the task, or by template of it.

    So contrasts of pairs and models that share prompts pair up.

    Args:
        contributions: `before` or `after` -> one for each prompt of the side, or for each of its templates, sorted.
    """
    labels = np.unique(sample.templates) if sample.by_template else np.arange(sample.total)
    found = np.zeros(len(labels))
    for side, values in contributions.items():
        own = sample.clusters(sample.ids(side))
        found[sample.ids(side) if own is None else np.searchsorted(labels, np.unique(own))] += values
    return found


Results = Mapping[str, Stored | str]
"""Side -> what an intervention left of it, or why there is nothing."""
Component = tuple[str, str, int]
"""Name, kind (head, mlp or residual) and layer."""


def mean_interval(
    sample: Sample,
    spec: Spec,
    values: npt.NDArray[np.float64],
    *,
    examples: npt.ArrayLike | None = None,
    location: Location = "mean",
) -> Interval:
    """Interval of the mean of one value per selected example, [n], as the spec's statistics say.

    Args:
        examples: Ids of the examples, where they are not all that are selected.
        location: The mean, or the trimmed mean.
    """
    bootstrap = spec.statistics.bootstrap
    return bootstrap_interval(
        values,
        cluster=sample.clusters(examples),
        strata=sample.strata_of(examples) if location == "mean" else None,
        statistic="trimmed mean" if location == "trimmed" else "mean",
        method=bootstrap.method,
        confidence=spec.statistics.confidence,
        replicates=bootstrap.replicates,
        seed=sample.seed,
    )


def mean_intervals_of(
    sample: Sample, spec: Spec, values: npt.NDArray[np.float64], examples: npt.ArrayLike
) -> MeanIntervals:
    """Intervals of the means of several values per example, [n, values], as the spec's statistics say."""
    bootstrap = spec.statistics.bootstrap
    return mean_intervals(
        values,
        cluster=sample.clusters(examples),
        strata=sample.strata_of(examples),
        method=bootstrap.method,
        confidence=spec.statistics.confidence,
        replicates=bootstrap.replicates,
        seed=sample.seed,
    )


def located(sample: Sample, spec: Spec, measure: str, values: npt.NDArray[np.float64]) -> Replicated:
    """The location of one value per selected example, [n], as what hypotheses on a measure are tested with.

    Fixed templates are strata: its error is over prompts within templates.
    """
    return mean_replicates(
        values,
        task_weights(sample, spec.statistics.bootstrap.replicates, all_examples=True),
        label=f"{measure} of {sample.pair.name} on {sample.task.name}",
        examples=sample.selected,
        cluster=sample.templates if sample.by_template else None,
        strata=sample.strata,
        location=spec.statistics.location,
    )


def distrust(by_template: bool, contrast: Contrast) -> str:
    """What speaks against the interval of a location of per-prompt values, in a clause; empty where nothing does."""
    found = contrast.concentration
    if contrast.caution or found is None or found.trusted:
        return contrast.caution
    unit = "templates" if by_template else "prompts"
    return found.warning(unit) + (" (see `statistics: {location: trimmed}`)" if found.carried else "")


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
        n={"prompt": sample.n, **({} if sample.template_count is None else {"template": sample.template_count})},
        method=method,
        status=status,
        message=message,
        reference=reference or {},
    )


def _within_templates(sample: Sample, spec: Spec, one: Replicated, interval: Interval) -> Interval:
    """The interval of a location over fixed templates, as a hypothesis on it has it; of one template as it was."""
    if sample.strata is None or sample.template_count in (None, 1) or not one.se:
        return interval
    confidence = spec.statistics.confidence
    name = TRIMMED_MEAN if spec.statistics.location == "trimmed" else "mean"
    if spec.statistics.bootstrap.method == "percentile" and one.replicates is not None:
        test = percentile_difference(one.estimate, one.replicates, confidence=confidence)
        how = "percentile"
    else:
        contrast = linear_contrast([one], [1.0], [sample.task.name])
        test = difference_test(one.estimate, one.se, one.df, confidence=confidence, skewness=contrast.skewness)
        how = "t, corrected for skewness"
    method = f"{name}: {how}, spread within fixed templates"
    return replace(interval, estimate=one.estimate, se=one.se, low=test.low, high=test.high, method=method)


def location_interval(sample: Sample, spec: Spec, measure: str, values: npt.NDArray[np.float64]) -> Interval:
    """The location of one value per selected example, [n], with the error that hypotheses on a measure have.

    A message says where the interval of a mean rests on a few prompts.
    """
    interval = mean_interval(sample, spec, values, location=spec.statistics.location)
    if interval.status != "ok":
        return interval
    one = located(sample, spec, measure, values)
    contrast = linear_contrast([one], [1.0], [sample.task.name])
    message = distrust(sample.by_template, contrast)
    return replace(_within_templates(sample, spec, one, interval), message=message)


def mean_estimate(
    sample: Sample,
    spec: Spec,
    measure: str,
    side: str,
    values: npt.NDArray[np.float64],
    reference: Mapping[str, float | None] | None = None,
) -> Estimate:
    """The location of one value per selected example, [n], as a labelled estimate; see :func:`location_interval`."""
    interval = location_interval(sample, spec, measure, values)
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
