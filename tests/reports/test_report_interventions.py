"""What the interventions produce, on the page: faithfulness, transfer, nodes, token roles, how it ran."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import polars as pl
import pytest
from report_markup import read
from scipy import stats as scipy_stats
from synthetic_interventions import patched_components
from syrupy.assertion import SnapshotAssertion

from reports import CircuitFacts, ReportData, formats, methods, render
from reports.figures import faithfulness as curves
from reports.figures import matrix, sides
from reports.figures.matrix import Axis, Cell
from reports.sections import (
    attention,
    faithfulness,
    integration,
    nodes,
    probes,
    provenance,
    specialization,
    targeted,
    token_roles,
)
from reports.tables import ROWS, Table
from reports.templating import environment

ADDED = ("faithfulness", "nodes", "targeted", "token-roles", "attention", "probes", "neurons")


def written(table: Table) -> str:
    return environment().from_string('{% from "macros.html.j2" import table %}{{ table(one) }}').render(one=table)


def small(frame: pl.DataFrame, **kept: object) -> pl.DataFrame:
    return frame.filter([pl.col(name) == value for name, value in kept.items()])


def test_the_tables_behind_faithfulness_and_transfer(snapshot: SnapshotAssertion, run: ReportData) -> None:
    rows = small(run.tables["faithfulness"], task="ioi", pair="diffusion-s0", side="after")
    found = [one for one in run.findings.estimates if (one.task, one.side) == ("ioi", "after")]
    drawn = replace(
        run,
        tables={"faithfulness": rows.filter(pl.col("percent") >= 10)},
        findings=replace(run.findings, estimates=tuple(one for one in found if one.pair == "diffusion-s0")),
    )
    made = faithfulness.section(drawn)
    assert made is not None
    assert len(read(str(made.body)).all("figure", class_="figure")) == 2
    figures = [
        faithfulness.curve_figure(small(drawn.tables["faithfulness"], intervention="faithfulness"), list(found[:2])),
        faithfulness.transfer_figure(small(drawn.tables["faithfulness"], intervention="carried"), list(found[2:3])),
    ]
    assert [written(table) for figure in figures for table in figure.tables] == snapshot


def test_the_tables_behind_nodes_and_token_roles(snapshot: SnapshotAssertion, run: ReportData) -> None:
    rows = small(run.tables["components"], task="ioi", pair="diffusion-s0", side="after", method="mean ablation")
    figure = nodes.component_figure(rows.filter(pl.col("layer") == 0), None, number=1, title="mean ablation")
    roles = small(run.tables["edge_roles"], task="ioi", pair="diffusion-s0")
    tables = [*figure.tables, *token_roles.figure(roles.head(40)).tables]
    assert [written(table) for table in tables] == snapshot


def test_a_targeted_ablation_is_drawn_beside_its_controls(run: ReportData) -> None:
    figure = targeted.figure(run.tables["targeted"], number=1)
    labels = {panel.title + panel.subtitle: str(panel.drawings[0]) for panel in figure.panels}
    assert "early * 0.800 and 3.000, middle 1.400 and 1.400, late −0.200" in labels["countdowndiffusion-s0"]
    assert "early * 0.800, middle" in labels["ioicontrol-s0"]
    assert [panel.note for panel in figure.panels if panel.note] == ["before: failed: no luck."]
    assert len(figure.tables[0].rows) == run.tables["targeted"].height
    made = targeted.section(replace(run, tables={"targeted": run.tables["targeted"].head(1)}))
    assert made is not None and "Effect of losing components" in str(made.body)


def test_probes_are_drawn_by_variable_and_what_is_left_out_is_said(run: ReportData) -> None:
    figure = probes.figure(run.tables["probes"])
    panel = figure.panels[0]
    assert len(panel.drawings) == 2 and panel.note == "Not probed for: rare."
    label = (
        "Accuracy of a probe for answer by layer before and after, ioi, diffusion-s0: L0 30 % to 30 %, L1 30 % to 30 %"
    )
    assert f"{label}, L2 30 % to 55 %" in str(panel.drawings[0])
    assert len(figure.tables[0].rows) == 2 * 2 * 2 * 2 * 7
    only = run.tables["probes"].filter(pl.col("variable") == "rare")
    made = probes.section(replace(run, tables={"probes": only}))
    assert made is not None and "Not probed for: rare." in str(made.body)


def test_attention_is_drawn_where_a_model_sees_to_the_right(run: ReportData) -> None:
    made = attention.section(replace(run, tables={"attention": run.tables["attention"]}))
    assert made is not None
    page = str(made.body)
    assert page.count("Attention to the right by layer before and after, ") == 2
    assert page.count("Neither model can look to the right.") == 2
    rows = run.tables["attention"]
    (layers, changed) = attention.figure(rows).tables
    assert len(layers.rows) == 2 * 2 * 3 * 6
    assert len(changed.rows) == 2 * 2 * attention.LISTED
    one = small(rows, task="ioi", pair="diffusion-s0", side="shift").filter(
        pl.col("head").is_not_null() & ~pl.col("to_role").is_in(["(left)", "(self)"])
    )
    largest = one.filter(pl.col("mass").abs() == pl.col("mass").abs().max()).row(0, named=True)
    first = next(row for row in changed.rows if row[:2] == ("ioi", "diffusion-s0"))
    assert first[2:4] == (f"a{largest['layer']}.h{largest['head']}", largest["to_role"])


def test_how_it_ran_is_said_above_the_provenance(snapshot: SnapshotAssertion, run: ReportData) -> None:
    assert provenance.notes(run.provenance) == snapshot
    assert provenance.notes({"execution": {"dtype": "auto"}, "batching": None, "git": None}) == []


@pytest.mark.long
def test_sections_without_rows_do_not_appear(run: ReportData) -> None:
    added = ("faithfulness", "edge_roles", "attention", "targeted", "probes", "neurons")
    plain = {name: frame for name, frame in run.tables.items() if name not in added}
    plain["components"] = specialization.attributed(run.tables["components"])
    for tables in (plain, {name: frame.clear() for name, frame in run.tables.items()}):
        tree = read(render(replace(run, tables=tables)))
        assert not {section.get("id") for section in tree.all("section")} & set(ADDED)
        assert not [link for link in tree.all("a") if (link.get("href") or "")[1:] in ADDED]
    ids = [section.get("id") for section in read(render(run)).all("section")]
    assert [name for name in ids if name in ADDED] == list(ADDED)


def test_specialization_is_drawn_from_attributions_only(run: ReportData) -> None:
    old = run.tables["components"].filter(pl.col("method") == "attribution")
    old = old.drop("method", "intervention", "token_role")
    drawn = [
        specialization.section(replace(run, tables=run.tables | {"components": frame})).body
        for frame in (run.tables["components"], old)
    ]
    assert drawn[0] == drawn[1]
    patched = run.tables["components"].filter(pl.col("method") != "attribution")
    assert specialization.attributed(patched) is None


def test_every_index_stands_beside_its_null(run: ReportData) -> None:
    indices = run.tables["indices"]
    made = (specialization.section(run), integration.section(run))
    for measure, section in zip(("specialization", "integration"), made, strict=True):
        assert section is not None
        rows = indices.filter(pl.col("measure") == measure)
        (shown,) = [table for table in read(section.body).all("table") if "excess" in table.words()]
        lines = shown.all("tr")[1:]
        assert len(lines) == min(rows.height, ROWS) > 0
        for line, row in zip(lines, rows.head(ROWS).rows(named=True), strict=True):
            for column in ("index", "side", "value", "null", "null_low", "null_high", "excess"):
                value = row[column]
                assert (value if isinstance(value, str) else formats.number(value)) in line.words(), (column, row)


def test_the_declared_index_of_the_graph_is_drawn(run: ReportData) -> None:
    for declared, drawn in (("modularity", "modularity"), ("interaction", "participation coefficient")):
        section = integration.section(replace(run, methods=replace(run.methods, integration=declared)))
        assert section is not None
        labels = [svg.get("aria-label") or "" for svg in read(section.body).all("svg")]
        assert len([label for label in labels if label.startswith(f"{drawn}, ioi, ")]) == 2
    made = ("indices", "interactions", "shapley", "shapley_orders")
    neither = {name: frame for name, frame in run.tables.items() if name not in made}
    assert integration.section(replace(run, tables=neither)) is None


def test_faithfulness_beyond_the_scale_is_drawn_at_its_edge_and_the_caption_says_so(run: ReportData) -> None:
    rows = small(run.tables["faithfulness"], intervention="faithfulness")
    assert "leaves the scale" not in faithfulness.curve_figure(rows, []).caption
    wild = rows.with_columns(low=pl.lit(-40.0), high=pl.lit(40.0))
    assert curves.domain_of(wild) == curves.LIMITS
    assert "leaves the scale" in faithfulness.curve_figure(wild, []).caption
    drawing = read(curves.curves(small(wild, task="ioi", pair="control-s0"), domain=curves.LIMITS, label="x" * 20))
    bands = [path for path in drawing.all("path") if {"f-before", "f-chance"} & set((path.get("class") or "").split())]
    heights = [float(y) for path in bands for y in re.findall(r"[ML]-?[0-9.]+,(-?[0-9.]+)", path.get("d") or "")]
    assert (min(heights), max(heights)) == (0.0, sides.HEIGHT)


def test_a_reason_is_shown_where_faithfulness_is_not_defined(run: ReportData) -> None:
    rows = small(run.tables["faithfulness"], intervention="faithfulness", task="ioi", pair="control-s0")
    values = {name: pl.lit(None, dtype=pl.Float64) for name in ("faithfulness", "low", "high")}
    failed = rows.with_columns(**values, status=pl.lit("the effect of the corruption does not clear 0"))
    figure = faithfulness.curve_figure(failed, [])
    assert figure.panels[0].note.startswith("before: the effect of the corruption does not clear 0; after: ")
    assert "not defined at any size" in figure.panels[0].drawings[0]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ((), ""),
        ((CircuitFacts(name="faithfulness", ablation="zero", held_out=True),), "one half of the prompts"),
        ((CircuitFacts(name="faithfulness", ablation="zero", held_out=False),), "flatters"),
    ],
)
def test_the_text_says_on_which_prompts_edges_were_ranked(
    run: ReportData, facts: tuple[CircuitFacts, ...], said: str
) -> None:
    rows = small(run.tables["faithfulness"], intervention="faithfulness")
    made = faithfulness.section(
        replace(run, tables={"faithfulness": rows}, methods=replace(run.methods, circuits=facts))
    )
    assert made is not None and said in made.body
    assert said or not ("one half" in made.body or "flatters" in made.body)


def test_two_interventions_have_panels_of_their_own_with_their_own_distances(run: ReportData) -> None:
    rows = small(run.tables["faithfulness"], intervention="faithfulness", task="ioi", pair="control-s0")
    both = pl.concat([rows, rows.with_columns(intervention=pl.lit("again"))])
    summary = [one for one in run.findings.estimates if one.measure == "cmd"]
    figure = faithfulness.curve_figure(both, summary)
    assert [(panel.subtitle, len(panel.drawings)) for panel in figure.panels] == [
        ("control-s0, faithfulness", 2),
        ("control-s0, again", 1),
    ]


def test_squares_have_the_area_of_the_magnitude_and_are_hollow_below_zero() -> None:
    cells = [Cell(column=at, row=0, value=value, name=f"n{at}") for at, value in enumerate((1.0, 0.25, -0.25, 0.001))]
    axes = {"columns": Axis(names=("a", "b", "c", "d")), "rows": Axis(names=("L0",))}
    tree = read(matrix.draw(cells, **axes, size=21, top=1.0, side="after", label="x"))
    for class_, edges, titles in (
        ("f-after", ["20", "10"], ["n0: 1.000", "n1: 0.250"]),
        ("f-paper", ["9"], ["n2: −0.250"]),
    ):
        (group,) = tree.all("g", class_=class_)
        assert (group.get("class") or "").endswith("-after")
        paths = [re.fullmatch(r"M\S+ \S+h(\S+)v\1h-\1z", square.get("d") or "") for square in group.children]
        assert [path and path[1] for path in paths] == edges
        assert [square.children[0].text for square in group.children] == titles


def test_a_grid_of_a_large_model_names_its_largest_squares_and_draws_all(run: ReportData) -> None:
    made = random.Random(1)
    cells = [Cell(column=c, row=r, value=made.gauss(0, 1), name=f"{r}.{c}") for r in range(32) for c in range(33)]
    columns = Axis(names=(*matrix.numbered("h", 32, size=6, room=26), "MLP"), apart=1)
    rows = Axis(names=matrix.numbered("L", 32, size=6, room=13)[::-1])
    assert [name for _, name in rows.written] == [f"L{layer}" for layer in range(28, -1, -4)]
    drawing = matrix.draw(cells, columns=columns, rows=rows, size=6, top=4.0, side="before", label="x")
    tree = read(drawing)
    drawn = sum((path.get("d") or "").count("M") for path in tree.all("path") if path.get("class") != "stripe")
    assert drawn == sum(abs(cell.value) >= 0.04 for cell in cells)
    assert len(tree.all("title")) == matrix.NAMED and len(drawing) < 40_000
    assert float(tree.children[0].get("width") or 0) < 358


def test_the_rank_correlation_is_spearmans_of_the_magnitudes() -> None:
    made = random.Random(2)
    one, other = ([round(made.gauss(0, 1), 1) for _ in range(40)] for _ in range(2))
    frames = [pl.DataFrame({"component": range(40), "effect": values}) for values in (one, other)]
    expected = scipy_stats.spearmanr([abs(v) for v in one], [abs(v) for v in other]).statistic
    assert nodes.rank_agreement(*frames) == (pytest.approx(expected, abs=1e-12), 40)
    assert nodes.rank_agreement(frames[0], frames[1].with_columns(effect=0.5)) is None
    assert nodes.rank_agreement(frames[0].head(2), frames[1]) is None


def test_shares_of_the_token_roles_add_up_and_follow_the_magnitudes() -> None:
    rows = pl.DataFrame(
        [("s1", "a", 3.0), ("end", "a", -1.0), ("s1", "b", -2.0), ("end", "b", 4.0)],
        schema=["token_role", "source", "score"],
        orient="row",
    ).with_columns(task=pl.lit("t"), pair=pl.lit("p"), side=pl.lit("before"), target=pl.lit("m"))
    assert dict(token_roles.shares(rows).select("token_role", "share").rows()) == {"s1": 0.5, "end": 0.5}
    found = token_roles.main_roles(rows).select("source", "score", "main", "share").rows()
    assert found == [("b", 2.0, "end", pytest.approx(2 / 3)), ("a", 2.0, "s1", 0.75)]
    nothing = rows.with_columns(score=0.0)
    assert token_roles.shares(nothing)["share"].to_list() == [0.0, 0.0]


def test_every_side_is_drawn_where_it_is_and_nothing_where_it_is_not() -> None:
    rows = pl.DataFrame({"side": ["after"], "value": [0.5], "low": [None], "high": [None], "null": [None]})
    tree = read(sides.observed(rows, title="CMD", domain=(0.0, 1.0), label="distance of the model after"))
    assert len(tree.all("rect", class_="f-after")) == 1
    assert not [mark for mark in tree.walk() if mark.get("class") == "f-before"]


def test_the_methods_paragraph_says_how_circuits_were_run(run: ReportData) -> None:
    text = methods.methods_paragraph(run.methods, version="1", methods_used={})
    assert "In faithfulness, circuits of the edges with the largest scores, ranked on one half" in text
    assert "beside 5 random circuits" in text and "grown greedily" in text
    assert any("2504.13151" in (work.href or "") for work in methods.references(run.methods, equivalence=False))


@pytest.mark.long
def test_the_page_of_a_large_model_stays_below_five_megabytes(run: ReportData) -> None:
    kinds = ["pair", "role", "model", "side", "task", "regime"]
    base = (
        run.tables["components"].filter(pl.col("method") == "attribution").drop("intervention", "method", "token_role")
    )
    names = [(f"a{layer}.h{head}", "head", layer) for layer in range(32) for head in range(32)]
    grid = pl.DataFrame(names, schema=["component", "kind", "layer"], orient="row")
    made = random.Random(4)
    wide = base.select(kinds).unique(maintain_order=True).join(grid, how="cross")
    wide = wide.with_columns(effect=pl.Series([made.gauss(0, 1) for _ in range(wide.height)]))
    wide = wide.with_columns(low=pl.col("effect") - 0.1, high=pl.col("effect") + 0.1)
    tables = run.tables | {"components": patched_components(wide, layers=32, heads=32)}
    assert len(render(replace(run, tables=tables)).encode()) < 5_000_000
