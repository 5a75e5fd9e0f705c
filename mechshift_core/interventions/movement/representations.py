"""How alike two models represent the same prompts, whatever their bases: debiased CKA by role and layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mechshift_core.analysis.linearised import jackknifed
from mechshift_core.analysis.measured import Measured, Rows, estimate
from mechshift_core.analysis.read_at import read_apart
from mechshift_core.analysis.samples import Sample
from mechshift_core.interventions.movement.read import READ, Both, unlike
from mechshift_core.interventions.movement.section import Movement
from mechshift_core.spec import Spec
from stats.cka import FEWEST_FOR_CKA, LinearCKA, linear_cka, mean_linear_cka
from stats.hypothesis_tests import TestResult, difference_test, with_and_without
from stats.skewness import skewness_of_curved

MEASURE = "representation_similarity"


def measure_representations(sample: Sample, spec: Spec, own: Movement, both: Both) -> Measured:
    """The mean over the streams that the layers have written to, at the position read."""
    lacking = read_apart(sample, spec) or _lacking(sample, both, len(both.present(READ)))
    if lacking:
        return Measured(problems={MEASURE: lacking})
    streams = list(both.streams(READ))[1:]
    found = mean_linear_cka(*(np.stack(side) for side in zip(*streams, strict=True)), cluster=sample.clusters())
    one = found.debiased
    if one.estimate is None:
        return Measured(problems={MEASURE: one.message})
    made = jackknifed(sample, MEASURE, one.estimate, {"before": one.influence})
    made = replace(made, bounded=True, curvature=found.curvature)
    test = _tested(spec, found, made.se, made.df)
    shown = estimate(
        sample,
        spec,
        measure=MEASURE,
        side="between",
        value=one.estimate,
        low=test.low,
        high=test.high,
        method=f"{own.name}: debiased linear CKA; t interval with the jackknife standard error over {sample.unit}, "
        "with Fisher's transformation and without, the longer",
        status=test.status,
        message=made.message or test.message,
        reference={"ceiling": 1.0, "biased CKA": found.biased},
    )
    return Measured(estimates=(shown,), replicated={MEASURE: made})


def representation_rows(sample: Sample, spec: Spec, own: Movement, both: Both) -> Rows:
    """A row for each role and stream."""
    rows: Rows = []
    for role in both.roles:
        kept = both.present(role)
        base = {**sample.labels(), "intervention": own.name, "token_role": role, "n": len(kept)}
        lacking = (role == READ and read_apart(sample, spec)) or _lacking(sample, both, len(kept))
        if lacking:
            empty = dict.fromkeys(("layer", "cka", "biased", "low", "high"))
            rows += [base | empty | {"status": lacking}]
            continue
        cluster = sample.clusters(sample.selected[kept])
        for layer, (before, after) in enumerate(both.streams(role)):
            found = linear_cka(before, after, cluster=cluster)
            one = found.debiased
            influence = one.influence
            se = None if influence is None else float(np.linalg.norm(influence))
            test = None if one.estimate is None else _tested(spec, found, se, one.units - 1)
            rows.append(
                base
                | {
                    "layer": layer,
                    "cka": one.estimate,
                    "low": None if test is None else test.low,
                    "high": None if test is None else test.high,
                    "biased": found.biased,
                    "status": one.message or "ok",
                }
            )
    return rows


def _lacking(sample: Sample, both: Both, prompts: int) -> str:
    """Why there is no CKA of so many prompts; empty where there is."""
    if prompts < FEWEST_FOR_CKA:
        return f"{prompts} prompts: debiased CKA needs at least {FEWEST_FOR_CKA}"
    return unlike(sample, "numbers of streams", both.layers)


def _tested(spec: Spec, found: LinearCKA, se: float | None, df: float) -> TestResult:
    """With its interval, as hypotheses have it."""
    value = found.debiased.estimate
    assert value is not None

    def decide(skewness: float) -> TestResult:
        return difference_test(value, se, df, confidence=spec.statistics.confidence, skewness=skewness)

    return with_and_without(decide, skewness_of_curved([1.0], [found.curvature], [1.0]) * (se or 0.0))
