"""A circuit file that is wrong, or hostile: every error says where, what was expected, and what came."""

from __future__ import annotations

import json
import os
import pickle
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechshift_core.errors import UsageError
from mechshift_core.interchange import read_circuit

DATA = Path(__file__).parents[1] / "data" / "interchange"
Change = Callable[[dict[str, Any]], object]


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    start = time.process_time()
    with pytest.raises(UsageError) as caught:
        read_circuit(path)
    assert time.process_time() - start < 5 and len(str(caught.value)) < 600
    assert caught.value.exit_code == 2 and str(path) in str(caught.value)
    return str(caught.value)


def edge(name: str, entry: object) -> Change:
    return lambda content: content["edges"].update({name: entry})


def config(**changes: object) -> Change:
    return lambda content: content["cfg"].update(changes)


SCORED = {"score": 1.0, "in_graph": False}
CASES: list[tuple[Change, str]] = [
    (edge("a1.h0->logits", SCORED), "no edges of its graph (1 layers with 2 heads), the first 'a1.h0->logits': there is"
     " no layer 1 (layers are 0 to 0)"),
    (edge("a0.h2->logits", SCORED), "there is no head 2 (heads are 0 to 1)"),
    (edge("input->a0.kv0<k>", SCORED), "every query head has keys and values of its own, named 'a0.h0<k>'"),
    (edge("m0->a0.h0<q>", SCORED), "its receiver is computed before its source"),
    (edge("input->a0.h0", SCORED), "names look like 'a0.h1->m1'"),
    (edge("input->m0", {"score": float("nan")}), "edge 'input->m0': expected a finite number as score, got nan"),
    (edge("input->m0", {"score": float("inf")}), "expected a finite number as score, got inf"),
    (edge("input->m0", {"score": 10**400}), "expected a finite number as score"),
    (edge("input->m0", {"score": "1"}), "expected a finite number as score, got '1'"),
    (edge("input->m0", {"score": True}), "expected a finite number as score, got true"),
    (edge("input->m0", {"score": None}), "expected a finite number as score, got nothing"),
    (edge("input->m0", {"score": 1.0, "in_graph": "yes"}), "expected true or false for whether it is in the circuit"),
    (edge("input->m0", 1.0), "edge 'input->m0': expected a mapping with 'score' and 'in_graph', got 1.0"),
    (edge("input->m0", {"in_graph": True}), "12 of 13 edges have a score, but 'input->m0' has none"),
    (config(n_layers="1"), "cfg: expected a whole number as 'n_layers', got '1'"),
    (config(n_heads=None), "cfg: expected a whole number as 'n_heads', got nothing"),
    (config(n_layers=0), "expected numbers of layers and heads above 0"),
    (config(n_layers=10**9), "more than 5,000,000 edges"),
    (config(n_heads=10**6), "more than 5,000,000 edges"),
    (config(parallel_attn_mlp=0), "expected true or false as 'parallel_attn_mlp', got 0"),
    (lambda content: content.pop("cfg"), "there is no 'cfg'"),
    (lambda content: content.pop("edges"), "there is no 'edges'"),
    (lambda content: content.update(edges=[]), "edges: expected a mapping of edges, got a list"),
    (lambda content: content.update(edges={}), "no edge has a score other than 0, and none is in a circuit"),
    (lambda content: content["nodes"].update(a7={}), "'a7' is no node of its graph"),
    (lambda content: content["nodes"]["m0"].update(neurons=[True]), "node 'm0' has neurons"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_what_is_wrong_with_a_file_of_eap_ig_is_said(change: Change, message: str, tmp_path: Path) -> None:
    content = json.loads((DATA / "eap-ig.json").read_text())
    change(content)
    assert message in refused(tmp_path / "bad.json", json.dumps(content))


def test_scores_of_nodes_alone_are_refused_with_advice(tmp_path: Path) -> None:
    content = json.loads((DATA / "eap-ig.json").read_text())
    for entry in content["edges"].values():
        entry |= {"score": 0.0, "in_graph": False}
    content["nodes"]["m0"]["score"] = 0.5
    assert "`graph.apply_topn(n, level='node')`" in refused(tmp_path / "nodes.json", json.dumps(content))
    assert "scores of nodes, as CircuitKIT writes" in refused(tmp_path / "kit.json", '{"node_scores": {"A0.1": 0.5}}')


def test_scores_of_nodes_beside_a_circuit_of_edges_are_left_aside(tmp_path: Path) -> None:
    content = json.loads((DATA / "eap-ig.json").read_text())
    content["nodes"]["m0"]["score"] = float("nan")  # as EAP-IG writes a node without a score
    content["nodes"]["input"]["score"] = 0.5
    (tmp_path / "both.json").write_text(json.dumps(content))
    assert read_circuit(tmp_path / "both.json").notes == ("scores of nodes are left aside",)


def test_a_file_that_was_cut_short_is_no_json(tmp_path: Path) -> None:
    text = (DATA / "eap-ig.json").read_text()
    for length in range(1, len(text), 37):
        message = refused(tmp_path / "cut.json", text[:length])
        assert "not JSON" in message and ("cut short" in message or length < 400 or ":1:" in message)
    assert "is empty" in refused(tmp_path / "empty.json", "")


def test_an_edge_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    text = (DATA / "eap-ig.json").read_text().replace('"a0.h1->m0"', '"a0.h0->m0"')
    assert "the key 'a0.h0->m0' is there twice" in refused(tmp_path / "twice.json", text)
    own = (DATA / "by-hand.json").read_text().replace("a0.h1->logits", "input->a0.kv0<v>")
    assert "'input->a0.kv0<v>' is there twice" in refused(tmp_path / "own.json", own)


def test_what_is_wrong_with_json_of_ours_is_said(tmp_path: Path) -> None:
    text = (DATA / "by-hand.json").read_text()
    for old, new, message in (
        ('"version": 1', '"version": 2', "expected version 1, got 2"),
        ('"circuit"', '"circuits"', "unknown key 'circuits'"),
        ("a0.kv0<v>", "a0.h0<v>", "keys and values are those of 1 shared heads here, named 'a0.kv0<k>'"),
        ('"heads": 2', '"heads": 3.5', "expected a whole number as 'heads', got 3.5"),
        ('"key_value_heads": 1', '"key_value_heads": 3', "key/value heads that divide the heads"),
        ('["input->a0.kv0<v>", "a0.h1->logits"]', "3", "circuit: expected a list of names of edges, got 3"),
        ('"circuit"', '"about": {"task": 3}, "circuit"', "about: task: expected text, got 3"),
    ):
        assert message in refused(tmp_path / "own.json", text.replace(old, new))


def test_pickled_files_are_not_opened(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {marker}",)

    for name in ("graph.pt", "graph.json"):
        message = refused(tmp_path / name, pickle.dumps(Hostile()))
        assert "`Graph.from_pt('x.pt').to_json('x.json')`" in message
    assert "pickled" in refused(tmp_path / "zip.json", b"PK\x03\x04...")
    assert not marker.exists()


def test_only_regular_files_of_a_limited_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path, message in (
        (tmp_path / "pipe.json", "no regular file"),
        (Path("/dev/zero"), "no regular file"),
        (tmp_path, "no regular file"),
        (tmp_path / "none.json", "No such file"),
    ):
        with pytest.raises(UsageError, match=message):
            read_circuit(path)
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UsageError, match="it has 1024 MiB; at most 256 MiB are read"):
        read_circuit(tmp_path / "large.json")


def test_other_encodings_are_refused_with_their_place(tmp_path: Path) -> None:
    message = refused(tmp_path / "latin.json", '{"cfg": "é"}'.encode("latin-1"))
    assert "expected UTF-8, got the byte 0xe9 at place 9" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html></html>", "expected <graphml>, got <html>"),
        ("<graphml><graph edgedefault='undirected'/></graphml>", "expected a directed graph (edgedefault)"),
        ("<graphml><graph edgedefault='directed'/></graphml>", "expected a whole number as 'layers', got nothing"),
        ("<graphml><graph", "not XML"),
        ("<!DOCTYPE graphml [<!ENTITY a 'b'>]><graphml/>", "a document type is not read"),
        ("<graphml>" + "<a>" * 50_000, "nested too deeply"),
    ],
)
def test_xml_that_is_no_graph_is_refused(text: str, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path / "bad.graphml", text)


def test_what_is_wrong_with_an_edge_of_graphml_is_said(tmp_path: Path) -> None:
    from mechshift_core.interchange import write_circuit

    write_circuit(read_circuit(DATA / "eap-ig.json"), tmp_path / "good.graphml", "graphml")
    text = (tmp_path / "good.graphml").read_text()
    for old, new, message in (
        ('target="m0"', 'target="m9"', "there is no layer 9"),
        (">0.25<", ">nan<", "edge 'input->a0.h0<v>': expected a finite number as score, got 'nan'"),
        (">0.25<", ">a quarter<", "expected a finite number as score, got 'a quarter'"),
        (">true<", ">maybe<", "expected true or false as 'in_circuit', got 'maybe'"),
        ('"a0.h1" target="m0"', '"a0.h0" target="m0"', "the edge 'a0.h0->m0' is there twice"),
    ):
        assert old in text
        assert message in refused(
            tmp_path / "bad.graphml", text.replace(old, new, 1) if ">" in new else text.replace(old, new)
        )


def test_deep_brackets_do_not_end_the_process(tmp_path: Path) -> None:
    assert "not JSON" in refused(tmp_path / "deep.json", "[" * 200_000)
    assert "expected a mapping" in refused(tmp_path / "list.json", "[]")


def test_any_damage_is_read_or_refused(tmp_path: Path) -> None:
    """Bytes changed, dropped and doubled: nothing but the declared error comes out."""
    originals = [path.read_bytes() for path in sorted(DATA.glob("*.json"))]
    for case in range(300):
        draw = random.Random(case)
        content = bytearray(draw.choice(originals))
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(content))
            match draw.randrange(3):
                case 0:
                    content[place] = draw.randrange(256)
                case 1:
                    del content[place : place + draw.randint(1, 30)]
                case _:
                    content[place:place] = content[place : place + draw.randint(1, 30)]
        (tmp_path / "damaged.json").write_bytes(content)
        try:
            read_circuit(tmp_path / "damaged.json")
        except UsageError as error:
            assert str(error).strip() and len(str(error)) < 600
