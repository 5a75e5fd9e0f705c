"""Effects of single components, and how unequally they are spread.

A component's effect on an example is the sum of the scores of its outgoing edges: the attribution-patching estimate of
what corrupting its output does to the metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.debiased import measure_debiased
from mechshift_core.analysis.indices import Compared, SideIndex, measure_index, measure_indices
from mechshift_core.analysis.measured import Measured, Rows, component_rows, joined
from mechshift_core.analysis.samples import Sample, task_weights
from mechshift_core.measures.specialization.section import INDICES, Specialization
from mechshift_core.spec import Spec
from stats.debiased import debiased_specialization
from stats.inequality import INDEX_NAMES, IndexName, inequality_rows
from stats.specialization import index_replicates, specializations

DEBIASED: Literal["renyi_entropy"] = "renyi_entropy"
"""The index that noise does not move."""


def component_effects(sample: Sample, side: str) -> npt.NDArray[np.float64]:
    """Effect of every head and MLP on every selected example, [n, components]."""
    source, _ = sample.graph.edge_index
    nodes = len(sample.graph.sources)
    scores = sample.side(side).scores.each(sample.ids(side))
    sums = [np.bincount(source, weights=row, minlength=nodes) for row in scores]
    return np.stack(sums).astype(np.float64, copy=False)[:, 1:]


def measure_specialization(sample: Sample, spec: Spec) -> Measured:
    """Rows of `components` and `indices` (all of them); `specialization` as the shift of the declared index."""
    settings = spec.measures.of(Specialization)
    assert settings is not None
    if sample.too_few:
        return Measured(problems={"specialization": sample.too_few})
    effects = {side: component_effects(sample, side) for side, _ in sample.sides}
    components = [row for side, values in effects.items() for row in _component_rows(sample, spec, side, values)]
    weights = task_weights(sample, spec.statistics.bootstrap.replicates)
    try:
        before, after = (_indices(values, weights, sample.seed) for values in effects.values())
    except ValueError as error:
        return Measured(rows={"components": components}, problems={"specialization": str(error)})
    compared: dict[str, Compared] = {
        index: Compared(INDICES[index], before[index], after[index]) for index in INDEX_NAMES
    }
    found = (
        _debiased(sample, spec, effects),
        measure_indices(sample, spec, "specialization", compared, declared=settings.index),
    )
    return joined(found, components=components)


def measure_specialization_shift(sample: Sample, spec: Spec) -> Measured:
    """`specialization` by the declared index, without nulls and components, as hypotheses are tested with it."""
    settings = spec.measures.of(Specialization)
    assert settings is not None
    if sample.too_few:
        return Measured(problems={"specialization": sample.too_few})
    effects = {side: component_effects(sample, side) for side, _ in sample.sides}
    if settings.index == DEBIASED:
        return _debiased(sample, spec, effects)
    try:
        before, after = (_observed(values, settings.index) for values in effects.values())
    except ValueError as error:
        return Measured(problems={"specialization": str(error)})
    return measure_index(
        sample, spec, "specialization", index=settings.index, name=INDICES[settings.index], before=before, after=after
    )


def _debiased(sample: Sample, spec: Spec, effects: Mapping[str, npt.NDArray[np.float64]]) -> Measured:
    settings = spec.measures.of(Specialization)
    assert settings is not None
    sides = {
        side: debiased_specialization(values, cluster=sample.clusters(sample.ids(side)), seed=sample.seed)
        for side, values in effects.items()
    }
    return measure_debiased(
        sample, spec, "specialization", sides, index=DEBIASED, name=INDICES[DEBIASED], declared=settings.index
    )


def _observed(effects: npt.NDArray[np.float64], index: IndexName) -> SideIndex:
    return SideIndex(float(inequality_rows(np.abs(effects.mean(axis=0))[None], index)[0]), None, {})


def _indices(effects: npt.NDArray[np.float64], weights: npt.NDArray[np.int64], seed: int) -> dict[IndexName, SideIndex]:
    return {
        found.index: SideIndex(
            found.value,
            index_replicates(effects, weights, index=found.index),
            {
                "null": found.null.mean,
                "null_low": found.null.low,
                "null_high": found.null.high,
                "excess": found.excess,
                "crossfitted": found.crossfitted,
            },
        )
        for found in specializations(effects, indices=INDEX_NAMES, seed=seed)
    }


def _component_rows(sample: Sample, spec: Spec, side: str, effects: npt.NDArray[np.float64]) -> Rows:
    attribution = spec.edge_attribution
    assert attribution is not None
    nodes = [(node.name, node.kind, node.layer) for node in sample.graph.sources[1:]]
    return component_rows(
        sample, spec, side, zip(nodes, effects.T, strict=True), intervention=attribution.name, method="attribution"
    )
