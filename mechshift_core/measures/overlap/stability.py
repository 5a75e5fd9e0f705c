"""How stable each model's circuits are over resamples of the prompts: rows of the table `stability`."""

from __future__ import annotations

from mechshift_core.analysis.measured import Measured, Rows
from mechshift_core.analysis.samples import Sample
from mechshift_core.measures.overlap.section import Overlap
from mechshift_core.spec import Spec
from stats.node_sets import EdgeNodes
from stats.stability import BAR, selection_stability


def measure_stability(sample: Sample, spec: Spec, nodes: EdgeNodes) -> Measured:
    """Rows of `stability` of both models, for edges and nodes at every K below the number of edges."""
    settings = spec.measures.of(Overlap)
    assert settings is not None
    sizes = [k for k in settings.top_k if k < len(sample.graph.edges)]
    rows: Rows = []
    for name, side in sample.sides if sizes else ():
        found = selection_stability(
            sample.score_blocks(name),
            top_k=sizes,
            nodes=nodes,
            templates=sample.clusters(sample.ids(name)),
            seed=sample.seed,
        )
        rows += [
            {
                **sample.labels(),
                "model": side.model,
                "side": name,
                "kind": one.kind,
                "k": one.k,
                "jaccard": one.mean,
                "low": one.low,
                "high": one.high,
                "resamples": one.resamples,
                "bar": BAR,
                "stable": one.stable,
                "n": sample.n,
                "status": one.message or "ok",
            }
            for one in found
        ]
    return Measured(rows={"stability": rows})
