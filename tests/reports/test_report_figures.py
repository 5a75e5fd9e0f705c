from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_markup import read

from reports import ReportData, formats
from reports.figures import charts, depth, lorenz, overlap
from reports.sections.depth import contrast_figure


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_a_lorenz_curve_rises_from_zero_to_one_below_the_diagonal(effects: list[float]) -> None:
    points = lorenz.curve(effects)
    assert points[0] == (0.0, 0.0) and points[-1][0] == 1.0 and math.isclose(points[-1][1], 1.0)
    assert all(y <= x + 1e-9 for x, y in points)
    assert all(b[1] >= a[1] for a, b in pairwise(points))


def test_a_lorenz_curve_of_one_working_component_is_flat_until_the_end() -> None:
    assert lorenz.curve([0.0, -3.0, 0.0, 0.0]) == [(0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (0.75, 0.0), (1.0, 1.0)]


def test_charts_are_drawn_within_a_fixed_frame_and_without_ids(run: ReportData) -> None:
    rows = run.tables["layers"].head(21)
    drawing = read(depth.shares(rows, top=0.4, label="shares of a task")).children[0]
    assert drawing.get("viewBox".lower()) == "0 0 264 202" or drawing.attributes.get("viewbox") == "0 0 264 202"
    assert not [element for element in drawing.walk() if "id" in element.attributes or "style" in element.attributes]
    assert drawing.all("text") and drawing.all("path")


def test_an_interval_that_leaves_the_scale_is_cut_there_and_the_caption_says_so(run: ReportData) -> None:
    from reports.sections.overlap import figure

    sets = run.tables["overlap"].filter(pl.col("measure") == "jaccard")
    wide = sets.with_columns(low=pl.lit(-30.0), high=pl.lit(30.0))
    assert overlap.retention_domain(wide) == (-1.0, 2.0)
    assert "Intervals are cut" in figure(wide).caption
    assert "Intervals are cut" not in figure(sets).caption


@pytest.mark.long
def test_nodes_are_drawn_as_edges_are_and_stability_with_its_bar(run: ReportData) -> None:
    from reports.sections.overlap import NODES, figure, section
    from reports.sections.stability import stability_figure

    nodes, stable = run.tables["node_overlap"], run.tables["stability"]
    found = figure(nodes, kind=NODES)
    assert len(found.panels) == 4 and "heads and MLPs" in found.caption
    assert "Jaccard index of the nodes between the models" in str(found.panels[0].drawings[0])
    lost = stable.with_columns(
        pl.when(pl.col("k") == pl.col("k").min()).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("jaccard", "low", "high", "stable")
    ).with_columns(status=pl.when(pl.col("jaccard").is_null()).then(pl.lit("too few edges")).otherwise(pl.lit("ok")))
    for frame, note in ((stable, False), (lost, True)):
        drawn = stability_figure(frame)
        assert all(("too few edges" in panel.note) == note for panel in drawn.panels)
        assert "Stability over resamples" in str(drawn.panels[0].drawings[0]) and "From 0.8 a" in drawn.caption
        assert {row[-2] for row in drawn.tables[0].rows} >= {"yes", "no"}
    body = section(run)
    assert body is not None
    assert all(f'id="figure-{name}"' in body.body for name in ("overlap", "node-overlap", "agreement", "stability"))


def test_agreement_is_drawn_within_its_frame_and_what_is_undefined_is_said(run: ReportData) -> None:
    from reports.sections.overlap import agreement_figure

    free = run.tables["overlap"].filter(pl.col("measure") != "jaccard")
    lost = free.with_columns(
        pl.when(pl.col("measure") == "cosine").then(None).otherwise(pl.col(name)).alias(name)
        for name in ("between", "between_low", "between_high", "null_low", "null_high", "ceiling", "retention")
    ).with_columns(status=pl.when(pl.col("measure") == "cosine").then(pl.lit("no spread")).otherwise(pl.lit("ok")))
    for frame, rows, note in ((free, 3, ""), (lost, 2, "cosine: no spread")):
        figure = agreement_figure(frame)
        assert [panel.note for panel in figure.panels] == [note] * 4
        drawing = read(str(figure.panels[0].drawings[0])).children[0]
        assert len(drawing.all("circle")) == rows
        width = float((drawing.attributes.get("viewbox") or drawing.attributes["viewBox"]).split()[2])
        ends = [float(line.attributes[name]) for line in drawing.all("line") for name in ("x1", "x2")]
        assert min(ends) >= 0 and max(ends) <= width
        assert "weighted Jaccard 0.464 [0.414, 0.514] (ceiling 0.710)" in (drawing.get("aria-label") or "")
    assert len(figure.tables[0].rows) == free.height


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (0.0, "0"), (-0.12345, "−0.123"), (1.2e-5, "1.2 × 10⁻⁵"), (12345.6, "12,346")],
)
def test_numbers_are_written_with_few_digits_and_a_minus_sign(value: float | None, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "p < .001"), (0.0123, "p = .012"), (1.0, "p > .999"), (None, "p = –")]
)
def test_p_values_are_stated_without_false_precision(value: float | None, text: str) -> None:
    assert formats.p_statement(value) == text.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(("value", "text"), [(1.0, "100 %"), (0.9999, "> 99.9 %"), (0.0001, "< 0.1 %"), (0.5, "50 %")])
def test_only_all_is_a_hundred_percent(value: float, text: str) -> None:
    assert formats.percent(value) == text


def contrast(scale: str, seed: str | None, kind: str = "difference", **more: object) -> dict[str, object]:
    numbers = {"estimate": -0.1, "se": 0.02, "df": 29.0, "statistic": -5.0, "p": 1e-4, "p_corrected": None}
    levels = {"role": "treatment - control", "regime": "global", "over": "prompts", "seeds": 3}
    row = {"scale": scale, "kind": kind, **levels, "seed": seed, **numbers, "low": -0.14, "high": -0.06, "message": ""}
    return row | more


def test_contrasts_of_slopes_say_for_which_seeds_they_are_and_where_the_scales_disagree() -> None:
    these = "for these 3 seeds, over prompts: fewer than 5 seeds allow no test over seeds"
    against = "shares and log-ratios disagree in sign"
    other = {"role": "treatment", "kind": "slope", "message": these}
    rows = [
        contrast("share", None, **other),
        contrast("share", "2", **other),
        contrast("share", None, message=f"{these}; {against}"),
        contrast("share", "2", low=None, high=None),
    ]
    figure = contrast_figure(pl.DataFrame(rows, infer_schema_length=None))
    [panel] = figure.panels
    assert panel.note == (
        f"{these[0].upper()}{these[1:]}. {against[0].upper()}{against[1:]}: treatment − control, global."
    )
    [drawn] = panel.drawings
    assert "treatment − control, global (seed 2)" in str(drawn) and "treatment, global (seed 2)" not in str(drawn)


def test_the_similarity_is_drawn_with_the_level_of_unrelated_models_and_what_is_inherited(run: ReportData) -> None:
    from reports.sections.similarity import figure, section

    found = run.tables["similarity"]
    drawn = figure(found)
    assert [len(panel.drawings) for panel in drawn.panels] == [2] * found["task"].n_unique()
    assert "Second: what is inherited" in str(drawn.caption) and "level of unrelated models" in str(drawn.caption)
    first = str(drawn.panels[0].drawings[0])
    assert first.count("f-chance") == found["pair"].n_unique() and "Similarity on " in first
    bare = figure(found.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("unrelated", "inherited")))
    assert [len(panel.drawings) for panel in bare.panels] == [1] * found["task"].n_unique()
    assert "no pair of role unrelated" in str(bare.caption) and "f-chance" not in str(bare.panels[0].drawings[0])
    lost = found.with_columns(pl.lit(None, pl.Float64).alias("similarity"), pl.lit("no signal").alias("status"))
    assert "no signal" in figure(lost).panels[0].note
    assert section(replace(run, tables={})) is None


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (range(-1, 6), list(range(-1, 6))),
        (range(12), list(range(12))),
        (range(30), [0, 5, 10, 15, 20, 25]),
        (range(-1, 80), [0, 10, 20, 30, 40, 50, 60, 70]),
    ],
)
def test_labels_of_many_layers_are_thinned_in_even_steps(values: range, labels: list[int]) -> None:
    assert charts.numbered("layer", values, title="layer").to_dict()["axis"]["values"] == labels
