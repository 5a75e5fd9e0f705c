"""Section 5: in which layers the attribution sits."""

from __future__ import annotations

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import depth as drawings
from reports.figures.base import Figure, Panel
from reports.sections.base import Section
from reports.templating import render_template

FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "layer": tables.whole("layer"),
    "share": tables.real("share"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "n": tables.whole("n"),
}


def section(data: ReportData) -> Section:
    """Share of attribution per layer before and after, and the paired shift."""
    found = data.table("layers")
    body = render_template("figures", figures=[] if found is None else [figure(found)], missing="layers")
    return Section(id="depth", title="Depth", body=body)


def figure(layers: pl.DataFrame) -> Figure:
    """Shares and shifts for each task and pair."""
    top, reach = drawings.limits(layers)
    panels = []
    for task, pair, rows in panels_of(layers):
        shares = drawings.shares(rows, top=top, label=_label("Share of attribution per layer", task, pair, rows))
        shift = drawings.shift(rows, reach=reach, label=_shift_label(task, pair, rows))
        panels.append(Panel(title=task, subtitle=pair, drawings=(shares, shift), note=_note(rows)))
    return Figure(
        id="figure-depth",
        caption=(
            "First: how the attribution mass is spread over the layers of the edges' sources, before and after. "
            "Second: the paired difference per layer. Points above the line on the left and below it on the right of "
            "a panel mean that attribution moved to earlier layers."
        ),
        panels=tuple(panels),
        columns=len(in_order(layers, "pair")),
        legend=drawings.legend(),
        tables=(tables.from_frame("Shares and shifts per layer", layers, FIELDS),),
    )


def _note(rows: pl.DataFrame) -> str:
    shifts = rows.filter(pl.col("side") == "shift")
    if shifts.is_empty():
        return "No paired shift in this run."
    unsure = shifts.filter(pl.col("low").is_null() | pl.col("high").is_null())
    return "" if unsure.is_empty() else "Points without a line have no interval."


def _label(start: str, task: str, pair: str, rows: pl.DataFrame) -> str:
    peaks = []
    for side in ("before", "after"):
        one = rows.filter((pl.col("side") == side) & pl.col("share").is_not_null()).sort("share", descending=True)
        if not one.is_empty():
            peaks.append(f"largest {side} in layer {one['layer'][0]} ({formats.percent(one['share'][0])})")
    return f"{start}, {task}, {pair}: {formats.listed(peaks) or 'no values'}."


def _shift_label(task: str, pair: str, rows: pl.DataFrame) -> str:
    points = [
        f"{formats.number(row['share'])} in layer {row['layer']}"
        for row in rows.filter(pl.col("side") == "shift").sort("layer").rows(named=True)
    ]
    return f"Shift of the share per layer, {task}, {pair}: {formats.listed(points) or 'none'}."
