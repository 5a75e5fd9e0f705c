"""Overlap of circuits over K with chance and ceiling, and the retention index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.agreement import draws, few_replicates, measure_agreement
from mechshift_core.analysis.measured import Measured, Rows, estimate, joined, replicated
from mechshift_core.analysis.needs import nothing
from mechshift_core.analysis.samples import Sample
from mechshift_core.analysis.similarity import measure_similarity
from mechshift_core.execution.scores import SelectedScores
from mechshift_core.graph import Graph
from mechshift_core.spec import Spec
from stats.findings import Estimate
from stats.overlap import OverlapNull, stratified_permutation_null
from stats.plain_overlap import BetweenOverlap, between_overlap
from stats.retention import Retention, retention_index
from stats.sized_halves import overlap_by_prompts

GRID = (5, 10, 20, 40, 80, 160, 320, 640)
"""Numbers of prompts at which the curve over them has a point."""
SETS = ("retention", "overlap")
"""Measures of the sets of the K strongest edges."""
CURVE = ("prompts", "k", "between", "null", "ceiling_before", "ceiling_after", "retention")


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
    """Similarity; rows of `overlap` with and without a threshold; retention and overlap averaged over all K."""
    similar = measure_similarity(sample, spec)
    if sample.too_few:
        return joined((similar, nothing(sample, spec, SETS, sample.too_few)))
    before, after = sample.score_blocks("before"), sample.score_blocks("after")
    strata = edge_strata(sample.graph)
    retention = _retention(sample, spec, before, after, strata)
    if isinstance(retention, str):
        sets = nothing(sample, spec, SETS, retention)
    else:
        sets = _measure_sets(sample, spec, before, after, strata, retention)
    agreement = measure_agreement(sample, spec, before, after, strata)
    return joined((similar, sets, agreement))


def measure_kept(sample: Sample, spec: Spec) -> Measured:
    """Similarity alone, and of retention and overlap what hypotheses are about, as these are tested with it."""
    similar, about = measure_similarity(sample, spec), {hypothesis.measure for hypothesis in spec.hypotheses}
    parts = [similar]
    if "retention" in about:
        parts.append(measure_retention(sample, spec))
    if "overlap" in about:
        parts.append(_measure_plain(sample, spec))
    return joined(parts)


def measure_retention(sample: Sample, spec: Spec) -> Measured:
    """Retention alone, as hypotheses are tested with it."""
    found: Retention | str = sample.too_few
    if not found:
        before, after = sample.score_blocks("before"), sample.score_blocks("after")
        found = _retention(sample, spec, before, after, edge_strata(sample.graph))
    if isinstance(found, str):
        return nothing(sample, spec, ["retention"], found)
    return _measured(sample, spec, found)


def _measure_plain(sample: Sample, spec: Spec) -> Measured:
    """The overlap itself alone."""
    reason = sample.too_few or _not_compared(sample, spec)
    if reason:
        return nothing(sample, spec, ["overlap"], reason)
    overlap = _overlap(sample, spec, sample.score_blocks("before"), sample.score_blocks("after"))
    if overlap.status == "undefined":
        return Measured(problems={"overlap": overlap.message})
    return Measured(replicated={"overlap": replicated(sample, "overlap", overlap, overlap.message)})


def _overlap(sample: Sample, spec: Spec, before: SelectedScores, after: SelectedScores) -> BetweenOverlap:
    settings = spec.measures.overlap
    assert settings is not None
    tested = any(hypothesis.measure == "overlap" for hypothesis in spec.hypotheses)
    return between_overlap(
        before,
        after,
        top_k=settings.top_k,
        # For intervals alone few will do; a contrast of pairs needs them one by one.
        replicates=spec.statistics.bootstrap.replicates if tested else few_replicates(spec),
        half_size=sample.half_size,
        **draws(sample, spec),
    )


def _retention(
    sample: Sample, spec: Spec, before: SelectedScores, after: SelectedScores, strata: npt.NDArray[np.int64]
) -> Retention | str:
    """Retention, or why it can't be computed."""
    settings = spec.measures.overlap
    assert settings is not None
    return _not_compared(sample, spec) or retention_index(
        before,
        after,
        strata=strata,
        top_k=settings.top_k,
        replicates=spec.statistics.bootstrap.replicates,
        half_size=sample.half_size,
        **draws(sample, spec),
    )


def _not_compared(sample: Sample, spec: Spec) -> str:
    """Why top-K sets can't be compared; empty where they can."""
    settings = spec.measures.overlap
    assert settings is not None
    too_large = [k for k in settings.top_k if k >= len(sample.graph.edges)]
    if too_large:
        return f"top_k {too_large[0]} is not below the {len(sample.graph.edges)} edges"
    if sample.half_size is not None and sample.n < 2 * sample.half_size:
        return (
            f"sets of {sample.half_size} prompts are compared (measures.overlap.prompts), two of each model, but "
            f"{sample.selection}"
        )
    return ""


def _measured(sample: Sample, spec: Spec, retention: Retention) -> Measured:
    found = estimate(
        sample,
        spec,
        measure="retention",
        side="between",
        value=retention.estimate,
        low=retention.low,
        high=retention.high,
        method=f"at {compared_at(sample)} prompts each; {retention.method}",
        status=retention.status,
        message=retention.message,
        reference={"chance": 0.0, "ceiling": 1.0},
    )
    if retention.estimate is None:
        return Measured(estimates=(found,), problems={"retention": retention.message})
    return Measured(
        estimates=(found,), replicated={"retention": replicated(sample, "retention", retention, retention.message)}
    )


def _measure_sets(
    sample: Sample,
    spec: Spec,
    before: SelectedScores,
    after: SelectedScores,
    strata: npt.NDArray[np.int64],
    retention: Retention,
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
    overlap = _overlap(sample, spec, before, after)
    retained = _measured(sample, spec, retention)
    return Measured(
        rows={
            "overlap": _rows(sample, null, retention, overlap),
            "overlap_by_prompts": _curve(sample, spec, before, after, strata),
        },
        estimates=(*retained.estimates, _overlap_estimate(sample, spec, retention, overlap)),
        replicated={
            **retained.replicated,
            **(
                {"overlap": replicated(sample, "overlap", overlap, overlap.message)}
                if overlap.status != "undefined"
                else {}
            ),
        },
        problems={**retained.problems, **({"overlap": overlap.message} if overlap.status == "undefined" else {})},
    )


def _curve(
    sample: Sample, spec: Spec, before: SelectedScores, after: SelectedScores, strata: npt.NDArray[np.int64]
) -> Rows:
    """Overlap and retention over the number of prompts, up to half of the selected ones."""
    settings = spec.measures.overlap
    assert settings is not None
    used, most = compared_at(sample), sample.n // 2
    sizes = sorted({used, *(size for size in GRID if size <= most), most})
    drawn = draws(sample, spec)
    found = overlap_by_prompts(
        before,
        after,
        sizes=sizes,
        top_k=settings.top_k,
        strata=strata,
        templates=drawn["templates"],
        splits=drawn["splits"],
        seed=drawn["seed"],
        examples=drawn["examples"],
        total=drawn["total"],
    )
    return [
        {**sample.labels(), **{name: getattr(one, name) for name in CURVE}, "used": one.prompts == used}
        for one in found
    ]


def compared_at(sample: Sample) -> int:
    """Number of prompts of each set of a sample on which top-K edges are compared."""
    return sample.n // 2 if sample.half_size is None else sample.half_size


def _overlap_estimate(sample: Sample, spec: Spec, retention: Retention, overlap: BetweenOverlap) -> Estimate:
    undefined = overlap.status == "undefined"
    return estimate(
        sample,
        spec,
        measure="overlap",
        side="between",
        value=None if undefined else overlap.estimate,
        low=overlap.low,
        high=overlap.high,
        method=f"Jaccard at {compared_at(sample)} prompts each, mean over K; bootstrap over {sample.unit}, t interval",
        status=overlap.status,
        message=overlap.message,
        reference={}
        if undefined
        else {
            "chance": float(np.mean([row.null for row in retention.by_k])),
            "ceiling": float(np.mean([row.ceiling for row in retention.by_k])),
        },
    )


def _rows(sample: Sample, null: tuple[OverlapNull, ...], retention: Retention, overlap: BetweenOverlap) -> Rows:
    rows: Rows = []
    for chance, row, (_, low, high), lacking in zip(null, retention.by_k, overlap.by_k, overlap.lacking, strict=True):
        halves = {
            "between": row.between,
            "between_low": low,
            "between_high": high,
            "ceiling_before": row.ceiling_before,
            "ceiling_after": row.ceiling_after,
            "ceiling": row.ceiling,
            "retention": row.estimate,
            "low": row.low,
            "high": row.high,
        }
        full = {
            "full": chance.observed,
            "null": chance.mean,
            "null_low": chance.low,
            "null_high": chance.high,
            "null_p": None,
        }
        rows.append(
            {
                **sample.labels(),
                "measure": "jaccard",
                "k": row.k,
                "prompts": compared_at(sample),
                **(dict.fromkeys(halves) if lacking else halves),
                **(dict.fromkeys(full) if chance.message else full),
                "status": row.message if row.status != "ok" else "ok",
            }
        )
    return rows
