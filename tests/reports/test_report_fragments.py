"""Snapshots of fragments: forest plots, a small circuit, a table body, prompts, sentences, the methods paragraph."""

from __future__ import annotations

import polars as pl
import pytest
from report_markup import read
from synthetic_run import finding
from syrupy.assertion import SnapshotAssertion

from reports import ReportData, formats, methods, prose, tables
from reports.figures import circuit, forest
from reports.sections import circuits, compared, diagnostics, provenance
from reports.sentences import sentence
from reports.templating import render_template
from stats.findings import Findings

EDGES = pl.DataFrame(
    [
        ("before", "input", "a0.h1<q>", 0.4, 1),
        ("before", "a0.h1", "m0", -0.2, 2),
        ("before", "m0", "logits", 0.1, 3),
        ("after", "input", "a0.h1<q>", 0.5, 1),
        ("after", "a0.h1", "m0", 0.01, 3),
        ("after", "m0", "logits", 0.3, 2),
    ],
    schema=["side", "source", "target", "score", "rank"],
    orient="row",
)


def test_forest_plots_of_each_kind(snapshot: SnapshotAssertion, run: ReportData) -> None:
    ranges = forest.scales(run.findings.hypotheses)
    drawn = {found.id: forest.forest(found, scale=ranges[found.measure]) for found in run.findings.hypotheses}
    assert drawn == snapshot


def test_words_at_the_ends_of_an_axis_stand_below_each_other_where_they_would_meet() -> None:
    found = finding()
    scale = forest.scales([found])[found.measure]
    heights = []
    for ends in (("earlier layers", "later layers"), ("components act more alone", "components act more together")):
        sides = read(forest.forest(found, scale=scale, ends=ends)).all("text", class_="side")
        assert len(sides) == 2
        heights.append([float(node.get("y") or 0) for node in sides])
    assert heights[0][0] == heights[0][1] and heights[1][1] - heights[1][0] > 10


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("tasks differ in sign: ioi 0.5, countdown -0.0624 [-0.1, -0.05]",
         "Tasks differ in sign: ioi 0.5, countdown −0.0624 [−0.1, −0.05]."),
        ("control-s4 on ioi: no ceiling", "Why: control-s4 on ioi: no ceiling."),
        ("p is 1e-4!", "P is 1e-4!"),
    ],
)  # fmt: skip
def test_messages_of_findings_are_sentences_with_names_as_they_are(message: str, said: str) -> None:
    assert formats.remark(message) == said


def test_sentences_of_each_verdict(snapshot: SnapshotAssertion, run: ReportData) -> None:
    close = finding(test="equivalence", margin=0.2, estimate=0.01, low=-0.1, high=0.12)
    cases = [*run.findings.hypotheses, close, finding(low=None, high=None, p=None, status="points only")]
    cases += [finding(test="equivalence", margin=0.2, verdict="inconclusive"), finding(verdict="refuted", estimate=0.3)]
    assert [sentence(found) for found in cases] == snapshot
    assert prose.overview(run.findings.hypotheses) == snapshot


def test_the_methods_paragraph(snapshot: SnapshotAssertion, run: ReportData) -> None:
    used = {"studentized bootstrap over prompts": ["first"]}
    text = methods.methods_paragraph(run.methods, version="0.1.0", methods_used=used)
    assert text == snapshot
    assert methods.references(run.methods, equivalence=True) == snapshot


def test_a_small_circuit(snapshot: SnapshotAssertion) -> None:
    found = circuit.edges_of(EDGES, k=2)
    assert circuit.draw(found, layout=circuit.shape_of(EDGES), label="a small circuit", sizes=[1, 2]) == snapshot


def test_a_table_of_text_and_numbers(snapshot: SnapshotAssertion) -> None:
    made = tables.build("A & B", [tables.text("name"), tables.real("value")], [("<b>", -0.00001), (None, 1234.5)])
    template = '{% from "macros.html.j2" import table %}{{ table(one, row_headers=true) }}'
    from reports.templating import environment

    assert environment().from_string(template).render(one=made) == snapshot


def test_prompts_with_their_differences_marked(snapshot: SnapshotAssertion, run: ReportData) -> None:
    shown = compared.prompts_of(run.tables["examples"])
    nothing = dict.fromkeys(("models", "regimes", "pairs", "counts", "accuracies"))
    assert render_template("compared", **nothing, prompts=shown[1:]) == snapshot


def test_diagnostics_name_failures_drops_and_every_status_that_is_not_ok(
    snapshot: SnapshotAssertion, run: ReportData
) -> None:
    assert diagnostics.section(run).body == snapshot


def test_each_edge_is_kept_lost_or_gained_by_its_rank_in_both_models() -> None:
    fates = {(edge.source, edge.target): edge.fate for edge in circuit.edges_of(EDGES, k=2)}
    assert fates == {("input", "a0.h1<q>"): "kept", ("a0.h1", "m0"): "lost", ("m0", "logits"): "gained"}


def test_an_edge_that_one_model_lacks_is_lost_or_gained() -> None:
    one_sided = EDGES.filter((pl.col("side") == "before") | (pl.col("source") == "input"))
    fates = {edge.source: edge.fate for edge in circuit.edges_of(one_sided, k=5)}
    assert fates == {"input": "kept", "a0.h1": "lost", "m0": "lost"}


def test_every_edge_of_a_circuit_is_drawn_with_a_stroke_of_its_fate(run: ReportData) -> None:
    edges = run.tables["edges"].filter((pl.col("task") == "countdown") & (pl.col("pair") == "diffusion-s0"))
    found = circuit.edges_of(edges, k=40)
    tree = read(circuit.draw(found, layout=circuit.shape_of(edges), label="a circuit", sizes=[10, 40]))
    for fate in ("kept", "lost", "gained"):
        assert len(tree.all("path", class_=fate)) == sum(edge.fate == fate for edge in found)
    assert len(tree.all("path", class_="edge")) == len(found) > 40


def test_nodes_lie_within_the_drawing_and_apart_from_each_other(run: ReportData) -> None:
    layout = circuit.shape_of(run.tables["edges"])
    assert (layout.layers, layout.heads, layout.groups) == (6, 4, 2)
    points = [layout.head(layer, head) for layer in range(6) for head in range(4)]
    points += [layout.mlp(layer) for layer in range(6)]
    points += [layout.port(layer, "h", head, "q") for layer in range(6) for head in range(4)]
    points += [layout.port(layer, "kv", group, letter) for layer in range(6) for group in range(2) for letter in "kv"]
    assert all(12 < x < layout.width - 12 and 12 < y < layout.height - 12 for x, y in points)
    gaps = [max(abs(a - c), abs(b - d)) for i, (a, b) in enumerate(points) for c, d in points[:i]]
    assert min(gaps) >= 13


@pytest.mark.parametrize(("ks", "expected"), [([50, 100], [10, 20, 40]), ([12], [3, 6, 12]), ([1], [1])])
def test_sizes_to_choose_from_follow_the_smallest_k(ks: list[int], expected: list[int]) -> None:
    assert circuits.sizes(pl.DataFrame({"k": ks})) == expected


def test_hypotheses_about_one_measure_share_a_scale_that_holds_them_all(run: ReportData) -> None:
    low, high = forest.scales(run.findings.hypotheses)["retention"]
    assert low < -0.628 and high > 0.2
    assert 0.0 in forest.ticks((low, high)) and 2 <= len(forest.ticks((low, high))) <= 5


def test_provenance_is_written_out_to_its_leaves() -> None:
    found = provenance.tree({"a": {"b": [1, 2]}, "c": [{"d": None}], "e": False})
    assert found == [("a", [("b", "1, 2")]), ("c", [("0", [("d", "none")])]), ("e", "no")]


def test_no_hypothesis_means_no_verdict_table() -> None:
    assert "descriptive" in prose.overview(Findings(name="x", hypotheses=(), estimates=()).hypotheses)
