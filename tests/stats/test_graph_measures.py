"""Participation, modularity and efficiency, held against bctpy, networkx, every partition, and slow ways."""

from __future__ import annotations

from collections.abc import Iterator

import bct
import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from stats import global_efficiency, louvain_modules, modularity, participation_coefficient, relative_efficiency

Values = NDArray[np.float64]


def symmetric(upper: Values) -> Values:
    kept = np.triu(upper, 1)
    return kept + kept.T


def random_weights(nodes: int, seed: int, *, density: float = 1.0) -> Values:
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=(nodes, nodes)) ** 2 * (rng.random((nodes, nodes)) < density)
    return symmetric(weights)


@st.composite
def graphs(draw: st.DrawFn) -> Values:
    nodes = draw(st.integers(2, 9))
    elements = st.one_of(st.just(0.0), st.floats(0.01, 10))
    weights = symmetric(draw(hnp.arrays(np.float64, (nodes, nodes), elements=elements)))
    weights[0, 1] = weights[1, 0] = 1.0
    return weights


def partitions(count: int) -> Iterator[list[int]]:
    """Every partition of so many nodes, as labels."""
    if count == 0:
        yield []
        return
    for labels in partitions(count - 1):
        for label in range(max(labels, default=-1) + 2):
            yield [*labels, label]


@pytest.mark.parametrize("density", [0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_measures_are_those_of_the_brain_connectivity_toolbox(seed: int, density: float) -> None:
    weights = random_weights(17, seed, density=density)
    modules = np.random.default_rng(seed).integers(0, 4, 17)
    np.testing.assert_allclose(
        participation_coefficient(weights, modules), bct.participation_coef(weights, modules + 1), atol=1e-12
    )
    assert global_efficiency(weights) == pytest.approx(bct.efficiency_wei(weights), rel=1e-9)
    found, value = bct.modularity_und(weights, kci=modules + 1)
    assert modularity(weights, found) == pytest.approx(value)


@given(weights=graphs(), seed=st.integers(0, 99))
def test_measures_are_those_of_networkx(weights: Values, seed: int) -> None:
    modules = np.random.default_rng(seed).integers(0, 3, len(weights))
    graph = nx.from_numpy_array(weights)
    sets = [set(np.flatnonzero(modules == label).tolist()) for label in np.unique(modules)]
    assert modularity(weights, modules) == pytest.approx(nx.community.modularity(graph, sets), abs=1e-9)
    for *_, data in graph.edges(data=True):
        data["length"] = 1 / data["weight"]
    near = [
        1 / length
        for _, lengths in nx.all_pairs_dijkstra_path_length(graph, weight="length")
        for length in lengths.values()
        if length > 0
    ]
    assert global_efficiency(weights) == pytest.approx(sum(near) / len(weights) / (len(weights) - 1), abs=1e-9)


@given(weights=graphs(), seed=st.integers(0, 9))
def test_modules_are_a_local_maximum_that_no_single_move_improves(weights: Values, seed: int) -> None:
    modules = louvain_modules(weights, np.random.default_rng(seed))
    found = modularity(weights, modules)
    assert set(modules) == set(range(modules.max() + 1))
    assert found >= modularity(weights, np.zeros(len(weights))) - 1e-9
    assert found >= modularity(weights, np.arange(len(weights))) - 1e-9


def test_modules_are_about_as_modular_as_any() -> None:
    """Of seven nodes every partition can be tried: the best of a few runs is the best there is."""
    for seed in range(4):
        weights = random_weights(7, seed, density=0.6)
        best = max(modularity(weights, labels) for labels in partitions(7))
        runs = [modularity(weights, louvain_modules(weights, np.random.default_rng(run))) for run in range(8)]
        assert max(runs) == pytest.approx(best) and max(runs) <= best + 1e-12
        assert np.mean(runs) > best - 0.03


def test_modules_are_about_as_modular_as_those_of_networkx() -> None:
    for seed in range(4):
        weights = random_weights(40, seed)
        graph = nx.from_numpy_array(weights)
        theirs = nx.community.modularity(graph, nx.community.louvain_communities(graph, seed=seed))
        ours = modularity(weights, louvain_modules(weights, np.random.default_rng(seed)))
        assert ours == pytest.approx(theirs, abs=0.02)


def test_planted_modules_are_found() -> None:
    planted = np.repeat(np.arange(3), 6)
    weights = symmetric(np.random.default_rng(0).random((18, 18)) * 0.2 + (planted[:, None] == planted))
    found = louvain_modules(weights, np.random.default_rng(0))
    assert len({(int(a), int(b)) for a, b in zip(planted, found, strict=True)}) == 3 == found.max() + 1


@given(weights=graphs(), scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_measures_have_no_order_and_but_for_the_efficiency_no_unit(weights: Values, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order, modules = rng.permutation(len(weights)), rng.integers(0, 3, len(weights))
    other = scale * weights[order][:, order]
    participation = participation_coefficient(weights, modules)
    np.testing.assert_allclose(participation_coefficient(other, modules[order]), participation[order], atol=1e-9)
    assert participation.min() >= 0 and participation.max() <= 1 - 1 / 3 + 1e-9
    assert modularity(other, modules[order]) == pytest.approx(modularity(weights, modules), abs=1e-9)
    assert modularity(weights, modules) < 1
    assert global_efficiency(other) == pytest.approx(scale * global_efficiency(weights))
    assert relative_efficiency(other) == pytest.approx(relative_efficiency(weights))
    assert relative_efficiency(weights) >= 1 - 1e-9


def test_known_values() -> None:
    equal = symmetric(np.full((5, 5), 3.0))
    assert global_efficiency(equal) == pytest.approx(3) and relative_efficiency(equal) == pytest.approx(1)
    assert modularity(equal, [0] * 5) == pytest.approx(0)
    assert modularity(np.kron(np.eye(2), [[0, 1], [1, 0]]), [0, 0, 1, 1]) == pytest.approx(0.5)
    star = symmetric(np.array([[0, 1, 1, 1, 1], *[[0] * 5] * 4], dtype=float))
    np.testing.assert_allclose(participation_coefficient(star, [0, 0, 1, 2, 3]), [0.75, 0, 0, 0, 0])
    assert global_efficiency(star) == pytest.approx((4 + 6 / 2) / 10)
    # A detour over two strong edges is shorter than the weak edge.
    assert global_efficiency([[0, 1, 0.1], [1, 0, 1], [0.1, 1, 0]]) == pytest.approx((1 + 1 + 0.5) / 3)
    alone = symmetric(np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=float))
    assert participation_coefficient(alone, [0, 1, 1]).tolist() == [0, 0, 0]


BAD = {
    "not square": (np.ones((2, 3)), r"\[nodes, nodes\] with at least 2 nodes, got \[2, 3\]"),
    "one node": (np.zeros((1, 1)), "at least 2 nodes"),
    "negative": (symmetric(np.full((3, 3), -1.0)), ">= 0, got -1"),
    "a loop": (np.ones((2, 2)), "zeros on the diagonal"),
    "directed": (np.triu(np.ones((3, 3)), 1), "expected a symmetric array"),
    "no edges": (np.zeros((3, 3)), "expected an edge, got only zeros"),
    "empty": (np.zeros((0, 0)), "at least one value"),
    "not finite": (symmetric(np.full((3, 3), np.nan)), "finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_graph_is_refused(case: str) -> None:
    weights, message = BAD[case]
    labels = np.zeros(len(weights))
    for measure in (
        lambda: participation_coefficient(weights, labels),
        lambda: modularity(weights, labels),
        lambda: louvain_modules(weights, np.random.default_rng(0)),
        lambda: global_efficiency(weights),
        lambda: relative_efficiency(weights),
    ):
        with pytest.raises(ValueError, match=message):
            measure()


def test_every_node_has_one_module() -> None:
    with pytest.raises(ValueError, match="modules: expected 3 labels"):
        modularity(symmetric(np.ones((3, 3))), [0, 1])
