"""How a model's attribution is spread over the layers, example by example."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.samples import Sample
from stats.depth import layer_shares

Values = npt.NDArray[np.float64]


def shares_by_layer(sample: Sample) -> dict[str, Values]:
    """Share of the attribution of each layer's sources on each selected example, [n, layers], before and after.

    Raises:
        ValueError: if an example has no attribution at all.
    """
    layers = sample.graph.receivers[-1].layer
    source, _ = sample.graph.edge_index
    source_layer = np.array([node.layer for node in sample.graph.sources])[source]
    return {side: layer_shares(sample.scores(side), source_layer, layers) for side, _ in sample.sides}
