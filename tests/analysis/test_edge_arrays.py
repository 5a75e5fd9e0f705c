"""Tables and sums over edges, made by columns, are those of slow loops over the edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mechshift_core.analysis.samples import Sample, Side
from mechshift_core.execution.scores import Answers, EdgeScoreStore
from mechshift_core.graph import Graph, Shape
from mechshift_core.interventions.edge_attribution.results import STRONGEST, edge_tables
from mechshift_core.measures.overlap.overlap import edge_strata
from mechshift_core.measures.specialization.specialization import component_effects
from mechshift_core.spec import PairSpec, TaskSpec
from mechshift_core.tables import TABLES
from mechshift_core.tasks.counterfactual import Dataset, Example

SHAPES = (Shape(2, 4, 2, 4, 16), Shape(3, 2, 2, 8, 16, parallel=True))
ROLES = ("end", "other")


def sample(folder: Path, shape: Shape, *, selected: tuple[int, ...] = (0, 2, 3)) -> Sample:
    graph = Graph.of(shape)
    rng = np.random.default_rng(0)
    by_role = rng.normal(size=(5, len(ROLES), len(graph.edges))).astype(np.float32)
    save_file({"scores": by_role.sum(1), "by_role": by_role}, folder / "cell.safetensors")
    files = [folder / "cell.safetensors"]
    metric = np.zeros(5, dtype=np.float32)
    once = np.ones(5, dtype=np.int64)
    answers = Answers(metric, metric, np.ones(5, dtype=bool), np.ones(5, dtype=bool), once, once)
    side = Side("arm", EdgeScoreStore(files), answers, EdgeScoreStore(files, "by_role"), ROLES)
    example = Example("t", (1,), (2,), (3,), (4,), 1, "", "", "", "")
    return Sample(
        PairSpec(name="shift", before="arm", after="arm", role="treatment"),
        TaskSpec(name="mine", regime="local", dataset="mine.jsonl"),
        Dataset("mine", "logit_difference", 5, (example,) * 5),
        graph,
        side,
        side,
        np.array(selected, dtype=np.int64),
        0,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_the_edges_table_is_a_loop_over_the_edges(tmp_path: Path, shape: Shape) -> None:
    made = sample(tmp_path, shape)
    table = edge_tables(made)["edges"][1]
    means = made.scores("after").astype(np.float64).mean(0)
    order = sorted(range(len(means)), key=lambda edge: (-abs(means[edge]), edge))
    for edge, row in enumerate(table.rows(named=True)):
        source, receiver = (nodes[number[edge]] for nodes, number in zip(
            (made.graph.sources, made.graph.receivers), made.graph.edge_index, strict=True
        ))  # fmt: skip
        assert f"{row['source']}->{row['target']}" == made.graph.edges[edge]
        assert row["kind"] == f"{source.kind}->{receiver.kind}"
        assert (row["source_layer"], row["target_layer"]) == (source.layer, receiver.layer)
        assert row["score"] == pytest.approx(means[edge])
        assert order[row["rank"] - 1] == edge
        assert (row["pair"], row["side"], row["task"]) == ("shift", "after", "mine")
    assert table.schema == {name: column.type for name, column in TABLES["edges"].items()}


def test_the_roles_of_the_strongest_edges_only_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core.interventions.edge_attribution import results

    assert STRONGEST == 1000
    monkeypatch.setattr(results, "STRONGEST", 7)
    made = sample(tmp_path, SHAPES[0])
    assert made.before.by_role is not None
    means = made.before.by_role.rows(made.selected).astype(np.float64).mean(0)
    strongest = sorted(range(means.shape[1]), key=lambda edge: -abs(means[:, edge]).sum())[:7]
    table = edge_tables(made)["edge_roles"][0]
    expected = {
        (role, made.graph.edges[edge]): means[number, edge] for number, role in enumerate(ROLES) for edge in strongest
    }
    found = {(row["token_role"], f"{row['source']}->{row['target']}"): row["score"] for row in table.rows(named=True)}
    assert found == pytest.approx(expected)


def test_without_selected_examples_there_are_no_edges(tmp_path: Path) -> None:
    assert edge_tables(sample(tmp_path, SHAPES[0], selected=())) == {}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_component_s_effect_is_the_sum_over_its_outgoing_edges(tmp_path: Path, shape: Shape) -> None:
    made = sample(tmp_path, shape)
    effects = component_effects(made, "before")
    for column, node in enumerate(made.graph.sources[1:]):
        own = [number for number, name in enumerate(made.graph.edges) if name.split("->")[0] == node.name]
        np.testing.assert_allclose(effects[:, column], made.scores("before")[:, own].sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_strata_are_kinds_of_nodes_and_distances_in_layers(shape: Shape) -> None:
    graph = Graph.of(shape)
    labels = [
        (graph.sources[u].kind, graph.receivers[v].kind, graph.receivers[v].layer - graph.sources[u].layer)
        for u, v in zip(*graph.edge_index, strict=True)
    ]
    numbers = {label: number for number, label in enumerate(sorted(set(labels)))}
    assert edge_strata(graph).tolist() == [numbers[label] for label in labels]
