"""Agreement of the strongest edges, and of their nodes, over resamples of the prompts."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from stats import EdgeNodes, cluster_weights, jaccard, resampling_weights, selection_stability, top_k
from stats.checks import Integers

EDGES = 60
ENDS = np.column_stack([np.arange(EDGES) // 6, 10 + np.arange(EDGES) % 6])
NODES = EdgeNodes(ENDS, np.arange(16) // 10)
SCORES = np.random.default_rng(0).standard_normal(EDGES) + 2 * np.random.default_rng(1).standard_normal((24, EDGES))


def by_loop(drawn: Integers, k: int, *, nodes: bool) -> list[float]:
    sets = []
    for weights in drawn:
        member = top_k(np.repeat(SCORES, weights, axis=0).mean(axis=0), k)
        touched = np.isin(np.arange(16), ENDS[member])
        sets.append(touched if nodes else member)
    return [float(jaccard(*pair)) for pair in combinations(sets, 2)]


@pytest.mark.parametrize("templates", [None, np.arange(24) // 4], ids=["prompts", "templates"])
def test_the_mean_over_pairs_is_that_of_a_loop(templates: Integers | None) -> None:
    found = selection_stability(SCORES, top_k=[20, 4], nodes=NODES, templates=templates, resamples=12, seed=3)
    drawn = resampling_weights(24, 12, seed=3) if templates is None else cluster_weights(templates, 12, seed=3)
    assert [(one.kind, one.k) for one in found] == [("edges", 20), ("edges", 4), ("nodes", 20), ("nodes", 4)]
    for one in found:
        values = by_loop(drawn, one.k, nodes=one.kind == "nodes")
        assert (one.mean, one.resamples, one.message) == (pytest.approx(np.mean(values)), 12, "")
        assert [one.low, one.high] == pytest.approx(np.quantile(values, [0.025, 0.975]))
        assert one.stable == (np.mean(values) >= 0.8)


def test_scores_without_noise_are_stable_and_noise_alone_is_not() -> None:
    (sure,) = selection_stability(np.tile(SCORES[:1], (24, 1)), top_k=[10])
    assert (sure.mean, sure.low, sure.stable, sure.resamples) == (1.0, 1.0, True, 50)
    (noise,) = selection_stability(np.random.default_rng(2).standard_normal((24, EDGES)), top_k=[10])
    assert noise.mean is not None and noise.mean < 0.6 and noise.stable is False


def test_too_few_edges_with_scores_have_a_status() -> None:
    few = np.where(np.arange(EDGES) < 3, SCORES, 0)
    edges, nodes = selection_stability(few, top_k=[5], nodes=NODES)
    for one in (edges, nodes):
        assert (one.mean, one.low, one.stable) == (None, None, None)
        assert one.message == "K = 5: only 3 edges have a score other than zero in a resample of the prompts"
    nowhere = EdgeNodes(np.full((EDGES, 2), -1), [0])
    *_, lost = selection_stability(SCORES, top_k=[5], nodes=nowhere)
    assert lost.mean is None and lost.message == "K = 5: the edges of a resample touch none of the nodes"


def test_what_can_not_be_resampled_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 2 prompts to resample, got 1"):
        selection_stability(SCORES[:1], top_k=[5])
    with pytest.raises(ValueError, match="resamples: expected at least 2, got 1"):
        selection_stability(SCORES, top_k=[5], resamples=1)
    with pytest.raises(ValueError, match="top_k: expected between 1 and 60"):
        selection_stability(SCORES, top_k=[61])
