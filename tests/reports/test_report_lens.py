"""The logit lens on the page: trajectories, direct attributions, decisions over denoising steps."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from report_markup import read

from reports import ReportData, methods
from reports.sections import denoising, lens, specialization
from reports.sections.base import Section


def made(section: Section | None) -> Section:
    assert section is not None
    return section


def one_panel(frame: pl.DataFrame, task: str = "countdown", pair: str = "diffusion-s0") -> pl.DataFrame:
    return frame.filter((pl.col("task") == task) & (pl.col("pair") == pair))


def test_the_lens_has_a_figure_for_streams_and_one_for_components(run: ReportData) -> None:
    tree = read(str(made(lens.section(run)).body))
    assert [figure.get("id") for figure in tree.all("figure", class_="figure")] == ["figure-lens", "figure-direct"]
    labels = [svg.get("aria-label") or "" for svg in tree.all("svg", class_="chart")]
    assert len(labels) == 3 * 4  # trajectory, alignment and attributions of two tasks and pairs
    assert labels[0] == (
        "Log-probability of the answer over the residual streams, ioi, diffusion-s0: before −5.000 in x0 to −0.012 in "
        "x6 (foil −5.000) and after −5.000 in x0 to −0.137 in x6 (foil −5.000)."
    )
    assert labels[1] == "Alignment entropy, ioi, diffusion-s0: before 1.400 (null 1.900) and after 1.600 (null 1.900)."


def test_without_the_measure_only_the_trajectories_are_drawn(run: ReportData) -> None:
    bare = replace(run, findings=replace(run.findings, estimates=()), tables={"lens": run.tables["lens"]})
    body = made(lens.section(bare)).body
    assert len(read(str(body)).all("svg", class_="chart")) == 2 * 4
    assert "alignment entropy" not in body and "weights dealt out" not in body


def test_the_components_that_add_most_in_either_model_are_drawn_in_their_order(run: ReportData) -> None:
    rows = one_panel(run.tables["lens"]).filter(pl.col("direct").is_not_null())
    chosen = lens._largest(rows)
    strength = {
        name: max(abs(value) for value in rows.filter(pl.col("component") == name)["direct"])
        for name in rows["component"].unique()
    }
    assert set(chosen) == set(sorted(strength, key=lambda name: -strength[name])[: lens.DRAWN])
    order = rows["component"].unique(maintain_order=True).to_list()
    assert chosen == sorted(chosen, key=order.index)
    total = rows.filter(pl.col("side") == "before")["direct"].sum()
    assert lens._sums(rows).startswith("Sum of all: before ") and f"{abs(total):.3f}" in lens._sums(rows)
    listed = lens.direct_figure(rows).tables[0].rows
    assert [row[2] for row in listed] == ["before"] * lens.LISTED + ["after"] * lens.LISTED
    sizes = [abs(float(row[4].replace("−", "-"))) for row in listed[: lens.LISTED]]
    assert sizes == sorted(sizes, reverse=True)


def test_decisions_are_drawn_where_there_are_several_steps_and_said_where_there_is_one(run: ReportData) -> None:
    body = str(made(denoising.section(run)).body)
    assert "On ioi every answer is read in a single denoising step: nothing varies over steps" in body
    tree = read(body)
    panels = tree.all("figure", class_="panel")
    assert len(panels) == 2 and all("countdown" in panel.words() for panel in panels)
    labels = [svg.get("aria-label") or "" for svg in panels[0].all("svg")]
    assert labels[0].endswith("before 25 % by step 1, 50 % by step 2, 75 % by step 3, 100 % by step 4 and after 25 % "
                              "by step 1, 50 % by step 2, 75 % by step 3, 100 % by step 4.")  # fmt: skip
    assert labels[1].startswith("Share of correct answers by stream and step before, countdown, diffusion-s0; in the")
    assert (
        labels[3] == "Decision time, countdown, diffusion-s0: before 0.300 (null 0.550) and after 0.500 (null 0.550)."
    )


def test_a_run_of_one_step_draws_nothing_and_says_so(run: ReportData) -> None:
    steps = run.tables["denoising"].filter(pl.col("task") == "ioi")
    body = str(made(denoising.section(replace(run, tables={"denoising": steps}))).body)
    assert "In this run every answer is read in a single denoising step" in body
    assert not read(body).all("svg")


@pytest.mark.parametrize("empty", [True, False])
def test_a_run_without_a_lens_has_no_such_section(run: ReportData, empty: bool) -> None:
    tables = {name: run.tables[name].clear() for name in ("lens", "denoising")} if empty else {}
    assert lens.section(replace(run, tables=tables)) is None
    assert denoising.section(replace(run, tables=tables)) is None


def test_columns_without_values_are_left_out(run: ReportData) -> None:
    tables = {
        name: run.tables[name].with_columns(pl.lit(None, dtype=pl.Float64).alias(column) for column in columns)
        for name, columns in (
            ("lens", ("low", "high", "foil_log_prob", "direct_low", "direct_high")),
            ("denoising", ("low", "high", "correct", "decided")),
        )
    }
    bare = replace(run, tables=tables, findings=replace(run.findings, estimates=()))
    assert read(str(made(lens.section(bare)).body)).all("svg")
    assert read(str(made(denoising.section(bare)).body)).all("svg")
    nothing = tables["lens"].with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in ("log_prob", "direct"))
    assert lens.section(replace(bare, tables={"lens": nothing})) is None


def test_tokens_and_names_stay_text(run: ReportData) -> None:
    text = "<img src=x onerror=alert(1)>"
    frame = run.tables["lens"].with_columns(pl.lit(text).alias(name) for name in ("top", "task", "pair", "component"))
    tree = read(str(made(lens.section(replace(run, tables={"lens": frame}))).body))
    assert not tree.all("img") and text in tree.words()


@pytest.mark.parametrize("measured", [True, False])
def test_the_methods_paragraph_says_what_alignment_is(run: ReportData, measured: bool) -> None:
    text = methods.methods_paragraph(replace(run.methods, alignment=measured), version="0", methods_used={})
    assert ("Output alignment is the entropy in nats" in text) is measured


def test_alignment_is_no_index_of_specialization(run: ReportData) -> None:
    body = specialization.section(run).body
    assert "alignment" not in body
