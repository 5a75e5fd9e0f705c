"""Which heads and MLPs an edge touches, from its name."""

from __future__ import annotations

import pytest

from mechshift_core.graph import Graph, Shape
from mechshift_core.measures.overlap.edge_nodes import edge_nodes


@pytest.mark.parametrize("groups", [4, 2])
def test_every_edge_touches_the_components_in_its_name(groups: int) -> None:
    graph = Graph.of(Shape(layers=6, heads=4, key_value_heads=groups, head_size=2, hidden_size=8))
    found, names = edge_nodes(graph), [source.name for source in graph.sources[1:]]
    for edge, touched in zip(graph.edges, found.nodes, strict=True):
        source, target = edge.split("->")
        expected = set() if source == "input" else {source}
        node = target.partition("<")[0]
        layer, _, group = node.partition(".kv")
        if group:
            size = 4 // groups
            expected |= {f"{layer}.h{head}" for head in range(int(group) * size, (int(group) + 1) * size)}
        elif node != "logits":
            expected.add(node)
        assert {names[number] for number in touched if number >= 0} == expected


def test_heads_and_mlps_of_the_thirds_of_the_layers_are_exchangeable() -> None:
    graph = Graph.of(Shape(layers=6, heads=4, key_value_heads=4, head_size=2, hidden_size=8))
    found = edge_nodes(graph)
    strata: dict[int, set[str]] = {}
    for source, stratum in zip(graph.sources[1:], found.strata.tolist(), strict=True):
        strata.setdefault(stratum, set()).add(source.name)
    heads = [{f"a{layer}.h{head}" for layer in pair for head in range(4)} for pair in ((0, 1), (2, 3), (4, 5))]
    mlps = [{"m0", "m1"}, {"m2", "m3"}, {"m4", "m5"}]
    assert sorted(map(sorted, strata.values())) == sorted(map(sorted, [*heads, *mlps]))
