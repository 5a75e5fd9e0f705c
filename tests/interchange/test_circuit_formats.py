"""The formats as their tools write them, and the way there and back for any architecture."""

from __future__ import annotations

import json
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from circuits import circuits, same, shapes
from hypothesis import given
from hypothesis import strategies as st

from mechshift_core.graph import Graph, Shape
from mechshift_core.interchange import ScoredCircuit, read_circuit, write_circuit
from mechshift_core.interchange.circuit import components_of, edge_count
from mechshift_core.interchange.formats import FORMATS

DATA = Path(__file__).parents[1] / "data" / "interchange"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("formats")


def test_a_file_as_eap_ig_writes_it_is_read() -> None:
    found = read_circuit(DATA / "eap-ig.json")
    assert found.shape == Shape(1, 2, 2, 0, 8, False)
    assert found.names == ("input->a0.h0<v>", "input->m0", "a0.h0->m0", "m0->logits")
    assert found.scores is not None and found.notes == ()
    by_name = dict(zip(found.graph.edges, found.scores.tolist(), strict=True))
    assert by_name["input->a0.h1<q>"] == -0.03757336363196373
    assert by_name["a0.h0->m0"] == -0.75


@pytest.mark.parametrize("name", ["eap-ig.json", "eap-ig-parallel.json"])
@pytest.mark.parametrize("format", ["mib", "eap-ig"])
def test_it_is_written_again_byte_for_byte(name: str, format: str, tmp_path: Path) -> None:
    write_circuit(read_circuit(DATA / name), tmp_path / "again.json", format)  # type: ignore[arg-type]
    assert (tmp_path / "again.json").read_bytes() == (DATA / name).read_bytes()


def test_scores_alone_are_no_circuit() -> None:
    found = read_circuit(DATA / "eap-ig-parallel.json")
    assert found.member is None and found.shape.parallel
    assert found.scores is not None and found.scores.sum() == sum(range(1, 22))


def test_a_circuit_of_mib_may_have_no_scores() -> None:
    found = read_circuit(DATA / "one-circuit.json")
    assert found.scores is None and found.names == ("input->m0", "m0->logits") and found.notes == ()


def test_edges_that_a_file_of_scores_lacks_are_counted(tmp_path: Path) -> None:
    content = json.loads((DATA / "eap-ig.json").read_text())
    del content["edges"]["input->m0"]
    (tmp_path / "some.json").write_text(json.dumps(content))
    found = read_circuit(tmp_path / "some.json")
    assert found.notes == ("1 of the 13 edges of the graph are not in the file; they count as edges with the score 0",)
    assert "input->m0" not in found.names


def test_a_circuit_by_hand_in_json_of_ours() -> None:
    found = read_circuit(DATA / "by-hand.json")
    assert found.names == ("input->a0.kv0<v>", "a0.h1->logits") and found.scores is None
    assert found.apart().names == ("input->a0.h0<v>", "input->a0.h1<v>", "a0.h1->logits")
    assert components_of(found) == components_of(found.apart()) == {"input", "a0.h1"}


@given(circuits(), st.sampled_from(["graphml", "json"]))
def test_ours_and_graphml_lose_nothing(folder: Path, circuit: ScoredCircuit, format: str) -> None:
    write_circuit(circuit, folder / "file", format)  # type: ignore[arg-type]
    found = read_circuit(folder / "file")
    assert same(found, circuit) and (found.shape, found.about) == (circuit.shape, circuit.about)


@given(circuits(shared=False), st.sampled_from(["mib", "eap-ig"]))
def test_eap_ig_loses_nothing_where_no_heads_are_shared(folder: Path, circuit: ScoredCircuit, format: str) -> None:
    write_circuit(circuit, folder / "file.json", format)  # type: ignore[arg-type]
    content = json.loads((folder / "file.json").read_text())
    assert set(content["edges"]) == set(circuit.graph.edges)
    assert set(content["nodes"]) == {*circuit.graph.source_numbers, "logits"}
    found = read_circuit(folder / "file.json")
    scores = np.zeros(len(circuit.graph.edges)) if circuit.scores is None else circuit.scores
    assert found.scores is None or (found.scores == scores).all()
    assert found.names == circuit.names


@given(circuits(shared=True))
def test_shared_heads_go_to_eap_ig_and_back(folder: Path, circuit: ScoredCircuit) -> None:
    write_circuit(circuit, folder / "file.json", "eap-ig")
    found = read_circuit(folder / "file.json")
    assert found.shape.key_value_heads == found.shape.heads == circuit.shape.heads
    back = found.together(circuit.shape.key_value_heads)
    assert back.graph.edges == circuit.graph.edges
    assert back.names == circuit.names
    if circuit.scores is not None and back.scores is not None:
        np.testing.assert_allclose(back.scores, circuit.scores, rtol=1e-12)


@given(shapes())
def test_edges_are_counted_without_making_the_graph(shape: Shape) -> None:
    assert edge_count(shape) == len(Graph.of(shape).edges)


def test_heads_of_a_group_that_differ_can_not_be_put_together() -> None:
    shape = Shape(1, 2, 2, 4, 8)
    member = Graph.of(shape).membership(["input->a0.h1<k>", "input->logits"])
    source, receiver = Graph.of(shape).edge_index
    circuit = ScoredCircuit(shape=shape, member=member[source, receiver])
    with pytest.raises(ValueError, match=r"of 'input->a0\.kv0<k>' only 1 of 2 readers are in the circuit"):
        circuit.together(1)
    with pytest.raises(ValueError, match="can't be made 3"):
        circuit.together(3)


@given(circuits())
def test_networkx_reads_graphml_and_what_it_writes_is_read_again(folder: Path, circuit: ScoredCircuit) -> None:
    write_circuit(circuit, folder / "one.graphml", "graphml")
    graph = nx.read_graphml(folder / "one.graphml", force_multigraph=True)
    assert isinstance(graph, nx.MultiDiGraph) and nx.is_directed_acyclic_graph(graph)
    assert {key for _, _, key in graph.edges(keys=True)} == set(circuit.graph.edges)
    assert graph.graph["layers"] == circuit.shape.layers and graph.graph["parallel"] is circuit.shape.parallel
    assert graph.nodes["input"]["kind"] == "input" and graph.nodes["m0"]["layer"] == 0
    inside = [key for _, _, key, data in graph.edges(keys=True, data=True) if data.get("in_circuit")]
    assert set(inside) == set(circuit.names)
    nx.write_graphml(graph, folder / "two.graphml")
    found = read_circuit(folder / "two.graphml")
    assert same(found, circuit) and (found.shape, found.about) == (circuit.shape, circuit.about)


def test_utf_16_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = (DATA / "by-hand.json").read_text()
    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "file.json").write_text(text, encoding=encoding)
        assert read_circuit(tmp_path / "file.json").names == read_circuit(DATA / "by-hand.json").names


def test_every_format_has_a_writer() -> None:
    assert FORMATS == ("mib", "eap-ig", "graphml", "json")
