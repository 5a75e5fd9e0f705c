"""Similarity of two models' mean edge scores, and what of it is inherited rather than shared by any two models."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, estimate, replicated
from mechshift_core.analysis.needs import nothing
from mechshift_core.analysis.samples import Sample
from mechshift_core.spec import Spec
from stats.findings import Estimate
from stats.similarity import Similarity, score_similarity


def measure_similarity(sample: Sample, spec: Spec) -> Measured:
    """A row of `similarity`, its estimate, and what hypotheses are tested with."""
    if sample.too_few:
        return nothing(sample, spec, ["similarity"], sample.too_few)
    found = score_similarity(
        sample.score_blocks("before"),
        sample.score_blocks("after"),
        templates=_strata(sample),
        replicates=spec.statistics.bootstrap.replicates,
        confidence=spec.statistics.confidence,
        seed=sample.seed,
        examples=sample.selected,
        total=sample.total,
        units="templates" if sample.by_template else "prompts",
    )
    tested = {}
    if found.estimate is not None:
        message = "" if found.status == "ok" else found.message
        tested = {"similarity": replicated(sample, "similarity", found, message)}
    return Measured(
        rows={"similarity": [_row(sample, found)]},
        estimates=(_estimate(sample, spec, found),),
        replicated=tested,
        problems={} if tested else {"similarity": found.message},
    )


def _strata(sample: Sample) -> npt.NDArray[np.str_] | None:
    """Templates of all examples; None where the two sides' rows are prompts of different ones."""
    return sample.templates if sample.by_template else sample.strata


def _row(sample: Sample, found: Similarity) -> dict[str, object]:
    return {
        **sample.labels(),
        "similarity": found.estimate,
        "se": found.se,
        "df": found.df,
        "plain": found.plain,
        "reliability_before": found.reliability_before,
        "reliability_after": found.reliability_after,
        "noise_ratio": found.noise_ratio,
        "unrelated": None,
        "inherited": None,
        "inherited_low": None,
        "inherited_high": None,
        "n": found.n,
        "units": found.units,
        "status": "ok" if found.status == "ok" else found.message,
        "low": found.low,
        "high": found.high,
    }


def _estimate(sample: Sample, spec: Spec, found: Similarity) -> Estimate:
    return estimate(
        sample,
        spec,
        measure="similarity",
        side="between",
        value=found.estimate,
        low=found.low,
        high=found.high,
        method=found.method,
        status=found.status,
        message=found.message,
        reference={"ceiling": 1.0, "plain cosine": found.plain},
    )
