"""Overlap of circuits over K with chance and ceiling, and the retention index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Rows, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.graph import Graph
from mechshift_core.spec import Spec
from stats.overlap import OverlapNull, stratified_permutation_null
from stats.replicates import Replicated
from stats.retention import Retention, retention_index


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
    """Rows of `overlap`, and retention averaged over all K."""
    settings = spec.measures.overlap
    assert settings is not None
    found = _retention(sample, spec)
    if isinstance(found, str):
        return _undefined(sample, spec, found)
    null = stratified_permutation_null(
        sample.scores("before").mean(0),
        sample.scores("after").mean(0),
        edge_strata(sample.graph),
        settings.top_k,
        permutations=settings.permutations,
        seed=sample.seed,
    )
    return replace(_measured(sample, spec, found), rows={"overlap": _rows(sample, null, found)})


def measure_retention(sample: Sample, spec: Spec) -> Measured:
    """Retention alone, as hypotheses are tested with it."""
    found = _retention(sample, spec)
    return _undefined(sample, spec, found) if isinstance(found, str) else _measured(sample, spec, found)


def _retention(sample: Sample, spec: Spec) -> Retention | str:
    """Retention, or why it can't be computed."""
    settings = spec.measures.overlap
    assert settings is not None
    too_large = [k for k in settings.top_k if k >= len(sample.graph.edges)]
    if too_large:
        return f"top_k {too_large[0]} is not below the {len(sample.graph.edges)} edges"
    if sample.too_few:
        return sample.too_few
    try:
        return retention_index(
            sample.scores("before"),
            sample.scores("after"),
            strata=edge_strata(sample.graph),
            top_k=settings.top_k,
            templates=sample.templates,
            splits=settings.splits,
            replicates=spec.statistics.bootstrap.replicates,
            confidence=spec.statistics.confidence,
            seed=sample.seed,
            examples=sample.selected,
            total=sample.total,
        )
    except ValueError as error:  # a few prompts that all fall into one half
        return str(error)


def _measured(sample: Sample, spec: Spec, retention: Retention) -> Measured:
    return Measured(
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
        ),
        replicated=_replicated(sample, retention),
        problems={} if retention.estimate is not None else {"retention": retention.message},
    )


def _undefined(sample: Sample, spec: Spec, message: str) -> Measured:
    nothing = estimate(
        sample,
        spec,
        measure="retention",
        side="between",
        value=None,
        low=None,
        high=None,
        method="none",
        status="undefined",
        message=message,
    )
    return Measured(estimates=(nothing,), problems={"retention": message})


def _rows(sample: Sample, null: tuple[OverlapNull, ...], retention: Retention) -> Rows:
    return [
        {
            **sample.labels(),
            "k": row.k,
            "between": row.between,
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
        for chance, row in zip(null, retention.by_k, strict=True)
    ]


def _replicated(sample: Sample, retention: Retention) -> dict[str, Replicated]:
    if retention.estimate is None:
        return {}
    return {
        "retention": Replicated(
            label=f"retention of {sample.pair.name} on {sample.task.name}",
            estimate=retention.estimate,
            replicates=retention.replicates,
            se=retention.se,
            df=retention.df,
            units=retention.n,
        )
    }
