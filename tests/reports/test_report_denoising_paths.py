"""Denoising paths on the page: answers over the steps, what is overwritten, confidence against accuracy."""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl
import pytest
from report_markup import Element, read
from synthetic_paths import CORRECTED, OVERWRITTEN, PATHS, SETS, with_paths

from reports import ReportData, formats, render
from reports.figures import paths as drawings
from reports.sections import denoising_paths
from reports.sections.base import Section


@pytest.fixture(scope="module")
def paths(run: ReportData) -> ReportData:
    return with_paths(run)


def made(section: Section | None) -> Element:
    assert section is not None
    return read(str(section.body))


def with_table(run: ReportData, name: str, frame: pl.DataFrame) -> ReportData:
    return replace(run, tables=dict(run.tables) | {name: frame})


def panel(tree: Element, task: str, pair: str) -> Element:
    (found,) = [one for one in tree.all("figure", class_="panel") if task in one.words() and pair in one.words()]
    return found


def labels(tree: Element) -> list[str]:
    return [svg.get("aria-label") or "" for svg in tree.all("svg", class_="chart")]


def test_the_page_has_the_section_where_there_are_paths_and_none_where_there_are_not(
    run: ReportData, paths: ReportData
) -> None:
    ids = [one.get("id") for one in read(render(paths)).all("section")]
    assert "denoising-paths" in ids
    assert denoising_paths.section(run) is None
    cleared = {name: frame.clear() for name, frame in paths.tables.items()}
    assert denoising_paths.section(with_table(run, "confidence", cleared["confidence"])) is None


def test_accuracy_and_confidence_of_every_step_are_said(paths: ReportData) -> None:
    tree = made(denoising_paths.section(paths))
    assert len(tree.all("figure", class_="panel")) == 4
    said = labels(panel(tree, "countdown", "diffusion-s0"))
    assert said[0] == (
        "Accuracy over the denoising steps, countdown, diffusion-s0: before 50 % (confidence 50 %) at step 1, 60 % "
        "(confidence 60 %) at step 2, 70 % (confidence 70 %) at step 3, 80 % (confidence 80 %) at step 4 and after "
        "50 % (confidence 70 %) at step 1, 60 % (confidence 80 %) at step 2, 70 % (confidence 90 %) at step 3, 80 % "
        "(confidence 100 %) at step 4."
    )
    assert labels(panel(tree, "ioi", "control-s0")) == [
        "Accuracy over the denoising steps, ioi, control-s0: before 50 % (confidence 50 %) at step 1 and after 50 % "
        "(confidence 70 %) at step 1."
    ]


def test_the_bins_are_those_of_the_first_step(paths: ReportData) -> None:
    (_, said) = labels(panel(made(denoising_paths.section(paths)), "countdown", "diffusion-s0"))
    assert said == (
        "Accuracy by confidence in the first step, countdown, diffusion-s0: before 25 % at 25 %, before 75 % at 75 %, "
        "after 12.5 % at 25 % and after 62.5 % at 75 %."
    )


def test_what_is_overwritten_and_corrected_is_said_before_and_after(paths: ReportData) -> None:
    tree = made(denoising_paths.section(paths))
    words = " ".join(panel(tree, "countdown", "diffusion-s0").words().split())
    for outcome, shares in (("Overwritten", OVERWRITTEN), ("Corrected", CORRECTED)):
        assert f"{outcome}: {shares['before']:.0%}".replace("%", " %") in words
        assert f"{shares['after']:.0%} after.".replace("%", " %") in words
    assert "Overwritten: 0 % before and 0 % after." in " ".join(panel(tree, "ioi", "diffusion-s0").words().split())


def test_answers_that_are_sets_have_no_bins_and_the_panel_says_why(paths: ReportData, run: ReportData) -> None:
    tree = made(denoising_paths.section(paths))
    assert f"{SETS}." in panel(tree, "ioi", "control-s0").words()
    assert SETS not in panel(tree, "countdown", "control-s0").words()
    everywhere = made(denoising_paths.section(with_paths(run, sets="countdown")))
    assert f"{SETS}." in panel(everywhere, "countdown", "control-s0").words()


def test_the_numbers_of_all_three_tables_stand_behind_the_figure(paths: ReportData) -> None:
    tables = denoising_paths.figure(*(paths.tables[name] for name in ("confidence", "answer_paths", "reliability")))
    found = {table.caption: table for table in tables.tables}
    assert [*found] == [
        "What becomes of answers over the steps",
        "Confidence and accuracy by step",
        "Accuracy by confidence",
    ]
    for name, table in zip(("answer_paths", "confidence", "reliability"), found.values(), strict=True):
        assert len(table.rows) == paths.tables[name].height > 0
    steps = found["Confidence and accuracy by step"].rows
    row = next(one for one in steps if one[:3] == ("countdown", "diffusion-s0", "after"))
    planted = [formats.number(value) for value in (0.615, 0.1375, 0.0625, 0.0875)]
    assert all(value in row for value in planted)
    unsaid = next(one for one in steps if one[0] == "ioi")
    assert unsaid.count(formats.MISSING) == 3  # no calibration error, none of a calibrated model


def test_without_outcomes_and_bins_accuracy_is_drawn_alone(paths: ReportData) -> None:
    figure = denoising_paths.figure(paths.tables["confidence"], None, None)
    assert [len(panel.drawings) for panel in figure.panels] == [1] * 4
    assert [len(table.rows) for table in figure.tables] == [paths.tables["confidence"].height]
    assert not any("Overwritten" in panel.note for panel in figure.panels)


def test_two_interventions_have_a_figure_and_a_heading_each(paths: ReportData) -> None:
    both = pl.concat([paths.tables["confidence"], paths.tables["confidence"].with_columns(intervention=pl.lit("own"))])
    tree = made(denoising_paths.section(with_table(paths, "confidence", both)))
    figures = [figure.get("id") for figure in tree.all("figure", class_="figure")]
    assert figures == ["figure-denoising-paths", "figure-denoising-paths-2"]
    assert [heading.words().strip() for heading in tree.all("h3")] == [PATHS, "own"]
    assert tree.words().count("An answer is overwritten where") == 1
    assert tree.words().count("Overwritten: ") == 4  # those of the other intervention are not lent


def test_points_are_drawn_where_they_belong(paths: ReportData) -> None:
    """A model that is right wherever it is sure lies on the line, from the lower left to the upper right."""
    rows = paths.tables["reliability"].filter(
        (pl.col("task") == "countdown") & (pl.col("pair") == "diffusion-s0") & (pl.col("step") == 1)
    )
    before = rows.filter(pl.col("side") == "before")
    tree = read(str(drawings.reliability(before, label="x")))
    points = [(float(one.get("cx") or 0), float(one.get("cy") or 0)) for one in tree.all("circle", class_="f-before")]
    (line,) = [
        one.get("d") or "" for one in tree.all("path") if re.fullmatch(r"M[0-9.,]+L[0-9.,]+", one.get("d") or "")
    ]
    left, bottom, right, top = (float(number) for number in re.findall(r"[0-9.]+", line))
    assert points == [
        (pytest.approx(left + share * (right - left), abs=0.2), pytest.approx(bottom + share * (top - bottom), abs=0.2))
        for share in (0.25, 0.75)
    ]


def test_names_stay_text(paths: ReportData) -> None:
    text = "<img src=x onerror=alert(1)>"
    frame = paths.tables["confidence"].with_columns(pl.lit(text).alias(name) for name in ("task", "status"))
    tree = made(denoising_paths.section(with_table(paths, "confidence", frame)))
    assert not tree.all("img") and text in tree.words()
