"""Agreement of circuits without a threshold, in rows of the same table as their overlap at sizes K."""

from __future__ import annotations

from typing import Literal, TypedDict

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import SelectedScores
from mechshift_core.measures.overlap.section import Overlap
from mechshift_core.spec import Spec
from stats.findings import Estimate, Status
from stats.minimums import fewest_replicates
from stats.threshold_free import REPLICATES, ThresholdFree, threshold_free_overlap


class Draws(TypedDict):
    """What halves and replicates are drawn from."""

    templates: npt.NDArray[np.str_]
    splits: int
    confidence: float
    seed: int
    examples: npt.NDArray[np.int64]
    total: int
    units: Literal["prompts", "templates"]


def few_replicates(spec: Spec) -> int:
    """As many replicates as an interval by their standard error needs, where each is dear."""
    statistics = spec.statistics
    return min(statistics.bootstrap.replicates, max(REPLICATES, fewest_replicates(statistics.confidence)))


def draws(sample: Sample, spec: Spec) -> Draws:
    """The options that all measures on halves of the prompts share, and with them the halves."""
    settings = spec.measures.of(Overlap)
    assert settings is not None
    return Draws(
        templates=sample.templates,
        splits=settings.splits,
        confidence=spec.statistics.confidence,
        seed=sample.seed,
        examples=sample.selected,
        total=sample.total,
        units="templates" if sample.by_template else "prompts",
    )


def measure_agreement(
    sample: Sample, spec: Spec, before: SelectedScores, after: SelectedScores, strata: npt.NDArray[np.int64]
) -> Measured:
    """Rows of `overlap` and estimates of weighted Jaccard, Spearman correlation and cosine.

    Args:
        before: Scores of the model before [n, edges], `after` likewise.
        strata: Stratum of each edge [edges].
    """
    settings = spec.measures.of(Overlap)
    assert settings is not None
    found = threshold_free_overlap(
        before,
        after,
        strata=strata,
        permutations=settings.permutations,
        replicates=few_replicates(spec),
        **draws(sample, spec),
    )
    return Measured(
        rows={"overlap": [_row(sample, one) for one in found]},
        estimates=tuple(_estimate(sample, spec, one) for one in found),
    )


def _row(sample: Sample, one: ThresholdFree) -> dict[str, object]:
    return {
        **sample.labels(),
        "measure": one.measure,
        "k": None,
        "prompts": sample.n // 2,
        "between": one.between,
        "between_low": one.between_low,
        "between_high": one.between_high,
        "full": one.full,
        "null": one.null,
        "null_low": one.null_low,
        "null_high": one.null_high,
        "null_p": None,
        "ceiling_before": one.ceiling_before,
        "ceiling_after": one.ceiling_after,
        "ceiling": one.ceiling,
        "retention": one.estimate,
        "status": one.message if one.status != "ok" else "ok",
        "low": one.low,
        "high": one.high,
    }


def _estimate(sample: Sample, spec: Spec, one: ThresholdFree) -> Estimate:
    """The measure itself between the models; without a ceiling it still has a value."""
    interval = one.between_low is not None
    status: Status = "ok" if interval else "undefined" if one.between is None else "points only"
    return estimate(
        sample,
        spec,
        measure=one.measure,
        side="between",
        value=one.between,
        low=one.between_low,
        high=one.between_high,
        method=f"mean scores on halves of the prompts; bootstrap over {sample.unit}, t interval",
        status=status,
        message="" if interval else one.message,
        reference={"chance": one.null, "ceiling": one.ceiling},
    )
