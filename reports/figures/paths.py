"""Answers over denoising steps, and confidence against accuracy."""

from __future__ import annotations

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE
from reports.figures.sides import HEIGHT, SIDES, WIDTH

_SHARE = alt.Scale(domain=[0, 1.02], nice=False)
_AXIS = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])


def over_steps(rows: pl.DataFrame, *, label: str) -> Markup:
    """Accuracy by denoising step before and after, and in grey the mean confidence.

    Args:
        rows: One pair's and task's rows of the table `confidence`.
        label: Text alternative.
    """
    steps = sorted(set(rows["step"].to_list()))
    x = charts.numbered("step", steps, title="denoising step")

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title="share of prompts right", scale=_SHARE, axis=_AXIS)

    marks = []
    for side, (shape, dash) in SIDES.items():
        own = rows.filter(pl.col("side") == side).sort("step")
        points = charts.rows(own.select("step", "accuracy", "confidence").to_dicts())
        grey = points.mark_line(color=PALETTE["chance"], strokeWidth=1.5, strokeDash=dash)
        marks.append(grey.encode(x, y("confidence")))
        marks.append(points.mark_line(color=PALETTE[side], strokeWidth=2, strokeDash=dash).encode(x, y("accuracy")))
        point = points.mark_point(shape=shape, filled=True, color=PALETTE[side], size=36, opacity=1)
        marks.append(point.encode(x, y("accuracy")))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def reliability(rows: pl.DataFrame, *, label: str) -> Markup:
    """Accuracy of bins of prompts over their confidence, with bands, and the line on which a calibrated model is.

    Args:
        rows: One pair's, task's and step's rows of the table `reliability`.
        label: Text alternative.
    """
    x = alt.X("confidence:Q", title="confidence", scale=_SHARE, axis=_AXIS)

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title="share of prompts right", scale=_SHARE, axis=_AXIS)

    ends = charts.rows([{"confidence": 0.0, "accuracy": 0.0}, {"confidence": 1.0, "accuracy": 1.0}])
    marks = [ends.mark_line(color=PALETTE["axis"], strokeWidth=1).encode(x, y("accuracy"))]
    for side, (shape, _) in SIDES.items():
        own = rows.filter(pl.col("side") == side)
        points = charts.rows(own.select("confidence", "accuracy", "low", "high").to_dicts())
        marks.append(points.mark_rule(color=PALETTE[side], strokeWidth=1.5).encode(x, y("low"), alt.Y2("high")))
        point = points.mark_point(shape=shape, filled=True, color=PALETTE[side], size=36, opacity=1)
        marks.append(point.encode(x, y("accuracy")))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def confidence_key() -> Key:
    """The line of the mean confidence."""
    line = svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-chance", stroke_width=2)
    return Key(sample=svg.sample(line), label="mean confidence (dashed: after)")
