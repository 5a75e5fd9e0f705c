"""One number of each pair, layer by layer: the treatment beside its controls, with bands."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row
from reports.figures.sides import HEIGHT, WIDTH, Domain, clamped
from reports.templating import visible

ROLES = {"treatment": ("square", [1, 0], "after"), "control": ("circle", [5, 3], "before")}
"""Role of a pair -> shape of its points, dashes of its line, its colour."""


def draw(rows: pl.DataFrame, *, title: str, domain: Domain, label: str, at: Sequence[float] = ()) -> Markup:
    """A line and a band for each pair.

    Args:
        rows: Columns `pair`, `role`, `layer`, `value`, `low` and `high`; rows without a value are not drawn.
        title: Name of the value, for the axis.
        domain: Scale shared by all panels.
        label: Text alternative.
        at: Values to mark with a line.
    """
    values: list[Row] = rows.filter(pl.col("value").is_not_null()).sort("layer").to_dicts()
    numbers = sorted({row["layer"] for row in values})
    across = alt.Scale(domain=[numbers[0] - 0.4, numbers[-1] + 0.4], nice=False)
    x = alt.X(
        "layer:Q",
        title="layers that have written",
        scale=across,
        axis=alt.Axis(values=numbers, format="d", labelOverlap="greedy"),
    )
    scale, axis, title = alt.Scale(domain=list(domain), nice=False), alt.Axis(tickCount=4), visible(title)
    y = alt.Y("value:Q", title=title, scale=scale, axis=axis)
    low = alt.Y("low:Q", title=title, scale=scale, axis=axis)
    marks = [
        charts.rows([{"at": value} for value in at])
        .mark_rule(color=PALETTE["chance"], strokeWidth=1.5)
        .encode(alt.Y("at:Q", title=title, scale=scale, axis=axis))
    ]
    each = [[row for row in values if row["pair"] == pair] for pair in dict.fromkeys(row["pair"] for row in values)]
    for own in each:
        _, _, colour = ROLES.get(own[0]["role"], ROLES["control"])
        banded = [clamped(row, domain) for row in own if row["low"] is not None and row["high"] is not None]
        marks.append(charts.rows(banded).mark_area(color=PALETTE[colour], opacity=0.2).encode(x, low, alt.Y2("high")))
    for own in each:
        shape, dash, colour = ROLES.get(own[0]["role"], ROLES["control"])
        points = charts.rows([clamped(row, domain) for row in own])
        marks.append(points.mark_line(color=PALETTE[colour], strokeWidth=2, strokeDash=dash).encode(x, y))
        marks.append(
            points.mark_point(shape=shape, filled=True, color=PALETTE[colour], size=36, opacity=1).encode(x, y)
        )
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def legend() -> tuple[Key, ...]:
    """What lines and bands mean."""
    found = []
    for role, (shape, dash, colour) in ROLES.items():
        gaps = None if dash == [1, 0] else " ".join(map(str, dash))
        point = (
            svg.element("circle", cx=17, cy=7, r=4, class_=f"f-{colour}")
            if shape == "circle"
            else svg.element("rect", x=13.5, y=3.5, width=7, height=7, class_=f"f-{colour}")
        )
        sample = svg.sample(
            svg.element("rect", x=1, y=2, width=32, height=10, class_=f"f-{colour}", opacity=0.2),
            svg.element("line", x1=1, y1=7, x2=33, y2=7, class_=f"s-{colour}", stroke_width=2, stroke_dasharray=gaps),
            point,
        )
        found.append(Key(sample=sample, label=f"{role}, with its interval"))
    return tuple(found)
