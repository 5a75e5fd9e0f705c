"""How unevenly components share the work: Lorenz curves of their effects."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, sides, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE
from reports.figures.sides import HEIGHT, SIDES, WIDTH


def curve(effects: Sequence[float]) -> list[tuple[float, float]]:
    """Points of the Lorenz curve of magnitudes: share of the components, from the smallest, and of their total.

    The diagonal where all effects are zero. Source: Lorenz (1905).
    """
    sizes = sorted(abs(value) for value in effects)
    total, count = sum(sizes), len(sizes)
    points, running = [(0.0, 0.0)], 0.0
    for index, size in enumerate(sizes, start=1):
        running += size
        points.append((index / count, running / total if total else index / count))
    return points


def lorenz(rows: pl.DataFrame, *, label: str) -> Markup:
    """Lorenz curves of one pair and task, before and after, with the line of equal shares."""
    x = alt.X(
        "x:Q",
        title="components, smallest effects first",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format=".0%", values=[0, 0.5, 1]),
    )
    y = alt.Y(
        "y:Q",
        title="share of all effects",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    equal = charts.rows([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
    marks = [equal.mark_line(color=PALETTE["chance"], strokeWidth=1).encode(x, y)]
    for side, (_, dash) in SIDES.items():
        effects = rows.filter(pl.col("side") == side)["effect"].drop_nulls().to_list()
        points = [{"x": x_, "y": y_} for x_, y_ in curve(effects)] if effects else []
        marks.append(charts.rows(points).mark_line(color=PALETTE[side], strokeWidth=2, strokeDash=dash).encode(x, y))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def legend() -> tuple[Key, ...]:
    """What lines and points mean."""
    equal = svg.sample(svg.element("line", x1=1, y1=12, x2=33, y2=2, class_="s-chance", stroke_width=1))
    null = svg.sample(svg.element("rect", x=15, y=0, width=4, height=14, class_="f-chance"))
    return (
        *sides.keys(),
        Key(sample=equal, label="equal shares"),
        Key(sample=null, label="null: the same index under sign flips"),
    )
