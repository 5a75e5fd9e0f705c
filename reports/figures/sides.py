"""A value of each model, before and after, drawn the same way in every figure."""

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

SIDES = {"before": ("circle", [1, 0]), "after": ("square", [5, 3])}
"""Shape of the points and dashes of the lines of each side."""

Domain = tuple[float, float]


def observed(rows: pl.DataFrame, *, title: str, domain: Domain, label: str, at: Sequence[float] = ()) -> Markup:
    """A value before and after with intervals, each beside its null where it has one.

    Args:
        rows: Columns `side`, `value`, `low`, `high`, `null`, and maybe `null_low` and `null_high`; sides other than
            before and after are not drawn.
        title: Name of the value, for the axis.
        domain: Scale shared by all panels.
        label: Text alternative.
        at: Values to mark with a line.
    """
    values: list[Row] = [row for row in rows.to_dicts() if row["side"] in SIDES and row["value"] is not None]
    title = visible(title)
    scale = alt.Scale(domain=list(domain), nice=False)
    side = alt.Y("side:N", title=None, sort=list(SIDES), scale=alt.Scale(domain=list(SIDES)))
    axis = alt.Axis(tickCount=4, format=".2~f", grid=True)
    ranged = [clamped(row, domain) for row in values if row["low"] is not None and row["high"] is not None]
    nulls = [clamped(row, domain) for row in values if row["null"] is not None]
    marks = [
        charts.rows([{"at": value} for value in at])
        .mark_rule(color=PALETTE["chance"], strokeWidth=1.5)
        .encode(alt.X("at:Q", title=title, scale=scale, axis=axis)),
        charts.rows(ranged)
        .mark_rule(color=PALETTE["ink"], strokeWidth=1.5)
        .encode(side, alt.X("low:Q", title=title, scale=scale, axis=axis), alt.X2("high")),
        charts.rows([row for row in nulls if row.get("null_low") is not None and row.get("null_high") is not None])
        .mark_rule(color=PALETTE["chance"], strokeWidth=12, opacity=0.3)
        .encode(side, alt.X("null_low:Q", title=title, scale=scale, axis=axis), alt.X2("null_high")),
        charts.rows(nulls)
        .mark_tick(color=PALETTE["chance"], thickness=4, size=26, opacity=1)
        .encode(side, alt.X("null:Q", title=title, scale=scale, axis=axis)),
    ]
    for name, (shape, _) in SIDES.items():
        one = [clamped(row, domain) for row in values if row["side"] == name]
        marks.append(
            charts.rows(one)
            .mark_point(shape=shape, filled=True, color=PALETTE[name], size=70, opacity=1)
            .encode(side, alt.X("value:Q", title=title, scale=scale, axis=axis))
        )
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def clamped(row: Row, domain: Domain) -> Row:
    """The row with every number of it within the domain: nothing is drawn outside of the frame."""
    low, high = domain
    return {key: min(max(cell, low), high) if isinstance(cell, float) else cell for key, cell in row.items()}


def domain_of(rows: pl.DataFrame) -> Domain:
    """Range of all values, nulls and intervals of the models, with some air."""
    models = rows.filter(pl.col("side").is_in(list(SIDES)))
    columns = [name for name in ("value", "null", "low", "high", "null_low", "null_high") if name in models.columns]
    values = [value for name in columns for value in models[name].drop_nulls().to_list()]
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.08 * ((high - low) or 1.0)
    return low - air, high + air


def keys(*, note: str = "", line: bool = True, band: bool = False) -> tuple[Key, ...]:
    """Legend entries of the two models.

    Args:
        note: What the labels add to the side.
        line: Whether the points lie on a line.
        band: Whether there is a band around them.
    """
    found = []
    for side, (shape, dash) in SIDES.items():
        parts = []
        if band:
            parts.append(svg.element("rect", x=1, y=2, width=32, height=10, class_=f"f-{side}", opacity=0.2))
        if line:
            gaps = None if dash == [1, 0] else " ".join(map(str, dash))
            drawn = {"class_": f"s-{side}", "stroke_width": 2, "stroke_dasharray": gaps}
            parts.append(svg.element("line", x1=1, y1=7, x2=33, y2=7, **drawn))
        if shape == "circle":
            parts.append(svg.element("circle", cx=17, cy=7, r=4, class_=f"f-{side}"))
        else:
            parts.append(svg.element("rect", x=13.5, y=3.5, width=7, height=7, class_=f"f-{side}"))
        found.append(Key(sample=svg.sample(*parts), label=f"{side}{note}"))
    return tuple(found)
