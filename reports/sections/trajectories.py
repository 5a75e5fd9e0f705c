"""Section: every measure along the series of models, with what has changed where."""

from __future__ import annotations

import polars as pl

from reports import formats, prose, tables
from reports.data import ReportData, in_order
from reports.figures import trajectory
from reports.figures.base import Figure, Panel
from reports.figures.charts import Row
from reports.sections.base import Section
from reports.templating import render_template

DRAWS = ("trajectory", "trajectory_changes")
"""Tables and measures that this section draws."""
AGAINST = {"none": "each model alone", "first": "with the first model", "last": "with the last model"}

POINTS = {
    "task": tables.text("task"),
    "measure": tables.text("measure"),
    "against": tables.text("against"),
    "trajectory": tables.text("trajectory"),
    "model": tables.text("model"),
    "at": tables.real("at"),
    "estimate": tables.real("estimate"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "joint_low": tables.real("joint low"),
    "joint_high": tables.real("joint high"),
    "n": tables.whole("prompts"),
    "status": tables.text("status"),
}
CHANGES = {
    "task": tables.text("task"),
    "measure": tables.text("measure"),
    "against": tables.text("against"),
    "trajectory": tables.text("trajectory"),
    "before": tables.real("changes behind"),
    "after": tables.real("before"),
    "step": tables.real("step"),
    "low": tables.real("set from"),
    "high": tables.real("set to"),
    "p_corrected": tables.real("p, corrected"),
    "halfway": tables.real("half-way"),
    "halfway_low": tables.real("half-way from"),
    "halfway_high": tables.real("half-way to"),
    "status": tables.text("status"),
    "message": tables.text("note"),
}


def section(data: ReportData) -> Section | None:
    """Small multiples: a panel for each measure on each task, all trajectories in it; None without any."""
    points, changes = data.table("trajectory"), data.table("trajectory_changes")
    if points is None or changes is None:
        return None
    found = figure(points, changes, level=1 - data.methods.confidence)
    body = render_template("figures", figures=[] if found is None else [found], missing="trajectory")
    return Section(id="trajectories", title="Along the trajectories", body=body)


def figure(points: pl.DataFrame, changes: pl.DataFrame, *, level: float) -> Figure | None:
    """A panel for each measure on each task, what is of the models alone first; None where nothing was estimated."""
    estimated = points.filter(pl.col("estimate").is_not_null())
    shown = changes.filter(pl.col("p_corrected") < level)
    tasks, panels = estimated["task"].n_unique(), []
    series = changes.select("unit", "measure", "against").unique(maintain_order=True)
    order = sorted(series.rows(), key=lambda one: list(AGAINST).index(one[2]))
    for unit, measure, against in order:
        same = (pl.col("unit") == unit) & (pl.col("measure") == measure) & (pl.col("against") == against)
        rows, marked = estimated.filter(same), shown.filter(same)
        panels += [_panel(task, rows, marked) for task in in_order(rows, "task")] if _several(rows) else []
    if not panels:
        return None
    return Figure(
        id="figure-trajectories",
        caption=(
            "Each panel is a measure on a task along the models of a trajectory. The band encloses the values at all "
            "points at once. A bar at the foot is where the change-point may lie, if the points had two levels; its "
            "tick is the best split."
        ),
        more=_more(shown, changes, level),
        panels=tuple(panels),
        columns=tasks if tasks > 2 else 4,  # of few tasks several measures abreast
        legend=trajectory.legend(in_order(points, "role"), changes=not shown.is_empty()),
        tables=(
            tables.from_frame("Where measures change along the trajectories", changes, CHANGES),
            tables.from_frame("Every measure along the trajectories", points, POINTS),
        ),
    )


def _several(rows: pl.DataFrame) -> bool:
    return rows["at"].n_unique() > 1


def _panel(task: str, rows: pl.DataFrame, marked: pl.DataFrame) -> Panel:
    own, changed = rows.filter(pl.col("task") == task), marked.filter(pl.col("task") == task)
    unit, measure, against = own.row(0, named=True)["unit"], own["measure"][0], own["against"][0]
    changes: list[Row] = [
        {"role": row["role"], "low": row["low"], "high": row["high"], "at": (row["before"] + row["after"]) / 2}
        for row in changed.to_dicts()
    ]
    name = prose.measure_name(measure)
    drawing = trajectory.draw(
        own, changes, y=trajectory.domain_of(rows), unit=unit, name=name, label=_label(name, task, own, changed)
    )
    return Panel(title=name.capitalize(), subtitle=f"{task}, {AGAINST[against]}", drawings=(drawing,))


def _label(name: str, task: str, rows: pl.DataFrame, changed: pl.DataFrame) -> str:
    said = []
    for line in rows.sort("at").partition_by("trajectory", maintain_order=True):
        first, last = line.row(0, named=True), line.row(-1, named=True)
        said.append(
            f"{first['trajectory']} from {formats.number(first['estimate'])} at {first['at']:g} to "
            f"{formats.number(last['estimate'])} at {last['at']:g}"
        )
    said += [
        f"{row['trajectory']} changes between {row['before']:g} and {row['after']:g}" for row in changed.to_dicts()
    ]
    return f"{name} on {task}: {'; '.join(said)}."


def _more(shown: pl.DataFrame, changes: pl.DataFrame, level: float) -> str:
    tested = changes["p_corrected"].is_not_null().sum()
    return (
        "All models have the same prompts. A shift is that from the first model, so it begins at exactly 0; what is of "
        "two models is shown with the first and with the last one. A bar is drawn where p of no change at all is below "
        f"{formats.number(level).rstrip('0')} after Holm's correction over all {tested} series ({len(shown)} are). A "
        "gradual trend has a best split, too: it is then the middle of the way rather than an event, and the half-way "
        "point in the table says more."
    )
