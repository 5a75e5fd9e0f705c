"""Random graphs keep what they promise, and tell structure from what degrees and strengths alone give."""

from __future__ import annotations

import bct
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats
from test_graph_measures import graphs, random_weights, symmetric

from stats import (
    efficiency_replicates,
    measure_graph,
    modularity,
    module_replicates,
    participation_coefficient,
    random_graph,
    relative_efficiency,
    resampling_weights,
)
from stats.graph_measures import louvain_modules
from stats.graph_nulls import STARTS
from stats.seeding import generator

Values = NDArray[np.float64]


@given(weights=graphs(), seed=st.integers(0, 99))
def test_a_random_graph_keeps_degrees_and_weights(weights: Values, seed: int) -> None:
    other = random_graph(weights, np.random.default_rng(seed))
    np.testing.assert_array_equal((other > 0).sum(axis=0), (weights > 0).sum(axis=0))
    np.testing.assert_array_equal(np.sort(other, axis=None), np.sort(weights, axis=None))
    np.testing.assert_array_equal(other, other.T)
    assert not np.diagonal(other).any()


@given(weights=graphs(), seed=st.integers(0, 99))
def test_a_random_graph_connects_only_what_may_be(weights: Values, seed: int) -> None:
    rng = np.random.default_rng(seed)
    allowed = symmetric(rng.random(weights.shape) < 0.5) + (weights > 0) > 0
    assert not (random_graph(weights, rng, allowed=allowed)[~allowed] > 0).any()


def test_swapping_ends_reaches_every_graph_of_the_same_degrees() -> None:
    """A ring of six nodes can become two triangles or any other ring; all have two edges a node."""
    ring = symmetric(np.eye(6, k=1) + np.eye(6, k=5))
    rng = np.random.default_rng(0)
    seen = {random_graph(ring, rng).tobytes() for _ in range(600)}
    assert len(seen) == 60 + 10  # rings, and pairs of triangles


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_strengths_are_kept_as_well_as_the_brain_connectivity_toolbox_keeps_them(seed: int) -> None:
    weights = random_weights(25, seed)
    strengths = weights.sum(axis=0)
    rng = np.random.default_rng(0)
    ours = np.mean([np.corrcoef(strengths, random_graph(weights, rng).sum(axis=0))[0, 1] for _ in range(20)])
    with np.errstate(invalid="ignore"):  # of the negative weights, which there are none of
        made = [bct.null_model_und_sign(weights, seed=seed)[0] for seed in range(10)]
    theirs = np.mean([np.corrcoef(strengths, graph.sum(axis=0))[0, 1] for graph in made])
    assert ours > theirs - 0.02 and ours > 0.9


@pytest.mark.long
def test_measures_are_those_of_the_graph_and_the_nulls_those_of_random_graphs() -> None:
    weights = random_weights(12, 0, density=0.7)
    found = measure_graph(weights, draws=30, seed=4)
    modules = louvain_modules(weights, generator(4, "modules"), starts=STARTS)
    assert found.participation.value == pytest.approx(participation_coefficient(weights, modules).mean())
    assert found.modularity.value == pytest.approx(modularity(weights, modules))
    assert found.efficiency.value == pytest.approx(relative_efficiency(weights))
    rng = np.random.default_rng(9)
    slow = [random_graph(weights, rng) for _ in range(200)]
    efficiency = [relative_efficiency(graph) for graph in slow]
    assert found.efficiency.null == pytest.approx(np.mean(efficiency), abs=4 * np.std(efficiency) / np.sqrt(30))
    modular = [modularity(graph, louvain_modules(graph, rng, starts=STARTS)) for graph in slow]
    assert found.modularity.null == pytest.approx(np.mean(modular), abs=4 * np.std(modular) / np.sqrt(30))
    for index in (found.participation, found.modularity, found.efficiency):
        assert index.excess == pytest.approx(index.value - index.null)
        assert index.null_low <= index.null <= index.null_high
    assert (found.nodes, found.draws) == (12, 30) and 0.5 < found.strength_correlation <= 1
    assert measure_graph(weights, draws=30, seed=4).modularity == found.modularity
    assert measure_graph(weights, draws=30, seed=5).modularity.null != found.modularity.null


@pytest.mark.long
def test_planted_modules_exceed_the_null_and_a_random_graph_does_not() -> None:
    rng = np.random.default_rng(1)
    planted = np.repeat(np.arange(3), 6)
    noise = symmetric(rng.random((18, 18)))
    structured = measure_graph(noise * np.where(planted[:, None] == planted, 4, 1), draws=40)
    assert structured.modularity.value > structured.modularity.null_high
    assert structured.participation.value < structured.participation.null
    assert inside_the_null(rng, graphs=8, draws=40) >= 5  # of 8 at about 95 %: fewer with p < .001


def inside_the_null(rng: np.random.Generator, *, graphs: int, draws: int) -> int:
    inside = 0
    for seed in range(graphs):
        found = measure_graph(random_graph(random_weights(12, seed), rng), draws=draws)
        inside += found.modularity.null_low <= found.modularity.value <= found.modularity.null_high
    return inside


@pytest.mark.nightly
def test_a_random_graph_lies_within_its_null_as_often_as_it_says() -> None:
    assert inside_the_null(np.random.default_rng(1), graphs=24, draws=60) >= 18  # at about 95 %: fewer with p < .001


@settings(max_examples=15)
@given(weights=graphs(), scale=st.floats(0.01, 100))
def test_the_unit_of_the_weights_does_not_matter(weights: Values, scale: float) -> None:
    one, other = measure_graph(weights, draws=3), measure_graph(scale * weights, draws=3)
    for name in ("participation", "modularity", "efficiency"):
        assert getattr(other, name).value == pytest.approx(getattr(one, name).value, abs=1e-9)


def test_replicates_are_the_measures_of_the_resampled_mean() -> None:
    each = np.stack([random_weights(7, seed) for seed in range(8)])
    drawn = resampling_weights(8, 15, seed=0)
    participation, modular = module_replicates(iter(each), drawn, seed=3)
    efficiency = efficiency_replicates(each, drawn)
    rng = generator(3, "modules of replicates")
    for at, row in enumerate(drawn):
        mean = each[np.repeat(np.arange(8), row)].mean(axis=0)
        modules = louvain_modules(mean, rng, starts=STARTS)
        assert participation[at] == pytest.approx(participation_coefficient(mean, modules).mean())
        assert modular[at] == pytest.approx(modularity(mean, modules))
        assert efficiency[at] == pytest.approx(relative_efficiency(mean))


def test_one_example_repeated_has_the_same_modularity_in_every_replicate() -> None:
    planted = np.repeat(np.arange(2), 4)
    one = symmetric(np.random.default_rng(0).random((8, 8))) * np.where(planted[:, None] == planted, 6, 1)
    participation, modular = module_replicates([one] * 5, resampling_weights(5, 10, seed=0))
    np.testing.assert_allclose(participation, participation_coefficient(one, planted).mean())
    np.testing.assert_allclose(modular, modularity(one, planted))
    drawn = resampling_weights(5, 10, seed=0)
    np.testing.assert_allclose(efficiency_replicates(np.tile(one, (5, 1, 1)), drawn), relative_efficiency(one))


@pytest.mark.nightly
def test_intervals_of_a_shift_between_halves_of_one_model_cover_zero_where_modules_are_not_clear_cut() -> None:
    """30 data sets: what holds the modules as they were found covers far less."""
    covered, held = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        mean = symmetric(np.random.default_rng(99).random((10, 10)))
        drawn = resampling_weights(30, 100, seed=seed)
        values, anew, fixed = [], [], []
        for _ in range(2):
            each = np.stack([mean * symmetric(rng.exponential(size=(10, 10))) for _ in range(30)])
            found = measure_graph(each.mean(0), draws=1, seed=seed)
            values.append([found.participation.value, found.modularity.value])
            anew.append(module_replicates(each, drawn, seed=seed))
            resampled = np.tensordot(drawn, each, axes=1)
            participation = [participation_coefficient(one, found.modules).mean() for one in resampled]
            fixed.append((participation, [modularity(one, found.modules) for one in resampled]))
        for outcomes, replicates in ((covered, anew), (held, fixed)):
            spread = np.subtract(*np.array(replicates)).std(axis=1, ddof=1) * np.sqrt(30 / 29)
            outcomes.append(np.abs(np.subtract(*values)) <= scipy_stats.t.ppf(0.975, 29) * spread)
    assert (np.mean(covered, axis=0) >= 0.88).all(), np.mean(covered, axis=0)
    assert np.mean(held, axis=0)[0] < 0.8, np.mean(held, axis=0)


def test_what_does_not_go_together_is_refused() -> None:
    weights = symmetric(np.ones((3, 3)))
    with pytest.raises(ValueError, match="an edge connects nodes that `allowed` does not"):
        measure_graph(weights, allowed=np.zeros((3, 3), dtype=bool))
    with pytest.raises(ValueError, match=r"allowed: expected bool \[3, 3\], got float64"):
        measure_graph(weights, allowed=np.ones((3, 3)))
    with pytest.raises(ValueError, match="draws: expected at least 1"):
        measure_graph(weights, draws=0)
    with pytest.raises(ValueError, match="expected an edge, got only zeros"):
        measure_graph(np.zeros((3, 3)))
    for count in (0, 3, 5):
        with pytest.raises(ValueError, match=f"weights: expected a column for each of {count} graphs, got shape"):
            module_replicates([weights] * count, np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"graphs: expected \[3, 3\] as the first, got \[2, 2\]"):
        module_replicates([weights] * 3 + [weights[:2, :2]], np.ones((5, 4)))
    with pytest.raises(ValueError, match="expected an edge, got only zeros"):
        module_replicates([np.zeros((3, 3))] * 4, np.ones((5, 4)))
    with pytest.raises(ValueError, match="starts: expected at least 1"):
        louvain_modules(weights, np.random.default_rng(0), starts=0)
    with pytest.raises(ValueError, match="a column for each of 4 examples"):
        efficiency_replicates(np.ones((4, 3, 3)), np.ones((5, 3)))
