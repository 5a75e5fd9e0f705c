"""Trajectories on the page: a panel for each measure on each task, and changes only where they are shown."""

from __future__ import annotations

import polars as pl
import pytest
from report_markup import read

from reports import ReportData
from reports.sections import trajectories
from stats.findings import Findings

AT = [0.0, 200.0, 400.0, 800.0]
ENDS = ("first", "last")


def point(name: str, role: str, task: str, measure: str, against: str, number: int) -> dict[str, object]:
    value = None if (measure, number) == ("similarity", 2) and role == "control" else 0.1 * number
    missing = value is None
    return {
        "trajectory": name, "role": role, "task": task, "regime": "local", "unit": "steps", "measure": measure,
        "against": against, "model": f"m{number}", "at": AT[number], "estimate": value, "se": None if missing else 0.02,
        "low": None if missing else value - 0.04, "high": None if missing else value + 0.04,
        "joint_low": None if missing else value - 0.06, "joint_high": None if missing else value + 0.06, "n": 90,
        "status": "undefined" if missing else "ok", "message": "",
    }  # fmt: skip


def change(name: str, role: str, task: str, measure: str, against: str) -> dict[str, object]:
    return {
        "trajectory": name, "role": role, "task": task, "regime": "local", "unit": "steps", "measure": measure,
        "against": against, "points": 4, "before": 200.0, "after": 400.0, "step": 0.2, "low": 0.0, "high": 800.0,
        "p": 0.001, "p_corrected": 0.004 if role == "treatment" else 0.2, "halfway": 300.0, "halfway_low": 250.0,
        "halfway_high": 350.0, "df": 89.0, "status": "ok", "message": "",
    }  # fmt: skip


@pytest.fixture
def data() -> ReportData:
    series = [
        (name, role, task, measure, against)
        for name, role in (("to-mdm", "treatment"), ("continued", "control"))
        for task in ("ioi", "countdown")
        for measure, against in (("accuracy", "none"), ("depth_slope", "first"), *(("similarity", e) for e in ENDS))
    ]
    points = pl.DataFrame([point(*one, number) for one in series for number in range(4)], infer_schema_length=None)
    changes = pl.DataFrame([change(*one) for one in series])
    return ReportData(
        title="study",
        name="study",
        version="0",
        findings=Findings(name="study", hypotheses=(), estimates=()),
        tables={"trajectory": points, "trajectory_changes": changes},
    )


def test_there_is_a_panel_for_each_measure_on_each_task_with_all_trajectories(data: ReportData) -> None:
    section = trajectories.section(data)
    assert section is not None
    tree = read(str(section.body))
    labels = [svg.get("aria-label") or "" for svg in tree.all("svg", class_="chart")]
    assert len(labels) == 4 * 2
    assert labels[0] == (
        "accuracy on ioi: to-mdm from 0 at 0 to 0.300 at 800; continued from 0 at 0 to 0.300 at 800; to-mdm changes "
        "between 200 and 400."
    )
    assert [label.split()[0] for label in labels[::2]] == ["accuracy", "depth", "similarity", "similarity"]


@pytest.mark.long
def test_only_changes_that_are_shown_are_marked(data: ReportData) -> None:
    figure = trajectories.figure(data.tables["trajectory"], data.tables["trajectory_changes"], level=0.05)
    assert figure is not None and "(8 are)" in figure.more
    assert [key.label for key in figure.legend] == [
        "control, with its joint band", "treatment, with its joint band", "change-point, and where it may lie",
    ]  # fmt: skip
    none = trajectories.figure(data.tables["trajectory"], data.tables["trajectory_changes"], level=0.001)
    assert none is not None and "(0 are)" in none.more and len(none.legend) == 2
    assert len(str(figure.panels[0].drawings[0])) > len(str(none.panels[0].drawings[0]))


def test_without_trajectories_there_is_no_section(data: ReportData) -> None:
    assert trajectories.section(ReportData(**{**_fields(data), "tables": {}})) is None


def test_what_was_not_estimated_is_said_and_not_drawn(data: ReportData) -> None:
    points = data.tables["trajectory"].with_columns(estimate=pl.lit(None, pl.Float64))
    assert trajectories.figure(points, data.tables["trajectory_changes"], level=0.05) is None
    section = trajectories.section(ReportData(**{**_fields(data), "tables": {**data.tables, "trajectory": points}}))
    assert section is not None and "trajectory table" in str(section.body)


def _fields(data: ReportData) -> dict[str, object]:
    return {name: getattr(data, name) for name in ("title", "name", "version", "findings", "tables")}
