"""How unevenly components share the work: Lorenz curves of their effects, and the index observed beside its null."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row
from reports.templating import visible

WIDTH, HEIGHT = 196, 150

_DASHES = {"before": [1, 0], "after": [5, 3]}


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
    for side, dash in _DASHES.items():
        effects = rows.filter(pl.col("side") == side)["effect"].drop_nulls().to_list()
        points = [{"x": x_, "y": y_} for x_, y_ in curve(effects)] if effects else []
        marks.append(charts.rows(points).mark_line(color=PALETTE[side], strokeWidth=2, strokeDash=dash).encode(x, y))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def observed(rows: pl.DataFrame, *, index: str, domain: tuple[float, float], label: str) -> Markup:
    """The index before and after with intervals, each beside its sign-flip null.

    Args:
        rows: One pair's and task's rows of the table `indices` for this index.
        index: Name of the index, for the axis.
        domain: Scale shared by all panels.
        label: Text alternative.
    """
    values: list[Row] = [row for row in rows.to_dicts() if row["side"] in _DASHES and row["value"] is not None]
    index = visible(index)
    scale = alt.Scale(domain=list(domain), nice=False)
    side = alt.Y("side:N", title=None, sort=["before", "after"], scale=alt.Scale(domain=["before", "after"]))
    axis = alt.Axis(tickCount=4, format=".2~f", grid=True)
    ranged = [row for row in values if row["low"] is not None and row["high"] is not None]
    nulls = [row for row in values if row["null"] is not None]
    marks = [
        charts.rows(ranged)
        .mark_rule(color=PALETTE["ink"], strokeWidth=1.5)
        .encode(side, alt.X("low:Q", title=index, scale=scale, axis=axis), alt.X2("high")),
        charts.rows(nulls)
        .mark_tick(color=PALETTE["chance"], thickness=4, size=26, opacity=1)
        .encode(side, alt.X("null:Q", title=index, scale=scale, axis=axis)),
    ]
    for name, shape in (("before", "circle"), ("after", "square")):
        one = [row for row in values if row["side"] == name]
        marks.append(
            charts.rows(one)
            .mark_point(shape=shape, filled=True, color=PALETTE[name], size=70, opacity=1)
            .encode(side, alt.X("value:Q", title=index, scale=scale, axis=axis))
        )
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def domain_of(indices: pl.DataFrame) -> tuple[float, float]:
    """Range of all values, nulls and intervals of the models, with some air."""
    models = indices.filter(pl.col("side").is_in(["before", "after"]))
    values = [v for name in ("value", "null", "low", "high") for v in models[name].drop_nulls().to_list()]
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.08 * ((high - low) or 1.0)
    return low - air, high + air


def legend() -> tuple[Key, ...]:
    """What lines and points mean."""
    before = svg.sample(
        svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-before", stroke_width=2),
        svg.element("circle", cx=17, cy=7, r=4, class_="f-before"),
    )
    after = svg.sample(
        svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-after", stroke_width=2, stroke_dasharray="5 3"),
        svg.element("rect", x=13.5, y=3.5, width=7, height=7, class_="f-after"),
    )
    equal = svg.sample(svg.element("line", x1=1, y1=12, x2=33, y2=2, class_="s-chance", stroke_width=1))
    null = svg.sample(svg.element("rect", x=15, y=0, width=4, height=14, class_="f-chance"))
    return (
        Key(sample=before, label="before"),
        Key(sample=after, label="after"),
        Key(sample=equal, label="equal shares"),
        Key(sample=null, label="null: the same index under sign flips"),
    )
