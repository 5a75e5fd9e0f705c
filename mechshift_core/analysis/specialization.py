"""Effects of single components, and how unequally they are spread.

A component's effect on an example is the sum of the scores of its outgoing edges: the attribution-patching estimate of
what corrupting its output does to the metric.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import (
    Measured,
    Rows,
    component_rows,
    index_estimate,
    index_replicated,
    index_row,
)
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.spec import Spec
from stats.specialization import Specialization, gini_replicates, specialization


def component_effects(sample: Sample, side: str) -> npt.NDArray[np.float64]:
    """Effect of every head and MLP on every selected example, [n, components]."""
    source, _ = sample.graph.edge_index
    nodes = len(sample.graph.sources)
    scores = sample.side(side).scores.each(sample.ids(side))
    sums = [np.bincount(source, weights=row, minlength=nodes) for row in scores]
    return np.stack(sums).astype(np.float64, copy=False)[:, 1:]


def measure_specialization(sample: Sample, spec: Spec) -> Measured:
    """Rows of `components` and `indices`; `specialization` as the shift of the Gini index."""
    if sample.too_few:
        return Measured(problems={"specialization": sample.too_few})
    effects = {side: component_effects(sample, side) for side, _ in sample.sides}
    components = [row for side, values in effects.items() for row in _component_rows(sample, spec, side, values)]
    try:
        indices = {side: specialization(values, seed=sample.seed) for side, values in effects.items()}
        weights = task_weights(sample, spec.statistics.bootstrap.replicates)
        replicates = {side: gini_replicates(values, weights) for side, values in effects.items()}
    except ValueError as error:
        return Measured(rows={"components": components}, problems={"specialization": str(error)})
    values = {side: index.value for side, index in indices.items()}
    values["shift"] = values["after"] - values["before"]
    replicates["shift"] = replicates["after"] - replicates["before"]
    results = {
        side: index_replicated(sample, "specialization", side, values[side], replicates[side])
        for side in ("before", "after", "shift")
    }
    estimates = tuple(
        index_estimate(
            sample, spec, "specialization", side, result, name="Gini index", reference=_reference(indices.get(side))
        )
        for side, result in results.items()
    )
    return Measured(
        rows={"components": components, "indices": [index_row(sample, "gini", row) for row in estimates]},
        estimates=estimates,
        replicated={"specialization": results["shift"]},
    )


def _reference(index: Specialization | None) -> dict[str, float | None]:
    if index is None:
        return {}
    return {
        "null": index.null.mean,
        "null_low": index.null.low,
        "null_high": index.null.high,
        "excess": index.excess,
        "crossfitted": index.crossfitted,
    }


def _component_rows(sample: Sample, spec: Spec, side: str, effects: npt.NDArray[np.float64]) -> Rows:
    attribution = spec.edge_attribution
    assert attribution is not None
    nodes = [(node.name, node.kind, node.layer) for node in sample.graph.sources[1:]]
    return component_rows(
        sample, spec, side, zip(nodes, effects.T, strict=True), intervention=attribution.name, method="attribution"
    )
