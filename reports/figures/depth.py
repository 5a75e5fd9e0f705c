"""Where in depth the attribution sits: share per layer before and after, and their paired difference."""

from __future__ import annotations

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, sides, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row
from reports.figures.sides import HEIGHT, SIDES, WIDTH


def shares(rows: pl.DataFrame, *, top: float, label: str) -> Markup:
    """Share of the attribution mass per layer, a line and a band a model; `top` is the shared end of the scale."""
    scale = alt.Scale(domain=[0, top], nice=False)
    axis = alt.Axis(format=".0%", tickCount=4)
    x = _x(rows)
    marks: list[alt.Chart] = []
    for side in SIDES:
        values = _values(rows, side)
        banded = [
            row | {"low": max(row["low"], 0.0)} for row in values if row["low"] is not None and row["high"] is not None
        ]
        low = alt.Y("low:Q", title="share of attribution", scale=scale, axis=axis)
        marks.append(charts.rows(banded).mark_area(color=PALETTE[side], opacity=0.2).encode(x, low, alt.Y2("high")))
    for side, (shape, dash) in SIDES.items():
        y = alt.Y("share:Q", title="share of attribution", scale=scale, axis=axis)
        points = charts.rows(_values(rows, side))
        marks.append(points.mark_line(color=PALETTE[side], strokeWidth=2, strokeDash=dash).encode(x, y))
        marks.append(points.mark_point(shape=shape, filled=True, color=PALETTE[side], size=36, opacity=1).encode(x, y))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def shift(rows: pl.DataFrame, *, reach: float, label: str) -> Markup:
    """After minus before per layer, with intervals, on a scale from -reach to reach."""
    values = _values(rows, "shift")
    ranged = [row for row in values if row["low"] is not None and row["high"] is not None]
    scale = alt.Scale(domain=[-reach, reach], nice=False)
    axis = alt.Axis(format="+.0%", tickCount=5, labelExpr="datum.value == 0 ? '0' : datum.label")
    x = _x(rows)
    y = alt.Y("share:Q", title="shift (after − before)", scale=scale, axis=axis)
    low = alt.Y("low:Q", title="shift (after − before)", scale=scale, axis=axis)
    marks = [
        charts.rows([{"at": 0.0}])
        .mark_rule(color=PALETTE["chance"], strokeWidth=1.5)
        .encode(alt.Y("at:Q", scale=scale)),
        charts.rows(ranged).mark_rule(color=PALETTE["ink"], strokeWidth=1.5).encode(x, low, alt.Y2("high")),
        charts.rows(values)
        .mark_point(shape="diamond", filled=True, color=PALETTE["ink"], size=60, opacity=1)
        .encode(x, y),
    ]
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def limits(layers: pl.DataFrame) -> tuple[float, float]:
    """Upper end of the shares' scale, and reach of the shifts' scale, over all panels."""
    models = layers.filter(pl.col("side") != "shift")
    shifts = layers.filter(pl.col("side") == "shift")
    top = _largest(models, ("share", "high"))
    return 1.05 * top or 1.0, 1.1 * _largest(shifts, ("share", "low", "high")) or 1.0


def legend() -> tuple[Key, ...]:
    """What lines, bands and points mean."""
    difference = svg.sample(
        svg.element("line", x1=17, y1=0, x2=17, y2=14, class_="s-ink", stroke_width=1.5),
        svg.element("path", d="M17 2l5 5l-5 5l-5 -5z", class_="f-ink"),
    )
    return (
        *sides.keys(note=", with its interval", band=True),
        Key(sample=difference, label="paired shift and interval"),
    )


def _x(rows: pl.DataFrame) -> alt.X:
    numbers = sorted(set(rows["layer"].to_list()))
    return charts.numbered("layer", numbers, title="layer", labelExpr="datum.value < 0 ? 'input' : datum.label")


def _values(rows: pl.DataFrame, side: str) -> list[Row]:
    found = rows.filter((pl.col("side") == side) & pl.col("share").is_not_null()).sort("layer")
    return found.select("layer", "share", "low", "high").to_dicts()


def _largest(frame: pl.DataFrame, columns: tuple[str, ...]) -> float:
    return max((abs(value) for column in columns for value in frame[column].drop_nulls()), default=0.0)
