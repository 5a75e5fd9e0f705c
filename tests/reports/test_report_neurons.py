"""The section on neurons: what is drawn is what the table says, and what is missing is not drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from report_markup import Element, read

from reports import ReportData, formats
from reports.figures import neurons as drawings
from reports.figures.neurons import Frame, Neuron
from reports.sections import neurons
from reports.sections.neurons import LISTED

SHAPES = {"before": "circle", "after": "rect"}
Row = dict[str, Any]


def drawn(rows: pl.DataFrame, *, task: str, pair: str, side: str) -> Element:
    """The drawing of one model."""
    figure = neurons.figure(rows, number=1)
    (panel,) = [one for one in figure.panels if (one.title, one.subtitle) == (task, pair)]
    (made,) = [one for one in panel.drawings if f"strongest neurons {side} (" in one]
    return read(str(made)).children[0]


def rows_of(table: pl.DataFrame, **kept: str) -> list[Row]:
    """The rows that are drawn."""
    found = table.filter([pl.col(name) == value for name, value in kept.items()])
    return found.sort("rank").head(LISTED).to_dicts()


def points(drawing: Element, side: str) -> list[Element]:
    return [mark for mark in drawing.all(SHAPES[side]) if mark.all("title")]


def centre(mark: Element) -> tuple[float, float]:
    if mark.tag == "circle":
        return float(mark.get("cx") or ""), float(mark.get("cy") or "")
    x, y, half = (float(mark.get(name) or "") for name in ("x", "y", "width"))
    return x + half / 2, y + half / 2


def strokes(drawing: Element, class_: str) -> list[tuple[float, float, float]]:
    """Start and length of every stroke of a class."""
    (path,) = [one for one in drawing.all("path", class_=class_) if one.get("stroke-width")]
    found = re.findall(r"M(\S+) (\S+?)[hv]([\d.]+)", path.get("d") or "")
    return [(float(x), float(y), float(length)) for x, y, length in found]


def axis(drawing: Element) -> tuple[float, float]:
    """x of a score as `first + value * second`, read off the numbers below the axis."""
    numbers = [one for one in drawing.all("text", class_="middle") if float(one.get("x") or 0) < 240]
    (x0, v0), (x1, v1) = [
        (float(one.get("x") or ""), float(one.text.replace("−", "-"))) for one in (numbers[0], numbers[-1])
    ]
    slope = (x1 - x0) / (v1 - v0)
    return x0 - slope * v0, slope


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("task", ["ioi", "countdown"])
def test_scores_intervals_and_the_other_models_scores_stand_where_the_table_says(
    run: ReportData, task: str, side: str
) -> None:
    where = {"task": task, "pair": "diffusion-s0", "side": side}
    rows = rows_of(run.tables["neurons"], **where)
    drawing = drawn(run.tables["neurons"], **where)
    start, slope = axis(drawing)
    other = "after" if side == "before" else "before"
    marks = points(drawing, side)
    assert len(marks) == len(rows) == LISTED
    values = zip(rows, marks, strokes(drawing, f"s-{side}"), strokes(drawing, f"s-{other}"), strict=True)
    for row, mark, (low, y, length), (tick, *_) in values:
        assert centre(mark) == pytest.approx((start + slope * row["score"], y), abs=0.11)
        assert (low, low + length) == pytest.approx((start + slope * row["low"], start + slope * row["high"]), abs=0.21)
        assert tick == pytest.approx(start + slope * row["partner"], abs=0.11)
    heights = [y for _, y, _ in strokes(drawing, f"s-{side}")]
    assert heights == sorted(heights) and len(set(heights)) == LISTED


def test_names_words_and_titles_are_those_of_the_table(run: ReportData) -> None:
    where = {"task": "ioi", "pair": "diffusion-s0", "side": "after"}
    rows = rows_of(run.tables["neurons"], **where)
    drawing = drawn(run.tables["neurons"], **where)
    names = [f"m{row['layer']}.n{row['neuron']}" for row in rows]
    assert [text.text for text in drawing.all("text", class_="end")] == names
    for row, name, mark in zip(rows, names, points(drawing, "after"), strict=True):
        said = mark.children[0].text
        assert said == (
            f"{name}: {formats.number(row['score'])} {formats.interval(row['low'], row['high'])}, "
            f"{formats.p_statement(row['p_corrected'])}; before {formats.number(row['partner'])}; selectivity "
            f"{formats.number(row['selectivity'])} for {row['answer']}, permuted "
            f"{formats.number(row['selectivity_null'])}; most active at {row['tokens']}"
        )
        assert f"{name} {formats.number(row['score'])} ({formats.number(row['partner'])})" in drawing.get("aria-label")
    words = [text.text for text in drawing.all("text") if not text.get("class")]
    assert words == [row["answer"] if len(row["answer"]) < 10 else "Christop…" for row in rows]
    assert "Christop…" in words


def test_selectivity_stands_beside_its_null_on_a_scale_that_ends_at_one(run: ReportData) -> None:
    where = {"task": "ioi", "pair": "control-s0", "side": "before"}
    rows = rows_of(run.tables["neurons"], **where)
    drawing = drawn(run.tables["neurons"], **where)
    (zero, one) = [text for text in drawing.all("text", class_="middle") if float(text.get("x") or 0) > 240]
    assert (zero.text, one.text) == ("0", "1")
    start, end = (float(text.get("x") or "") for text in (zero, one))
    (dots,) = drawing.all("g", class_="f-ink")
    for row, dot, (null, *_) in zip(rows, dots.children, strokes(drawing, "s-chance"), strict=True):
        assert centre(dot)[0] == pytest.approx(start + (end - start) * row["selectivity"], abs=0.11)
        assert null == pytest.approx(start + (end - start) * row["selectivity_null"], abs=0.11)


def test_only_scores_with_a_small_corrected_p_are_filled_and_the_text_counts_them(run: ReportData) -> None:
    where = {"task": "ioi", "pair": "diffusion-s0", "side": "before"}
    table = run.tables["neurons"].with_columns(
        p_corrected=pl.when(pl.col("rank") == 2)
        .then(None)
        .when(pl.col("rank") == 3)
        .then(0.05)
        .otherwise("p_corrected")
    )
    drawing = drawn(table, **where)
    hollow = [(mark.get("class") or "") == "f-paper s-before" for mark in points(drawing, "before")]
    expected = [not (row["p_corrected"] or 1) < 0.05 for row in rows_of(table, **where)]
    assert hollow == expected and expected[:3] == [True, True, True] and not all(expected)
    assert f"Corrected p below .05: {expected.count(False)} of 10." in (drawing.get("aria-label") or "")
    assert "p = –;" in points(drawing, "before")[1].children[0].text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_names_of_neurons_that_both_models_have_are_bold_also_beyond_those_drawn(run: ReportData) -> None:
    table = run.tables["neurons"].filter(pl.col("task") == "countdown", pl.col("pair") == "control-s0")
    sets = {
        side: {f"m{layer}.n{neuron}" for layer, neuron in found.select("layer", "neuron").rows()}
        for (side,), found in table.partition_by("side", as_dict=True).items()
    }
    moved = table.with_columns(rank=pl.when(pl.col("side") == "after").then(13 - pl.col("rank")).otherwise("rank"))
    for frame in (table, moved):
        drawing = drawn(frame, task="countdown", pair="control-s0", side="before")
        names = [text.text for text in drawing.all("text", class_="end")]
        bold = [text.text for text in drawing.all("text", class_="strong") if text.text in names]
        assert bold == [name for name in names if name in sets["after"]] and 0 < len(bold) < len(names)
        shared = (drawing.get("aria-label") or "").split("Among the strongest after as well: ")[1]
        assert shared == f"{formats.listed(bold)}."


def test_without_selectivity_the_tokens_take_its_place(run: ReportData) -> None:
    drawing = drawn(run.tables["neurons"], task="countdown", pair="diffusion-s0", side="after")
    assert [text.text for text in drawing.all("text", class_="strong")][:2] == ["after, score", "most active at"]
    words = {text.text for text in drawing.all("text") if not text.get("class")}
    assert words == {"had (6 of 10), on W…"}
    assert not drawing.all("g", class_="f-ink") and not drawing.all("path", class_="s-chance")
    assert "selectivity" not in points(drawing, "after")[0].children[0].text
    both = neurons.figure(run.tables["neurons"], number=1)
    only = neurons.figure(run.tables["neurons"].filter(pl.col("task") == "countdown"), number=1)
    assert len(both.legend) == len(only.legend) + 1 and "selective" in both.caption and "selective" not in only.caption


def test_what_is_missing_is_not_drawn(run: ReportData) -> None:
    where = {"task": "ioi", "pair": "diffusion-s0", "side": "before"}
    gone = ("score", "low", "high", "partner", "selectivity", "selectivity_null", "p_corrected")
    for name in gone:
        table = run.tables["neurons"].with_columns(pl.when(pl.col("rank") == 1).then(None).otherwise(name).alias(name))
        drawing = drawn(table, **where)
        assert len(points(drawing, "before")) == LISTED - (name == "score"), name
        assert len(strokes(drawing, "s-before")) == LISTED - (name in ("low", "high")), name
        assert len(strokes(drawing, "s-after")) == LISTED - (name == "partner"), name
        assert len(drawing.all("g", class_="f-ink")[0].children) == LISTED - (name == "selectivity"), name
        assert len(strokes(drawing, "s-chance")) == LISTED - (name == "selectivity_null"), name
        assert len(drawing.all("text", class_="end")) == LISTED
    nothing = run.tables["neurons"].with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in gone)
    drawing = drawn(nothing.with_columns(answer=pl.lit(None, pl.String), tokens=pl.lit(None, pl.String)), **where)
    assert not points(drawing, "before") and not [path for path in drawing.all("path") if path.get("stroke-width")]
    assert {text.text for text in drawing.all("text") if not text.get("class")} == {"–"}


def test_a_model_without_neurons_is_named(run: ReportData) -> None:
    table = run.tables["neurons"].filter(~((pl.col("side") == "after") & (pl.col("pair") == "control-s0")))
    figure = neurons.figure(table, number=1)
    assert [(len(panel.drawings), panel.note) for panel in figure.panels] == [
        (2, ""),
        (1, "No neurons of the model after."),
    ] * 2


def test_drawings_of_a_task_share_their_axes_and_those_of_another_do_not(run: ReportData) -> None:
    shared = {
        task: {
            re.findall(r'<g class="places">.*?</g>', str(drawing))[0]
            for panel in neurons.figure(run.tables["neurons"], number=1).panels
            if panel.title == task
            for drawing in panel.drawings
        }
        for task in ("ioi", "countdown")
    }
    assert [len(found) for found in shared.values()] == [1, 1] and shared["ioi"] != shared["countdown"]


def test_the_caption_says_when_not_all_are_drawn(run: ReportData) -> None:
    assert "the first 10 of 12," in neurons.figure(run.tables["neurons"], number=1).caption
    few = run.tables["neurons"].filter(pl.col("rank") <= LISTED)
    assert "the first" not in neurons.figure(few, number=1).caption
    figure = neurons.figure(run.tables["neurons"], number=1)
    assert len(figure.tables[0].rows) == run.tables["neurons"].height


def test_the_overlap_is_drawn_beside_chance_and_what_is_not_defined_is_said(run: ReportData) -> None:
    found = [one for one in run.findings.estimates if one.measure == "neuron_overlap"]
    figure = neurons.overlap_figure(found)
    for panel in figure.panels:
        drawing = read(str(panel.drawings[0])).children[0]
        here = [one for one in found if one.task == panel.title]
        ticks = {one.text: float(one.get("x") or "") for one in drawing.all("text", class_="tick")}
        places = [
            ticks["0"] + (ticks["1"] - ticks["0"]) * value
            for one in here
            for value in (one.estimate, one.reference["chance"])
            if value is not None
        ]
        marks = zip(drawing.all("circle"), drawing.all("rect", class_="f-chance"), strict=True)
        assert [
            float(mark.get(name) or "") for pair in marks for mark, name in zip(pair, ("cx", "x"), strict=True)
        ] == pytest.approx(places, abs=0.01)
        assert f"{here[0].pair} {formats.number(here[0].estimate)} (chance 0.001)" in (drawing.get("aria-label") or "")
    assert [row[2] for row in figure.tables[0].rows] == [formats.number(one.estimate) for one in found]
    lost = neurons.overlap_figure([replace(one, estimate=None, message="no neurons") for one in found])
    assert [panel.drawings for panel in lost.panels] == [(), ()]
    assert lost.panels[0].note == "diffusion-s0: no neurons. control-s0: no neurons."


def test_the_section_has_a_figure_for_each_intervention_and_the_overlap_where_it_is_known(run: ReportData) -> None:
    again = pl.concat([run.tables["neurons"], run.tables["neurons"].with_columns(intervention=pl.lit("again"))])
    made = neurons.section(replace(run, tables={"neurons": again}))
    assert made is not None
    ids = [figure.get("id") for figure in read(str(made.body)).all("figure", class_="figure")]
    assert ids == ["figure-neuron-overlap", "figure-neurons-1", "figure-neurons-2"]
    bare = neurons.section(
        replace(run, tables={"neurons": run.tables["neurons"]}, findings=replace(run.findings, estimates=()))
    )
    assert bare is not None and "figure-neuron-overlap" not in str(bare.body)
    assert neurons.section(replace(run, tables={"neurons": again.clear()})) is None


@pytest.mark.parametrize("reach", [0.0004, 0.011, 3.0, 2.0e6])
def test_numbers_below_an_axis_have_room_and_zero_is_among_them(reach: float) -> None:
    one = Neuron(
        name="m31.n14335", score=reach, low=-reach, high=reach, p=None, partner=None, shared=True, selectivity=None,
        null=None, answer=None, tokens=None,
    )  # fmt: skip
    frame = drawings.frame_of([one], names=[one.name])
    assert isinstance(frame, Frame) and frame.scale[0] < -reach < reach < frame.scale[1]
    drawing = read(str(drawings.draw([one], frame=frame, side="before", label="x" * 20))).children[0]
    numbers = drawing.all("text", class_="middle")
    assert "0" in [text.text for text in numbers]
    ends = [(float(text.get("x") or ""), 3.0 * len(text.text)) for text in numbers]
    assert all(x + half < after - other for (x, half), (after, other) in pairwise(ends))
    (name,) = drawing.all("text", class_="end")
    assert float(name.get("x") or "") > 7.5 * len(name.text)
