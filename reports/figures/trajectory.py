"""A measure along trajectories: estimates with their joint band, and where a change is shown."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, roles, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row
from reports.figures.roles import LOOKS
from reports.figures.sides import HEIGHT, WIDTH, Domain, clamped
from reports.templating import visible

FOOT = 0.06
"""Height of a marked change above the frame's foot, and between two of them, as a share of the frame's height."""


def draw(points: pl.DataFrame, changes: Sequence[Row], *, y: Domain, unit: str, name: str, label: str) -> Markup:
    """One measure on one task, of every trajectory.

    Args:
        points: Rows of the table `trajectory`.
        changes: `role`, `low`, `high` and `at` (the middle of the best split) of the changes that are shown.
        y: Scale of the measure, shared by the panels of its tasks.
        unit: What places are counted in.
        name: The measure in words.
        label: Text alternative.
    """
    places = points["at"].to_list()
    x_scale = alt.Scale(domain=[min(places), max(places)], nice=False, padding=6)
    places_shown = "datum.value == 0 ? '0' : format(datum.value, '~s')"  # not "0k"
    axis = alt.Axis(tickCount=4, labelExpr=places_shown, labelOverlap="greedy")
    y_axis, y_scale = alt.Axis(tickCount=4, format=".2~f", grid=True), alt.Scale(domain=list(y), nice=False)

    def across(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=visible(unit), scale=x_scale, axis=axis)

    def up(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=visible(name), scale=y_scale, axis=y_axis)

    marks: list[alt.Chart] = []
    lines = [(role, values) for role in LOOKS for values in _lines(points, role, y)]
    for role, values in lines:
        banded = [row for row in values if row["joint_low"] is not None]
        area = charts.rows(banded).mark_area(color=PALETTE[LOOKS[role][2]], opacity=0.2)
        marks.append(area.encode(across("at"), up("joint_low"), alt.Y2("joint_high")))
    for role, values in lines:
        shape, dash, colour = LOOKS[role]
        line = charts.rows(values).mark_line(color=PALETTE[colour], strokeWidth=2, strokeDash=dash)
        point = charts.rows(values).mark_point(shape=shape, filled=True, color=PALETTE[colour], size=30, opacity=1)
        marks += [one.encode(across("at"), up("estimate")) for one in (line, point)]
    for number, change in enumerate(changes):
        foot = y[0] + (number + 0.6) * FOOT * (y[1] - y[0])
        one = charts.rows([{**change, "foot": foot}])
        colour = PALETTE[LOOKS[str(change["role"])][2]]
        bar = one.mark_rule(color=colour, strokeWidth=5, opacity=0.45)
        marks.append(bar.encode(across("low"), up("foot"), alt.X2("high")))
        tick = one.mark_tick(color=colour, orient="vertical", thickness=2.5, size=11, opacity=1)
        marks.append(tick.encode(across("at"), up("foot")))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def domain_of(points: pl.DataFrame) -> Domain:
    """Range of all estimates and bands, with some air, and with room at the foot for marked changes."""
    columns = ("estimate", "joint_low", "joint_high")
    values = [value for column in columns for value in points[column].drop_nulls().to_list()]
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = (high - low) or 1.0
    return low - 0.2 * air, high + 0.06 * air


def legend(shown: Sequence[str], *, changes: bool) -> tuple[Key, ...]:
    """What lines, bands and bars mean."""
    found = [*roles.keys((role for role in LOOKS if role in shown), note=", with its joint band")]
    if changes:
        sample = svg.sample(
            svg.element("line", x1=2, y1=7, x2=32, y2=7, class_="s-ink", stroke_width=5, opacity=0.45),
            svg.element("line", x1=17, y1=1, x2=17, y2=13, class_="s-ink", stroke_width=2.5),
        )
        found.append(Key(sample=sample, label="change-point, and where it may lie"))
    return tuple(found)


def _lines(points: pl.DataFrame, role: str, y: Domain) -> list[list[Row]]:
    """The points of each trajectory of a role, in order."""
    rows = points.filter((pl.col("role") == role) & pl.col("estimate").is_not_null()).sort("at")
    columns = ["at", "estimate", "joint_low", "joint_high"]
    drawn = [part.select(columns).to_dicts() for part in rows.partition_by("trajectory", maintain_order=True)]
    return [[{**clamped(row, y), "at": row["at"]} for row in part] for part in drawn]
