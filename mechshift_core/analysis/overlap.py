"""Overlap of circuits over K with chance and ceiling, and the retention index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.agreement import draws, measure_agreement
from mechshift_core.analysis.measured import Measured, Rows, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import SelectedScores
from mechshift_core.graph import Graph
from mechshift_core.spec import Spec
from stats.overlap import OverlapNull, stratified_permutation_null
from stats.plain_overlap import BetweenOverlap, between_overlap
from stats.replicates import Replicated
from stats.retention import Retention, retention_index
from stats.threshold_free import REPLICATES


def edge_strata(graph: Graph) -> npt.NDArray[np.int64]:
    """Stratum of each edge: source kind x receiver kind x layer distance."""
    source, receiver = graph.edge_index
    writes, reads = np.array([node.kind for node in graph.sources]), np.array([node.kind for node in graph.receivers])
    written = np.array([node.layer for node in graph.sources])
    read = np.array([node.layer for node in graph.receivers])
    distance = read[receiver] - written[source]
    parts = (writes[source], reads[receiver], distance)
    numbered = [np.unique(part, return_inverse=True) for part in parts]
    code = np.zeros(len(source), dtype=np.int64)
    for levels, number in numbered:
        code = code * len(levels) + number
    return np.unique(code, return_inverse=True)[1].astype(np.int64)


def measure_overlap(sample: Sample, spec: Spec) -> Measured:
    """Rows of `overlap` with and without a threshold; retention and overlap averaged over all K."""
    settings = spec.measures.overlap
    assert settings is not None
    if sample.too_few:
        return _without_sets(sample, spec, sample.too_few)
    before, after = sample.score_blocks("before"), sample.score_blocks("after")
    agreement = measure_agreement(sample, spec, before, after, strata := edge_strata(sample.graph))
    too_large = [k for k in settings.top_k if k >= len(sample.graph.edges)]
    if too_large:
        message = f"top_k {too_large[0]} is not below the {len(sample.graph.edges)} edges"
        sets = _without_sets(sample, spec, message)
    else:
        sets = _measure_sets(sample, spec, before, after, strata)
    return Measured(
        rows={"overlap": [*sets.rows.get("overlap", []), *agreement.rows["overlap"]]},
        estimates=(*sets.estimates, *agreement.estimates),
        replicated=sets.replicated,
        problems=sets.problems,
    )


def _measure_sets(
    sample: Sample, spec: Spec, before: SelectedScores, after: SelectedScores, strata: npt.NDArray[np.int64]
) -> Measured:
    """What the sets of the K strongest edges come to."""
    settings = spec.measures.overlap
    assert settings is not None
    null = stratified_permutation_null(
        before.mean(),
        after.mean(),
        strata,
        settings.top_k,
        permutations=settings.permutations,
        seed=sample.seed,
    )
    replicates = spec.statistics.bootstrap.replicates
    retention = retention_index(
        before, after, strata=strata, top_k=settings.top_k, replicates=replicates, **draws(sample, spec)
    )
    tested = any(hypothesis.measure == "overlap" for hypothesis in spec.hypotheses)
    overlap = between_overlap(
        before,
        after,
        top_k=settings.top_k,
        # For intervals alone few will do; a contrast of pairs needs them one by one.
        replicates=replicates if tested else min(REPLICATES, replicates),
        **draws(sample, spec),
    )
    found = {"overlap": _overlap_replicated(sample, overlap)}
    if retention.estimate is not None:
        found["retention"] = _retention_replicated(sample, retention)
    return Measured(
        rows={"overlap": _rows(sample, null, retention, overlap)},
        estimates=(
            estimate(
                sample,
                spec,
                measure="retention",
                side="between",
                value=retention.estimate,
                low=retention.low,
                high=retention.high,
                method=retention.method,
                status=retention.status,
                message=retention.message,
                reference={"chance": 0.0, "ceiling": 1.0},
            ),
            estimate(
                sample,
                spec,
                measure="overlap",
                side="between",
                value=overlap.estimate,
                low=overlap.low,
                high=overlap.high,
                method=f"Jaccard on halves of the prompts, mean over K; bootstrap over {sample.unit}, t interval",
                status="points only" if overlap.se is None else "ok",
                message=overlap.message,
                reference={
                    "chance": float(np.mean([row.null for row in retention.by_k])),
                    "ceiling": float(np.mean([row.ceiling for row in retention.by_k])),
                },
            ),
        ),
        replicated=found,
        problems={} if retention.estimate is not None else {"retention": retention.message},
    )


def _without_sets(sample: Sample, spec: Spec, message: str) -> Measured:
    """Neither overlap nor retention, and why."""
    nothing = tuple(
        estimate(
            sample,
            spec,
            measure=measure,
            side="between",
            value=None,
            low=None,
            high=None,
            method="none",
            status="undefined",
            message=message,
        )
        for measure in ("retention", "overlap")
    )
    return Measured(estimates=nothing, problems=dict.fromkeys(("retention", "overlap"), message))


def _rows(sample: Sample, null: tuple[OverlapNull, ...], retention: Retention, overlap: BetweenOverlap) -> Rows:
    return [
        {
            **sample.labels(),
            "measure": "jaccard",
            "k": row.k,
            "between": row.between,
            "between_low": low,
            "between_high": high,
            "full": chance.observed,
            "null": chance.mean,
            "null_low": chance.low,
            "null_high": chance.high,
            "null_p": chance.p,
            "ceiling_before": row.ceiling_before,
            "ceiling_after": row.ceiling_after,
            "ceiling": row.ceiling,
            "retention": row.estimate,
            "status": row.message if row.status != "ok" else "ok",
            "low": row.low,
            "high": row.high,
        }
        for chance, row, (_, low, high) in zip(null, retention.by_k, overlap.by_k, strict=True)
    ]


def _retention_replicated(sample: Sample, retention: Retention) -> Replicated:
    assert retention.estimate is not None
    return Replicated(
        label=f"retention of {sample.pair.name} on {sample.task.name}",
        estimate=retention.estimate,
        replicates=retention.replicates,
        se=retention.se,
        df=retention.df,
        units=retention.units,
        message=retention.message,
    )


def _overlap_replicated(sample: Sample, overlap: BetweenOverlap) -> Replicated:
    return Replicated(
        label=f"overlap of {sample.pair.name} on {sample.task.name}",
        estimate=overlap.estimate,
        replicates=overlap.replicates,
        se=overlap.se,
        df=overlap.df,
        units=overlap.units,
        message=overlap.message,
    )
