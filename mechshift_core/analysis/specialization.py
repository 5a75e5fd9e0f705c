"""Effects of single components, and how unequally they are spread.

A component's effect on an example is the sum of the scores of its outgoing edges: the attribution-patching estimate of
what corrupting its output does to the metric.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.indices import SideIndex, measure_index
from mechshift_core.analysis.measured import Measured, Rows, component_rows
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.spec import Spec
from stats.specialization import gini, gini_replicates, specialization


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
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    try:
        before, after = (_index(values, weights, sample.seed) for values in effects.values())
    except ValueError as error:
        return Measured(rows={"components": components}, problems={"specialization": str(error)})
    found = measure_index(sample, spec, "specialization", index="gini", name="Gini index", before=before, after=after)
    return replace(found, rows={**found.rows, "components": components})


def measure_gini_shift(sample: Sample, spec: Spec) -> Measured:
    """`specialization` without the null and the effects of components, as hypotheses are tested with it."""
    if sample.too_few:
        return Measured(problems={"specialization": sample.too_few})
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    try:
        before, after = (
            SideIndex(gini(np.abs(effects.mean(axis=0))), gini_replicates(effects, weights), {})
            for effects in (component_effects(sample, side) for side, _ in sample.sides)
        )
    except ValueError as error:
        return Measured(problems={"specialization": str(error)})
    return measure_index(sample, spec, "specialization", index="gini", name="Gini index", before=before, after=after)


def _index(effects: npt.NDArray[np.float64], weights: npt.NDArray[np.int64], seed: int) -> SideIndex:
    found = specialization(effects, seed=seed)
    reference = {
        "null": found.null.mean,
        "null_low": found.null.low,
        "null_high": found.null.high,
        "excess": found.excess,
        "crossfitted": found.crossfitted,
    }
    return SideIndex(found.value, gini_replicates(effects, weights), reference)


def _component_rows(sample: Sample, spec: Spec, side: str, effects: npt.NDArray[np.float64]) -> Rows:
    attribution = spec.edge_attribution
    assert attribution is not None
    nodes = [(node.name, node.kind, node.layer) for node in sample.graph.sources[1:]]
    return component_rows(
        sample, spec, side, zip(nodes, effects.T, strict=True), intervention=attribution.name, method="attribution"
    )
