"""The components of a model from the strongest on, by what is known of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mechshift_core.execution.scores import Stored
from mechshift_core.graph import Graph, Shape


def by_attribution(shape: Shape, scores: npt.NDArray[np.float64], *, used: bool = False) -> list[str]:
    """The heads and MLPs by the magnitude of what their outgoing edges score together, the largest first.

    Args:
        shape: The model's shape.
        scores: Mean score of every edge, [edges].
        used: Leave out those that score 0: a circuit does not use them.
    """
    graph = Graph.of(shape)
    source, _ = graph.edge_index
    effects = np.abs(np.bincount(source, weights=scores, minlength=len(graph.sources)))[1:]
    order = np.argsort(-effects, kind="stable")
    return [graph.sources[1 + number].name for number in order if effects[number] > 0 or not used]


def by_knock_out(singles: Stored) -> list[str]:
    """The components of an ablation by the magnitude of the mean effect of losing each alone, the largest first."""
    effects = singles.tensors["clean_metric"].astype(np.float64) - singles.tensors["metric"]
    strength = np.abs(effects.mean(axis=1))
    return [singles.description["components"][number] for number in np.argsort(-strength, kind="stable")]
