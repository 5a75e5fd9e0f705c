"""How edges run in the drawings of circuits, and what the page's script is given."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from synthetic_circuits import KS, edges_of_shape, nodes, sizes_table

from reports import ReportData
from reports.data import panels_of
from reports.figures import circuit
from reports.figures.layout import Layout, layout_of
from reports.figures.routes import route
from reports.figures.spots import spots_of
from reports.sections import circuit_data, circuits


def shape(layers: int, heads: int, groups: int, *, every: int = 1) -> tuple[Layout, dict[tuple[str, str], str]]:
    """The layout of a model and the route of each of its edges, or of one in so many."""
    sources, receivers = nodes(layers, heads, groups)
    layout = layout_of([name for name, _ in sources], [name for name, *_ in receivers])
    edges = [(sources[at][0], target) for target, _, count in receivers for at in range(count)][::every]
    return layout, {edge: route(layout, *edge) for edge in edges}


def points(path: str, *, count: int = 41) -> npt.NDArray[np.float64]:
    """Points of a route, which is one cubic curve with its handles given from its start, [count, 2]."""
    x, y, *rest = (float(number) for number in re.findall(r"-?[\d.]+", path))
    ends = np.array([(x, y), *((x + rest[at], y + rest[at + 1]) for at in (0, 2, 4))])
    t = np.linspace(0, 1, count)[:, None]
    return np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]) @ ends


def covered(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], *, within: float = 1.5) -> float:
    """Share of the points of one curve that lie on another."""
    return float((np.linalg.norm(one[:, None] - other[None], axis=2).min(axis=1) < within).mean())


@pytest.mark.parametrize(("model", "every"), [((6, 4, 2), 1), ((4, 3, 3), 1), ((30, 9, 3), 97), ((28, 28, 4), 499)])
def test_every_edge_has_a_route_of_its_own_within_the_drawing(model: tuple[int, int, int], every: int) -> None:
    layout, found = shape(*model, every=every)
    assert all(found.values()) and len(set(found.values())) == len(found) > 100
    for path in found.values():
        x, y = points(path, count=9).T
        assert (x > 0).all() and (x < layout.width).all() and (y > 0).all() and (y < layout.height).all()


def test_edges_between_mlps_input_and_logits_do_not_coincide() -> None:
    _, found = shape(6, 4, 2)
    ends = {"input", "logits", *(f"m{layer}" for layer in range(6))}
    drawn = {edge: points(path, count=101) for edge, path in found.items() if set(edge) <= ends}
    assert len(drawn) == 28
    shares = {pair: covered(drawn[pair[0]], drawn[pair[1]]) for pair in combinations(drawn, 2)}
    worst = max(shares, key=lambda pair: shares[pair])
    assert shares[worst] < 0.35, (worst, shares[worst])
    straight = [np.stack([np.zeros(100), np.linspace(0, length, 100)], axis=1) for length in (100, 200)]
    assert covered(*straight) == 1  # as they would if each ran along the column


def test_an_edge_along_a_column_passes_beside_the_heads_between() -> None:
    layout, _ = shape(30, 9, 3, every=1000)
    half, tall = layout.head_size[0] / 2, layout.head_size[1] / 2
    for last in (4, 11, 29):
        path = points(route(layout, "a2.h4", f"a{last}.h4<q>"), count=201)
        for layer in range(4, last - 1):
            x, y = layout.head(layer, 4)
            beside = np.abs(path[np.abs(path[:, 1] - y) < tall, 0] - x)
            assert beside.min() > half - 6, (last, layer)


def test_names_that_are_no_nodes_have_no_route_and_no_box() -> None:
    layout, _ = shape(2, 2, 2)
    for edge in (("<b>", "m1"), ("input", "x"), ("a0.h1", "y"), ("m0", "z")):
        assert route(layout, *edge) == ""
    assert spots_of(layout, ["<b>", "a0.h1<x>"]) == []


def test_boxes_come_by_layer_and_say_what_they_are() -> None:
    layout, _ = shape(2, 4, 2)
    found = spots_of(layout, ["logits", "m1", "a1.kv1<k>", "a1.h2", "a1.h2<q>", "input", "a0.h0"])
    assert [(spot.label, spot.words) for spot in found] == [
        ("input", "input: the embeddings"),
        ("0.0", "layer 0, head 0"),
        ("1.2", "layer 1, head 2"),
        ("q", "layer 1, query of head 2"),
        ("k", "layer 1, key of heads 2 to 3"),
        ("m1", "layer 1, MLP"),
        ("logits", "logits: the output"),
    ]
    head = found[2]
    assert head.shown_by == ("a1.h2", "a1.h2<q>") and head.names == ("a1.h2", "a1.h2<q>", "a1.kv1<k>")


def script_data(data: ReportData) -> dict[str, object]:
    text = circuits.script_data(data)
    assert text is not None and not set("<>&\u2028\u2029") & set(text)
    return json.loads(text)


def test_the_script_is_given_every_edge_up_to_the_largest_k_with_its_scores_and_ranks(run: ReportData) -> None:
    found = script_data(run)
    assert (found["k"], found["ks"], found["left"], found["largest"]) == (40, [*KS], [], 400)
    names, edges = found["names"], found["edges"]
    for panel, (task, pair, rows) in zip(found["panels"], panels_of(run.tables["edges"]), strict=True):
        assert (panel["task"], panel["pair"]) == (task, pair)
        given = {
            (names[edges[at][0]], names[edges[at][1]]): (before or None, after or None)
            for at, before, _, after, _ in panel["rows"]
        }
        made = circuit.edges_of(rows, k=400)
        assert given == {(edge.source, edge.target): (edge.rank_before, edge.rank_after) for edge in made}
        scores = [(row[2], row[4]) for row in panel["rows"]]
        assert scores == [pytest.approx((edge.before, edge.after), rel=1e-3) for edge in made]
        sums = rows.filter((pl.col("side") == "after") & (pl.col("source") == "m2"))["score"].sum()
        assert panel["scores"]["m2"][2] == pytest.approx(sums, rel=1e-3)


def test_the_rank_of_a_node_counts_the_nodes_that_write_more() -> None:
    edges = pl.DataFrame(
        [
            ("before", "input", "m0", 0.4, 1),
            ("before", "m0", "logits", -0.9, 2),
            ("before", "a0.h0", "m0", 0.4, 3),
            ("after", "input", "m0", -0.2, 2),
            ("after", "m0", "logits", 0.1, 3),
            ("after", "a0.h0", "m0", 0.4, 1),
        ],
        schema=["side", "source", "target", "score", "rank"],
        orient="row",
    ).with_columns(task=pl.lit("t"), pair=pl.lit("p"))
    data = ReportData(title="", name="", version="", findings=None, tables={"edges": edges})  # type: ignore[arg-type]
    scores = script_data(data)["panels"][0]["scores"]
    assert scores == {"a0.h0": [0.4, 2, 0.4, 1], "input": [0.4, 2, -0.2, 2], "m0": [-0.9, 1, 0.1, 3]}


def test_scores_by_token_role_come_for_the_strongest_edges(run: ReportData) -> None:
    found = script_data(run)
    table = run.tables["edge_roles"]
    panel = found["panels"][0]
    roles = panel["byRole"]["roles"]
    assert roles and panel["byRole"]["edges"]
    ranks = {row[0]: (row[1], row[3]) for row in panel["rows"]}
    for at, (before, after) in panel["byRole"]["edges"].items():
        assert min(rank for rank in ranks[int(at)] if rank) <= circuit_data.BY_ROLE
        source, target = (found["names"][name] for name in found["edges"][int(at)][:2])
        own = {"task": panel["task"], "pair": panel["pair"], "source": source, "target": target}
        for side, values in (("before", before), ("after", after)):
            rows = table.filter(**own, side=side)
            assert dict(zip(roles, values, strict=True)) == pytest.approx(
                dict(rows.select("token_role", "score").rows()), rel=1e-2
            )


def test_the_largest_k_is_the_largest_that_the_page_has_room_for(
    run: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {k: sum(len(circuit.edges_of(rows, k=k)) for _, _, rows in panels_of(run.tables["edges"])) for k in KS}
    monkeypatch.setattr(circuit_data, "MOST", counts[200])
    found = script_data(run)
    assert (found["largest"], found["ks"], found["left"]) == (200, [50, 100, 200], [400])
    assert sum(len(panel["rows"]) for panel in found["panels"]) == counts[200]


def test_an_edge_costs_little() -> None:
    edges = edges_of_shape(30, 9, 3, strongest=500)
    data = ReportData(title="", name="", version="", findings=None, tables={"edges": edges, "stability": sizes_table()})  # type: ignore[arg-type]
    text = circuits.script_data(data)
    assert text is not None and text == circuits.script_data(data)
    found = json.loads(text)
    assert found["largest"] == 400
    rows = json.dumps(found["panels"][0]["rows"], separators=(",", ":"))
    assert len(rows) / len(found["panels"][0]["rows"]) < 35
    assert len(json.dumps(found["edges"], separators=(",", ":"))) / len(found["edges"]) < 60
    assert len(text) < 110_000


@pytest.mark.long
def test_the_circuits_of_all_tasks_of_a_larger_study_stay_light() -> None:
    edges = edges_of_shape(30, 9, 3, tasks=4, pairs=6, strongest=500)
    data = ReportData(title="", name="", version="", findings=None, tables={"edges": edges, "stability": sizes_table()})  # type: ignore[arg-type]
    text = circuits.script_data(data)
    assert text is not None
    assert len(json.loads(text)["panels"]) == 24
    assert len(text) + len(circuits.section(replace(data, interactive=True)).body) < 2_000_000
