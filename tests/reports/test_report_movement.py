"""How far the models moved, on the page: every drawing has the treatment beside the control, and its numbers below."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from report_markup import read
from synthetic_movement import movement_tables, weights_table
from synthetic_run import LAYERS

from reports import ReportData, render
from reports.sections import movement


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return movement_tables()


def test_streams_are_drawn_by_role_and_layer_on_one_scale(tables: dict[str, pl.DataFrame]) -> None:
    figure = movement.streams_figure(tables["residual_shift"])
    assert [(panel.title, panel.subtitle) for panel in figure.panels] == [
        ("ioi", "diffusion-s0 (treatment)"), ("ioi", "control-s0"),
        ("countdown", "diffusion-s0 (treatment)"), ("countdown", "control-s0"),
    ]  # fmt: skip
    assert figure.columns == 2 and "one that fills its place is 0.400" in figure.caption
    label = "1 − cosine, countdown, diffusion-s0; largest: (read) after 6 layers 0.400, subject after 6 layers 0.400"
    assert label in str(figure.panels[2].drawings[0])
    assert len(figure.tables[0].rows) == 2 * 2 * 3 * (LAYERS + 1)


def test_representations_are_lines_of_all_pairs_and_say_what_has_no_value(tables: dict[str, pl.DataFrame]) -> None:
    figure = movement.representations_figure(tables["representation_similarity"])
    assert [panel.title for panel in figure.panels] == ["ioi", "countdown"]
    label = "ioi: diffusion-s0 0.967 at 1 to 0.800 at 6 and control-s0 0.998 at 1 to 0.990 at 6."
    assert label in str(figure.panels[0].drawings[0])
    assert figure.panels[0].note.startswith("diffusion-s0: the vectors of the model before and of the model after")
    drawn = str(figure.panels[0].drawings[0])
    assert "s-after" in drawn and "s-before" in drawn  # a line each
    assert [key.label for key in figure.legend] == ["treatment, with its interval", "control, with its interval"]


def test_divergences_are_by_task_in_both_directions(tables: dict[str, pl.DataFrame]) -> None:
    figure = movement.predictions_figure(tables["prediction_shift"])
    assert [(panel.title, panel.subtitle) for panel in figure.panels] == [("ioi", "local"), ("countdown", "global")]
    label = str(figure.panels[1].drawings[0])
    assert "diffusion-s0: before from after 4.000 [3.600, 4.400]" in label
    assert "control-s0: after from before 0.080 [0.070, 0.090]" in label


def test_weights_are_drawn_by_kind_and_layer(tables: dict[str, pl.DataFrame]) -> None:
    figure = movement.weights_figure(tables["weight_shift"])
    assert [(panel.title, panel.subtitle) for panel in figure.panels] == [
        ("diffusion-s0", "treatment"), ("control-s0", "control"),
    ]  # fmt: skip
    assert figure.panels[0].note == "All weights: 0.100; embedding 0.100 and final norm 0."
    # Of heads with the same ratio, that of all of them together is the same.
    assert "largest: q of layer 5 0.600" in str(figure.panels[0].drawings[0])
    failed = movement.weights_figure(weights_table(failed="control-s0"))
    assert failed.panels[1].note == "control-s0: failed: no luck" and failed.panels[1].drawings == ()


def test_nothing_that_could_be_compared_is_said_too(tables: dict[str, pl.DataFrame]) -> None:
    lacking = {
        name: frame.head(1).with_columns(status=pl.lit("hidden sizes differ"), **{value: pl.lit(None, pl.Float64)})
        for (name, frame), value in zip(tables.items(), ("distance", "cka", "kl", "relative"), strict=True)
    }
    lacking["prediction_shift"] = lacking["prediction_shift"].with_columns(kl_reverse=pl.lit(None, pl.Float64))
    for draw, name in (
        (movement.streams_figure, "residual_shift"),
        (movement.representations_figure, "representation_similarity"),
        (movement.predictions_figure, "prediction_shift"),
    ):
        (panel,) = draw(lacking[name]).panels
        assert panel.drawings == () and panel.note == "diffusion-s0: hidden sizes differ"


def test_the_section_has_what_a_run_has(run: ReportData, tables: dict[str, pl.DataFrame]) -> None:
    assert movement.section(run) is None
    made = movement.section(replace(run, tables=tables))
    assert made is not None and made.title == "How far the models moved"
    tree = read(str(made.body))
    assert [figure.get("id") for figure in tree.all("figure", class_="figure")] == [
        "figure-residual-shift", "figure-representation-similarity", "figure-prediction-shift", "figure-weight-shift",
    ]  # fmt: skip
    only = movement.section(replace(run, tables={"weight_shift": tables["weight_shift"]}))
    assert only is not None and len(read(str(only.body)).all("figure", class_="figure")) == 1


def test_the_page_has_the_section(run: ReportData, tables: dict[str, pl.DataFrame]) -> None:
    page = render(replace(run, tables=tables))
    assert page == render(replace(run, tables=tables))
    assert '<section id="movement"' in page
