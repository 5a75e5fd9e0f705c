"""How a model's attribution is spread over the layers, example by example."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample
from mechshift_core.metrics import stands_still
from stats.depth import layer_shares

Values = npt.NDArray[np.float64]


def shares_by_layer(sample: Sample) -> dict[str, Values]:
    """Share of the attribution of each layer's sources on each selected example, [n, layers], before and after.

    Raises:
        ValueError: if an example has no attribution at all, with the metric that does not move there.
    """
    layers = sample.graph.receivers[-1].layer
    source, _ = sample.graph.edge_index
    source_layer = np.array([node.layer for node in sample.graph.sources])[source]
    try:
        return {side: layer_shares(sample.scores(side), source_layer, layers) for side, _ in sample.sides}
    except ValueError as error:
        raise ValueError(_without_attribution(sample) or str(error)) from error


def _without_attribution(sample: Sample) -> str:
    """That selected examples have no score on any edge, and why that may be; empty where all have one."""
    for side, one in sample.sides:
        ids = np.asarray(sample.ids(side))
        empty = ids[~np.asarray(sample.scores(side)).any(axis=1)]
        if len(empty):
            values = one.answers.clean_metric[empty]
            still = stands_still(sample.dataset.metric, float(values.min()), float(values.max()))
            return f"{one.model!r} has no attribution at all on {len(empty)} of {len(ids)} selected examples: {still}"
    return ""
