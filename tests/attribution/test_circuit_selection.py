from __future__ import annotations

from functools import cache
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mechshift_core.attribution.selection import (
    circuit_sizes,
    greedy_edges,
    greedy_order,
    layer_pairs,
    prune,
    random_like,
    receivers_of_sources,
    top_edges,
)
from mechshift_core.graph import Graph, Shape

Circuit = NDArray[np.bool_]

SHAPES = {
    "own heads": Shape(layers=2, heads=2, key_value_heads=2, head_size=4, hidden_size=8),
    "shared key/value heads": Shape(layers=2, heads=4, key_value_heads=2, head_size=4, hidden_size=16),
    "parallel blocks": Shape(layers=3, heads=2, key_value_heads=1, head_size=4, hidden_size=8, parallel=True),
}
every_graph = pytest.mark.parametrize("graph", [Graph.of(shape) for shape in SHAPES.values()], ids=SHAPES)


@cache
def nodes(graph: Graph) -> nx.DiGraph:
    """Every source and receiver as a node, every edge of the graph, and each node's receivers to its source by name."""
    network = nx.DiGraph()
    network.add_edges_from([("out:" + u, "in:" + v) for u, v in (name.split("->") for name in graph.edges)])
    receivers = [receiver.name for receiver in graph.receivers]
    for source in graph.sources:
        if source.kind == "mlp":
            network.add_edge("in:" + source.name, "out:" + source.name)
        elif source.kind == "head":
            layer, head = source.name.split(".h")
            heads = sum(other.startswith(f"{layer}.h") and other.endswith("<q>") for other in receivers)
            shared = sum(other.startswith(f"{layer}.kv") and other.endswith("<k>") for other in receivers)
            group = f"{layer}.kv{int(head) * shared // heads}"
            own = [f"{source.name}<q>", *(f"{group if shared else source.name}<{role}>" for role in "kv")]
            network.add_edges_from([("in:" + name, "out:" + source.name) for name in own])
    return network


def subnetwork(graph: Graph, circuit: Circuit) -> nx.DiGraph:
    network = nodes(graph).copy()
    outside = [name.split("->") for name, chosen in zip(graph.edges, circuit, strict=True) if not chosen]
    network.remove_edges_from([("out:" + u, "in:" + v) for u, v in outside])
    return network


def pruned_by_paths(graph: Graph, circuit: Circuit) -> Circuit:
    """An edge stays if its source can be reached from the input, and the logits from its receiver."""
    network = subnetwork(graph, circuit)
    kept = []
    for name, chosen in zip(graph.edges, circuit, strict=True):
        u, v = name.split("->")
        reached = nx.has_path(network, "out:input", "out:" + u) and nx.has_path(network, "in:" + v, "in:logits")
        kept.append(bool(chosen) and reached)
    return np.array(kept)


def greedy_by_hand(graph: Graph, scores: NDArray[np.float64], n: int) -> list[int]:
    """At each step every edge is looked at."""
    reached, added = {"in:logits"}, []
    for _ in range(n):
        candidates = [
            e for e, name in enumerate(graph.edges) if e not in added and "in:" + name.split("->")[1] in reached
        ]
        best = max(candidates, key=lambda e: (abs(scores[e]), -e))
        added.append(best)
        reached |= set(nodes(graph).predecessors("out:" + graph.edges[best].split("->")[0]))
    return added


@st.composite
def scored_graphs(draw: st.DrawFn) -> tuple[Graph, NDArray[np.float64]]:
    graph = Graph.of(draw(st.sampled_from(list(SHAPES.values()))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    # A few levels only, so that ties are common.
    levels = draw(st.integers(1, 30))
    return graph, rng.integers(-levels, levels + 1, len(graph.edges)) / 2


@st.composite
def circuits(draw: st.DrawFn) -> tuple[Graph, Circuit]:
    graph = Graph.of(draw(st.sampled_from(list(SHAPES.values()))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return graph, rng.random(len(graph.edges)) < draw(st.floats(0, 1))


def test_the_top_edges_are_those_of_largest_magnitude_and_of_equal_ones_the_first() -> None:
    scores = [1.0, -3.0, 2.0, -2.0, 0.0, 2.0]
    chosen = [np.flatnonzero(top_edges(scores, n)).tolist() for n in range(7)]
    assert chosen == [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 5], [0, 1, 2, 3, 5], [0, 1, 2, 3, 4, 5]]


def test_edges_without_a_score_are_in_no_circuit_but_that_of_all_edges() -> None:
    graph = Graph.of(SHAPES["shared key/value heads"])
    edges = len(graph.edges)
    scores = np.zeros(edges)
    live = np.flatnonzero(np.array([name.endswith("->logits") for name in graph.edges]))[:4]
    scores[live] = [1.0, -3.0, 2.0, 0.5]
    for select in (top_edges, lambda values, n: greedy_edges(graph, values, n)):
        assert [int(select(scores, n).sum()) for n in (2, 4, 5, edges - 1, edges)] == [2, 4, 4, 4, edges]
        assert not select(np.zeros(edges), edges - 1).any()
        assert (np.flatnonzero(select(scores, 10)) == live).all()


@every_graph
def test_the_readers_of_every_source_are_those_that_its_name_says(graph: Graph) -> None:
    for source, own in zip(graph.sources, receivers_of_sources(graph), strict=True):
        expected = set(nodes(graph).predecessors("out:" + source.name))
        assert {"in:" + graph.receivers[place].name for place in own} == expected
    assert receivers_of_sources(graph)[0] == ()


def test_query_heads_of_a_group_share_their_key_and_value_readers() -> None:
    graph = Graph.of(SHAPES["shared key/value heads"])
    names = {
        source.name: [graph.receivers[place].name for place in own]
        for source, own in zip(graph.sources, receivers_of_sources(graph), strict=True)
    }
    assert names["a1.h0"] == ["a1.h0<q>", "a1.kv0<k>", "a1.kv0<v>"]
    assert names["a1.h1"] == ["a1.h1<q>", "a1.kv0<k>", "a1.kv0<v>"]
    assert names["a1.h2"] == ["a1.h2<q>", "a1.kv1<k>", "a1.kv1<v>"]
    assert names["m1"] == ["m1"]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(scored_graphs(), st.data())
def test_the_greedy_order_is_that_of_a_search_through_all_edges_at_every_step(
    scored: tuple[Graph, NDArray[np.float64]], data: st.DataObject
) -> None:
    graph, scores = scored
    n = data.draw(st.integers(0, min(60, len(graph.edges))))
    expected = greedy_by_hand(graph, scores, n)
    assert greedy_order(graph, scores, n).tolist() == expected
    assert np.flatnonzero(greedy_edges(graph, scores, n)).tolist() == sorted(expected)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(scored_graphs())
def test_every_edge_is_added_once_and_a_new_edge_always_leads_to_the_logits(
    scored: tuple[Graph, NDArray[np.float64]],
) -> None:
    graph, scores = scored
    order = greedy_order(graph, scores, len(graph.edges)).tolist()
    assert sorted(order) == list(range(len(graph.edges)))
    reached = {"in:logits"}
    for edge in order:
        source, receiver = graph.edges[edge].split("->")
        assert "in:" + receiver in reached
        reached |= set(nodes(graph).predecessors("out:" + source))


def test_greedy_takes_a_weak_edge_into_the_logits_before_a_strong_one_that_leads_nowhere() -> None:
    graph = Graph.of(SHAPES["own heads"])
    scores = np.zeros(len(graph.edges))
    for name, score in {"input->a0.h1<v>": 9, "a0.h1->m1": 5, "m1->logits": -2, "input->logits": 1}.items():
        scores[graph.edge_numbers[name]] = score
    assert [graph.edges[e] for e in np.flatnonzero(top_edges(scores, 1))] == ["input->a0.h1<v>"]
    grown = [graph.edges[e] for e in greedy_order(graph, scores, 4)]
    assert grown == ["m1->logits", "a0.h1->m1", "input->a0.h1<v>", "input->logits"]


@settings(deadline=None, derandomize=True, max_examples=30)
@given(circuits())
def test_pruning_keeps_exactly_the_edges_on_a_path_from_the_input_to_the_logits(drawn: tuple[Graph, Circuit]) -> None:
    graph, circuit = drawn
    assert prune(graph, circuit).tolist() == pruned_by_paths(graph, circuit).tolist()


@settings(deadline=None, derandomize=True, max_examples=30)
@given(circuits())
def test_pruning_twice_is_pruning_once_and_removes_no_more_than_dead_ends(drawn: tuple[Graph, Circuit]) -> None:
    graph, circuit = drawn
    kept = prune(graph, circuit)
    assert not (kept & ~circuit).any()
    assert (prune(graph, kept) == kept).all()
    network = subnetwork(graph, kept)
    for name in np.array(graph.edges)[kept]:
        u, v = name.split("->")
        assert u == "input" or any(network.in_degree(place) for place in network.predecessors("out:" + u)), name
        assert v == "logits" or any(network.out_degree(place) for place in network.successors("in:" + v)), name


@every_graph
def test_the_full_and_the_empty_circuit_are_already_pruned(graph: Graph) -> None:
    assert prune(graph, np.ones(len(graph.edges), dtype=bool)).all()
    assert not prune(graph, np.zeros(len(graph.edges), dtype=bool)).any()


def test_a_shared_key_reader_leads_on_while_one_head_of_its_group_does() -> None:
    graph = Graph.of(SHAPES["shared key/value heads"])
    for ends, kept in ((["a0.h1->logits"], True), (["a0.h2->logits"], False), ([], False)):
        circuit = np.zeros(len(graph.edges), dtype=bool)
        circuit[[graph.edge_numbers[name] for name in ("input->a0.kv0<k>", *ends)]] = True
        assert bool(prune(graph, circuit).any()) == kept


@settings(deadline=None, derandomize=True, max_examples=30)
@given(circuits(), st.integers(0, 2**32))
def test_a_random_circuit_has_as_many_edges_between_every_two_layers(drawn: tuple[Graph, Circuit], seed: int) -> None:
    graph, circuit = drawn
    other = random_like(graph, circuit, np.random.default_rng(seed))
    source, receiver = graph.edge_index
    count: dict[tuple[int, int], int] = {}
    for u, v, before, after in zip(source, receiver, circuit, other, strict=True):
        pair = graph.sources[u].layer, graph.receivers[v].layer
        count[pair] = count.get(pair, 0) + int(before) - int(after)
    assert not any(count.values())
    assert (other == random_like(graph, circuit, np.random.default_rng(seed))).all()


def test_every_edge_between_two_layers_is_as_likely_as_the_others() -> None:
    graph = Graph.of(SHAPES["shared key/value heads"])
    rng = np.random.default_rng(0)
    circuit = rng.random(len(graph.edges)) < 0.3
    draws = 4000
    frequency = np.mean([random_like(graph, circuit, rng) for _ in range(draws)], axis=0)
    pairs = layer_pairs(graph)
    expected = np.array([circuit[pairs == pair].mean() for pair in pairs])
    band = 5 * np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(frequency - expected) <= band).all()


def test_sizes_in_percent_become_numbers_of_edges_and_never_none() -> None:
    assert circuit_sizes([0.1, 0.2, 1, 50, 100], 1000) == (1, 2, 10, 500, 1000)
    assert circuit_sizes([0.001, 100], 73) == (1, 73)
    assert all(small <= large for small, large in pairwise(circuit_sizes([0.1, 1, 2, 5, 10, 20, 50, 100], 32491)))


def test_wrong_input_is_an_error_that_says_what_was_expected() -> None:
    graph = Graph.of(SHAPES["own heads"])
    edges = len(graph.edges)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"scores: expected shape \[edges\], got \[2, 3\]"):
        top_edges(np.zeros((2, 3)), 1)
    with pytest.raises(ValueError, match=rf"scores: expected shape \[{edges}\], one for each edge .*, got \[3\]"):
        greedy_edges(graph, np.zeros(3), 1)
    with pytest.raises(ValueError, match=r"scores: expected finite numbers, got 2 NaN or infinite of 3"):
        top_edges([1.0, np.nan, np.inf], 1)
    for n in (-1, edges + 1):
        with pytest.raises(ValueError, match=rf"n: expected a number of edges from 0 to {edges}, got {n}"):
            greedy_edges(graph, np.zeros(edges), n)
    for wrong in (np.zeros(edges), np.zeros(edges - 1, dtype=bool)):
        with pytest.raises(ValueError, match=rf"circuit: expected one boolean for each of {edges} edges"):
            prune(graph, wrong)
        with pytest.raises(ValueError, match=rf"circuit: expected one boolean for each of {edges} edges"):
            random_like(graph, wrong, rng)
    for percent in (0, -1, 100.5, float("nan")):
        with pytest.raises(ValueError, match=r"percent: expected sizes above 0 and up to 100, got"):
            circuit_sizes([1, percent], 100)
    with pytest.raises(ValueError, match=r"edges: expected at least 1, got 0"):
        circuit_sizes([1], 0)


@pytest.mark.long
def test_a_model_with_a_million_edges_is_selected_from() -> None:
    graph = Graph.of(Shape(layers=26, heads=32, key_value_heads=32, head_size=2, hidden_size=64))
    edges = len(graph.edge_index[0])
    assert edges > 1_000_000
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(edges)
    order = greedy_order(graph, scores, edges)
    assert (np.sort(order) == np.arange(edges)).all()
    n = circuit_sizes([0.5], edges)[0]
    grown = greedy_edges(graph, scores, n)
    assert (np.flatnonzero(grown) == np.sort(order[:n])).all()
    kept = prune(graph, grown)
    assert 0 < kept.sum() <= n == random_like(graph, grown, rng).sum() == top_edges(scores, n).sum()
