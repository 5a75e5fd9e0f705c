"""Sets of nodes that the strongest edges touch: against loops, and the properties of their retention and chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from stats import EdgeNodes, between_overlap, jaccard, node_permutation_null, retention_index, top_k
from stats.checks import Floats
from stats.overlap import expected_jaccard_within_strata
from stats.split_half import half_overlaps

SOURCES, READERS = 12, 10
EDGES = SOURCES * READERS
ENDS = np.column_stack([np.repeat(np.arange(SOURCES), READERS) - 1, 11 + np.tile(np.arange(READERS), SOURCES) % 9])
"""Nodes 0 to 10 write, 11 to 19 read; the first source is none of them."""
STRATA = np.arange(20) // 5
NODES = EdgeNodes(ENDS, STRATA)
OPTIONS = {"top_k": [5, 20], "splits": 8, "replicates": 40, "nodes": NODES}


def scores(n: int, kept: float = 0.7, seed: int = 0) -> tuple[Floats, Floats]:
    """Two models [n, E] whose edges are products of how strong both of their ends are."""
    rng = np.random.default_rng(seed)
    strong = np.exp(1.5 * rng.standard_normal((2, SOURCES + READERS)))
    strong[1] = strong[0] ** kept * strong[1] ** (1 - kept)
    true = [np.outer(ends[:SOURCES], ends[SOURCES:]).ravel() for ends in strong]
    before, after = (mean + 2 * rng.standard_normal((n, EDGES)) for mean in true)
    return before, after


def nodes_of(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same in Python: a node is in the set where an edge of the set has it at an end."""
    touched = {int(end) for edge in np.flatnonzero(edges) for end in ENDS[edge] if end >= 0}
    return np.array([node in touched for node in range(len(STRATA))])


def test_overlaps_of_nodes_equal_the_loop_in_any_block_size() -> None:
    before, after = scores(20)
    first = np.random.default_rng(0).random((6, 20)) < 0.5
    for block_bytes in (1, 2**25):
        found = half_overlaps(before, after, first, ~first, top_k=[20, 5], nodes=NODES, block_bytes=block_bytes).nodes
        assert found is not None
        for column, k in enumerate((20, 5)):
            for split in range(6):
                b1, b2, a1, a2 = (
                    nodes_of(top_k(model[half].mean(axis=0), k))
                    for model in (before, after)
                    for half in (first[split], ~first[split])
                )
                pairs = ((b1, a2), (b2, a1), (b1, b2), (a1, a2))
                one, other, *ceilings = (float(jaccard(*pair)) for pair in pairs)
                chance = [expected_jaccard_within_strata(*pair, STRATA) for pair in pairs[:2]]
                values = (found.between, found.ceiling_before, found.ceiling_after, found.null)
                assert [value[split, column] for value in values] == pytest.approx(
                    [(one + other) / 2, *ceilings, np.mean(chance)]
                )
                assert found.touched is not None
                assert found.touched[split, column] == min(nodes.sum() for nodes in (b1, b2, a1, a2))


def test_asking_for_nodes_changes_nothing_of_the_edges() -> None:
    both = scores(24)
    alone = OPTIONS | {"nodes": None}
    assert replace(retention_index(*both, **OPTIONS), nodes=None, replicates=None) == replace(
        retention_index(*both, **alone), replicates=None
    )
    assert replace(between_overlap(*both, **OPTIONS), nodes=None, replicates=None) == replace(
        between_overlap(*both, **alone), replicates=None
    )


def test_retention_of_nodes_is_the_ratio_of_its_parts_and_has_paired_replicates() -> None:
    before, after = scores(24)
    found = retention_index(before, after, **OPTIONS).nodes
    assert found is not None and found.estimate is not None and found.replicates is not None
    ratios = [(row.between - row.null) / (row.ceiling - row.null) for row in found.by_k]
    assert found.estimate == pytest.approx(np.mean(ratios))
    assert found.low is not None and found.high is not None and found.low < found.estimate < found.high
    assert found.replicates.std(ddof=1) == pytest.approx(found.se)
    plain = between_overlap(before, after, **OPTIONS).nodes
    assert plain is not None and plain.estimate == pytest.approx(np.mean([row.between for row in found.by_k]))


def test_nodes_of_the_same_model_are_retained_exactly_and_relabelling_them_changes_nothing() -> None:
    before, after = scores(24)
    same = retention_index(before, before, **OPTIONS).nodes
    assert same is not None and same.estimate == pytest.approx(1) and same.se == 0
    order = np.random.default_rng(0).permutation(len(STRATA))
    ends = np.where(ENDS < 0, -1, np.argsort(order)[ENDS])
    moved = retention_index(before, after, **OPTIONS | {"nodes": EdgeNodes(ends, STRATA[order] + 3)}).nodes
    own = retention_index(before, after, **OPTIONS).nodes
    assert own is not None and moved is not None
    assert (own.estimate, own.se) == pytest.approx((moved.estimate, moved.se))


def test_models_with_other_hubs_retain_none_of_their_nodes_on_average() -> None:
    """Edges permuted within strata would touch more nodes than circuits with hubs do, and put chance far above."""
    flat = EdgeNodes(ENDS, np.arange(20) >= 11)
    between, chance, permuted = [], [], []
    for seed in range(60):
        before, after = scores(30, kept=0.0, seed=seed)
        found = retention_index(before, after, top_k=[15], splits=4, replicates=40, nodes=flat).nodes
        assert found is not None
        between.append(found.by_k[0].between)
        chance.append(found.by_k[0].null)
        rng = np.random.default_rng(seed)
        sets = [nodes_of(top_k(one.mean(axis=0)[rng.permutation(EDGES)], 15)) for one in (before, after)]
        permuted.append(float(jaccard(*sets)))
    error = np.std(np.subtract(between, chance), ddof=1) / np.sqrt(60)
    assert abs(np.mean(between) - np.mean(chance)) < 3 * error
    assert np.mean(permuted) > np.mean(between) + 0.2


def test_circuits_can_share_few_edges_and_most_nodes() -> None:
    rng = np.random.default_rng(1)
    true = np.zeros((2, EDGES))
    true[0, rng.permutation(EDGES)[:60]], true[1, rng.permutation(EDGES)[:60]] = 3.0, 3.0
    both = [mean + rng.standard_normal((30, EDGES)) for mean in true]
    found = between_overlap(*both, top_k=[60], splits=4, replicates=40, nodes=NODES)
    assert found.nodes is not None and found.estimate < 0.5 < 0.9 < found.nodes.estimate


def test_the_null_of_nodes_is_that_of_sets_at_random_places() -> None:
    before, after = (one.mean(axis=0) for one in scores(20))
    (found,) = node_permutation_null(before, after, NODES, [20], permutations=4000)
    first, second = nodes_of(top_k(before, 20)), nodes_of(top_k(after, 20))
    assert found.observed == jaccard(first, second) and found.members == min(first.sum(), second.sum())
    rng, drawn = np.random.default_rng(0), []
    for _ in range(4000):
        order = np.lexsort((rng.random(20), STRATA))
        drawn.append(jaccard(first, second[order]))
    assert found.mean == pytest.approx(np.mean(drawn), abs=0.01)
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.06)


def test_a_set_without_a_node_and_one_without_enough_edges_have_a_status() -> None:
    before, after = scores(20)
    nowhere = EdgeNodes(np.full((EDGES, 1), -1), STRATA)
    for found in (
        retention_index(before, after, top_k=[5], splits=4, replicates=40, nodes=nowhere).nodes,
        between_overlap(before, after, top_k=[5], splits=4, replicates=40, nodes=nowhere).nodes,
    ):
        assert found is not None and found.status == "undefined"
        assert found.message == "K = 5: the edges of a half of the prompts touch none of the nodes"
    (null,) = node_permutation_null(before[0], after[0], nowhere, [5])
    assert (null.observed, null.message) == (0.0, "K = 5: the edges touch none of the nodes")
    before[:, 3:] = 0
    (null,) = node_permutation_null(before[0], after[0], NODES, [5])
    assert null.message == "K = 5: only 3 edges have a score other than zero"
    lacking = retention_index(before, after, top_k=[5], splits=4, replicates=40, nodes=NODES).nodes
    assert lacking is not None and lacking.estimate is None and "only 3 edges" in lacking.message


WRONG = {
    "flat": ([0, 1], [0, 0], "nodes: expected integers [edges, width], got int64 of shape (2,)"),
    "real": ([[0.5]], [0], "nodes: expected integers [edges, width], got float64 of shape (1, 1)"),
    "beyond": ([[0], [2]], [0, 0], "nodes: expected -1 or 0 to 1, the numbers of the nodes that have a stratum"),
    "no stratum": ([[0]], [], "strata: expected one for each node, got shape (0,)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_incidence_is_refused(name: str) -> None:
    nodes, strata, message = WRONG[name]
    with pytest.raises(ValueError) as caught:
        EdgeNodes(nodes, strata)
    assert str(caught.value).startswith(message)


def test_nodes_of_another_number_of_edges_are_refused() -> None:
    before, after = scores(10)
    with pytest.raises(ValueError, match="nodes: expected a row for each of 50 edges, got 120"):
        retention_index(before[:, :50], after[:, :50], top_k=[5], splits=2, replicates=40, nodes=NODES)
    with pytest.raises(ValueError, match="expected the same edges on both sides"):
        node_permutation_null(before[0], after[0, :50], NODES, [5])
