"""Overlap of circuits over K with chance and ceiling, and the retention index."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Rows, estimate, joined, replicated
from mechshift_core.analysis.needs import nothing
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import SelectedScores
from mechshift_core.graph import Graph
from mechshift_core.measures.overlap.agreement import draws, few_replicates, measure_agreement
from mechshift_core.measures.overlap.edge_nodes import edge_nodes
from mechshift_core.measures.overlap.section import Overlap
from mechshift_core.measures.overlap.similarity import measure_similarity
from mechshift_core.measures.overlap.stability import measure_stability
from mechshift_core.spec import Spec
from stats.findings import Estimate
from stats.node_sets import EdgeNodes, node_permutation_null
from stats.overlap import OverlapNull, stratified_permutation_null
from stats.plain_overlap import BetweenOverlap, between_overlap
from stats.retention import Retention, retention_index
from stats.sized_halves import overlap_by_prompts

GRID = (5, 10, 20, 40, 80, 160, 320, 640)
"""Numbers of prompts at which the curve over them has a point."""
RETENTIONS = ("retention", "node_retention")
OVERLAPS = ("overlap", "node_overlap")
SETS = (*RETENTIONS, *OVERLAPS)
"""Measures of the sets of the K strongest edges, and of the nodes that these touch."""
CURVE = ("prompts", "k", "between", "null", "ceiling_before", "ceiling_after", "retention")


class _Permuted(TypedDict):
    """The options of both permutation nulls."""

    permutations: int
    seed: int


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
    """Similarity; rows of `overlap` with and without a threshold; sets of edges and of nodes, averaged over all K."""
    similar = measure_similarity(sample, spec)
    if sample.too_few:
        return joined((similar, nothing(sample, spec, SETS, sample.too_few)))
    before, after = sample.score_blocks("before"), sample.score_blocks("after")
    strata, nodes = edge_strata(sample.graph), edge_nodes(sample.graph)
    retention = _retention(sample, spec, before, after, strata, nodes)
    if isinstance(retention, str):
        sets = nothing(sample, spec, SETS, retention)
    else:
        sets = _measure_sets(sample, spec, before, after, strata, nodes, retention)
    agreement = measure_agreement(sample, spec, before, after, strata)
    return joined((similar, sets, agreement, measure_stability(sample, spec, nodes)))


def measure_kept(sample: Sample, spec: Spec) -> Measured:
    """Similarity alone, and of the sets what hypotheses are about, as they are tested with it."""
    parts = [measure_similarity(sample, spec)]
    if _tested(spec, *RETENTIONS):
        parts.append(measure_retention(sample, spec))
    if _tested(spec, *OVERLAPS):
        parts.append(_measure_plain(sample, spec))
    return joined(parts)


def _measure_plain(sample: Sample, spec: Spec) -> Measured:
    """The overlaps themselves that hypotheses are about, alone."""
    names = [name for name in OVERLAPS if _tested(spec, name)]
    reason = sample.too_few or _not_compared(sample, spec)
    if reason:
        return nothing(sample, spec, names, reason)
    nodes = edge_nodes(sample.graph) if "node_overlap" in names else None
    overlap = _overlap(sample, spec, sample.score_blocks("before"), sample.score_blocks("after"), nodes)
    kinds = {"overlap": overlap, "node_overlap": overlap.nodes}
    found = {name: one for name, one in kinds.items() if name in names and one is not None}
    return joined(_tested_with(sample, name, one) for name, one in found.items())


def _tested_with(sample: Sample, name: str, overlap: BetweenOverlap) -> Measured:
    if overlap.status == "undefined":
        return Measured(problems={name: overlap.message})
    return Measured(replicated={name: replicated(sample, name, overlap, overlap.message)})


def measure_retention(sample: Sample, spec: Spec) -> Measured:
    """Retention of edges and, where a hypothesis is about it, of nodes, alone, as hypotheses are tested with them."""
    names = [name for name in RETENTIONS if name == "retention" or _tested(spec, name)]
    found: Retention | str = sample.too_few
    if not found:
        before, after = sample.score_blocks("before"), sample.score_blocks("after")
        nodes = edge_nodes(sample.graph) if "node_retention" in names else None
        found = _retention(sample, spec, before, after, edge_strata(sample.graph), nodes)
    if isinstance(found, str):
        return nothing(sample, spec, names, found)
    return joined(_retained(sample, spec, found).values())


def _tested(spec: Spec, *names: str) -> bool:
    return any(hypothesis.measure in names for hypothesis in spec.hypotheses)


def _retention(
    sample: Sample,
    spec: Spec,
    before: SelectedScores,
    after: SelectedScores,
    strata: npt.NDArray[np.int64],
    nodes: EdgeNodes | None,
) -> Retention | str:
    """Retention of edges, and of nodes with them, or why it can't be computed."""
    settings = spec.measures.of(Overlap)
    assert settings is not None
    return _not_compared(sample, spec) or retention_index(
        before,
        after,
        strata=strata,
        top_k=settings.top_k,
        replicates=spec.statistics.bootstrap.replicates,
        half_size=sample.half_size,
        nodes=nodes,
        **draws(sample, spec),
    )


def _overlap(
    sample: Sample, spec: Spec, before: SelectedScores, after: SelectedScores, nodes: EdgeNodes | None
) -> BetweenOverlap:
    settings = spec.measures.of(Overlap)
    assert settings is not None
    return between_overlap(
        before,
        after,
        top_k=settings.top_k,
        # For intervals alone few will do; a contrast of pairs needs them one by one.
        replicates=spec.statistics.bootstrap.replicates if _tested(spec, *OVERLAPS) else few_replicates(spec),
        half_size=sample.half_size,
        nodes=nodes,
        **draws(sample, spec),
    )


def _not_compared(sample: Sample, spec: Spec) -> str:
    """Why top-K sets can't be compared; empty where they can."""
    settings = spec.measures.of(Overlap)
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


def _retained(sample: Sample, spec: Spec, retention: Retention) -> dict[str, Measured]:
    """Measure -> its result, of edges and, where there are such, of nodes."""
    kinds = {"retention": retention, "node_retention": retention.nodes}
    return {name: _measured(sample, spec, name, one) for name, one in kinds.items() if one is not None}


def _measured(sample: Sample, spec: Spec, measure: str, retention: Retention) -> Measured:
    found = estimate(
        sample,
        spec,
        measure=measure,
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
        return Measured(estimates=(found,), problems={measure: retention.message})
    return Measured(estimates=(found,), replicated={measure: replicated(sample, measure, retention, retention.message)})


def _measure_sets(
    sample: Sample,
    spec: Spec,
    before: SelectedScores,
    after: SelectedScores,
    strata: npt.NDArray[np.int64],
    nodes: EdgeNodes,
    retention: Retention,
) -> Measured:
    """What the sets of the K strongest edges, and of the nodes that they touch, come to."""
    settings = spec.measures.of(Overlap)
    assert settings is not None
    whole = before.mean(), after.mean()
    permuted: _Permuted = {"permutations": settings.permutations, "seed": sample.seed}
    nulls = {
        "overlap": stratified_permutation_null(*whole, strata, settings.top_k, **permuted),
        "node_overlap": node_permutation_null(*whole, nodes, settings.top_k, **permuted),
    }
    overlap = _overlap(sample, spec, before, after, nodes)
    retained = _retained(sample, spec, retention)
    kinds = (
        ("overlap", "jaccard", retained["retention"], retention, overlap),
        ("node_overlap", None, retained["node_retention"], retention.nodes, overlap.nodes),
    )
    parts = []
    for table, measure, index, own, between in kinds:
        assert own is not None and between is not None
        parts += [index, _overlapping(sample, spec, table, measure, nulls[table], own, between)]
    return joined(parts, overlap_by_prompts=_curve(sample, spec, before, after, strata))


def _overlapping(
    sample: Sample,
    spec: Spec,
    name: str,
    measure: str | None,
    null: tuple[OverlapNull, ...],
    retention: Retention,
    overlap: BetweenOverlap,
) -> Measured:
    """The overlap of one kind of sets: rows of the table of its name, its estimate, what hypotheses are tested with."""
    return replace(
        _tested_with(sample, name, overlap),
        rows={name: _rows(sample, measure, null, retention, overlap)},
        estimates=(_overlap_estimate(sample, spec, name, retention, overlap),),
    )


def _curve(
    sample: Sample, spec: Spec, before: SelectedScores, after: SelectedScores, strata: npt.NDArray[np.int64]
) -> Rows:
    """Overlap and retention over the number of prompts, up to half of the selected ones."""
    settings = spec.measures.of(Overlap)
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


def _overlap_estimate(
    sample: Sample, spec: Spec, measure: str, retention: Retention, overlap: BetweenOverlap
) -> Estimate:
    undefined = overlap.status == "undefined"
    return estimate(
        sample,
        spec,
        measure=measure,
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


def _rows(
    sample: Sample,
    measure: str | None,
    null: tuple[OverlapNull, ...],
    retention: Retention,
    overlap: BetweenOverlap,
) -> Rows:
    """One row for each K, with a column `measure` where there is a name for it."""
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
        }
        rows.append(
            {
                **sample.labels(),
                **({} if measure is None else {"measure": measure, "null_p": None}),
                "k": row.k,
                "prompts": compared_at(sample),
                **(dict.fromkeys(halves) if lacking else halves),
                **(dict.fromkeys(full) if chance.message else full),
                "status": row.message if row.status != "ok" else "ok",
            }
        )
    return rows
