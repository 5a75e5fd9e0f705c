"""The graph of components is a slow loop over the names of the edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_edge_arrays import SHAPES, sample

from mechshift_core.graph import Shape
from mechshift_core.interventions.ablation.graph import component_graphs, possible_connections


def readers(shape: Shape, target: str) -> list[str]:
    """The components that an edge leads to, from its name."""
    node = target.split("<")[0]
    if ".kv" not in node:
        return [] if node == "logits" else [node]
    layer, group = node.split(".kv")
    size = shape.heads // shape.key_value_heads
    return [f"{layer}.h{head}" for head in range(shape.heads) if head // size == int(group)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_connection_is_the_magnitude_of_the_scores_between_two_components(tmp_path: Path, shape: Shape) -> None:
    made = sample(tmp_path, shape)
    names = [node.name for node in made.graph.sources[1:]]
    for graph, scores in zip(component_graphs(made, "after"), made.scores("after"), strict=True):
        flow = {(u, v): 0.0 for u in names for v in names}
        for edge, score in zip(made.graph.edges, scores.tolist(), strict=True):
            source, target = edge.split("->")
            for reader in readers(shape, target) if source != "input" else []:
                flow[source, reader] += score / len(readers(shape, target))
        expected = [[abs(flow[u, v]) + abs(flow[v, u]) for v in names] for u in names]
        np.testing.assert_allclose(graph, expected, rtol=1e-5, atol=1e-7)
        assert ((graph > 0) <= possible_connections(made.graph)).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_heads_of_a_layer_can_not_be_connected_and_layers_can(shape: Shape) -> None:
    from mechshift_core.graph import Graph

    graph = Graph.of(shape)
    nodes = graph.sources[1:]
    possible = possible_connections(graph)
    for row, first in enumerate(nodes):
        for column, second in enumerate(nodes):
            same = first.layer == second.layer
            within = {first.kind, second.kind} == {"head", "mlp"} and not shape.parallel
            assert possible[row, column] == (not same or within)
