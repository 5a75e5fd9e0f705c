"""Overlap over K: the Jaccard index between the models against chance and ceiling, the retention index beside it."""

from __future__ import annotations

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row

WIDTH, HEIGHT = 196, 150
_NAMES_WIDTH = 48
RETENTION_LIMITS = (-1.0, 2.0)
"""Intervals are drawn within these limits; the table has them whole."""


def jaccard(rows: pl.DataFrame, *, top: float, label: str) -> Markup:
    """Between-model Jaccard over K, the permutation null as a band, both ceilings and their geometric mean.

    Args:
        rows: One pair's and task's rows of the table `overlap`.
        top: Upper end of the scale, shared by all panels.
        label: Text alternative.
    """
    values = rows.sort("k").to_dicts()
    x = over_k(values)
    y = alt.Y("value:Q", title="Jaccard index", scale=alt.Scale(domain=[0, top], nice=False), axis=_axis())
    band = charts.rows([row for row in values if _has(row, "null_low", "null_high")])
    marks = [
        band.mark_area(color=PALETTE["chance"], opacity=0.35).encode(
            x,
            alt.Y("null_low:Q", title="Jaccard index", scale=alt.Scale(domain=[0, top], nice=False), axis=_axis()),
            alt.Y2("null_high"),
        ),
        _points(values, "ceiling").mark_line(color=PALETTE["ceiling"], strokeWidth=2, strokeDash=[6, 3]).encode(x, y),
        _points(values, "ceiling_before")
        .mark_point(shape="triangle-up", filled=True, color=PALETTE["before"], size=42, opacity=1)
        .encode(x, y),
        _points(values, "ceiling_after")
        .mark_point(shape="triangle-down", filled=True, color=PALETTE["after"], size=42, opacity=1)
        .encode(x, y),
        _points(values, "between").mark_line(color=PALETTE["ink"], strokeWidth=2).encode(x, y),
        _points(values, "between").mark_point(filled=True, color=PALETTE["ink"], size=40, opacity=1).encode(x, y),
    ]
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def retention(rows: pl.DataFrame, *, domain: tuple[float, float], label: str) -> Markup:
    """Retention index over K with intervals, between chance (0) and ceiling (1)."""
    values = [row for row in rows.sort("k").to_dicts() if _has(row, "retention")]
    drawn = [
        row | {"low": max(row["low"], domain[0]), "high": min(row["high"], domain[1])}
        for row in values
        if _has(row, "low", "high")
    ]
    width = WIDTH + 10 - _NAMES_WIDTH  # as wide as the drawing beside it, names included
    x = over_k(rows.to_dicts())
    scale = alt.Scale(domain=list(domain), nice=False)
    y = alt.Y("retention:Q", title="retention index", scale=scale, axis=_axis())
    names = [{"at": 0.0, "name": "chance"}, {"at": 1.0, "name": "ceiling"}]
    at = alt.Y("at:Q", scale=scale)
    marks = [
        charts.rows(names[:1]).mark_rule(color=PALETTE["chance"], strokeWidth=1.5).encode(at),
        charts.rows(names[1:]).mark_rule(color=PALETTE["ceiling"], strokeWidth=2, strokeDash=[6, 3]).encode(at),
        charts.rows(names)
        .mark_text(align="left", fontSize=11, color=PALETTE["muted"])
        .encode(at, x=alt.value(width + 5), text="name:N"),
        charts.rows(drawn)
        .mark_rule(color=PALETTE["ink"], strokeWidth=1.5)
        .encode(x, alt.Y("low:Q", title="retention index", scale=scale, axis=_axis()), alt.Y2("high")),
        charts.rows(values).mark_line(color=PALETTE["ink"], strokeWidth=1, opacity=0.45).encode(x, y),
        charts.rows(values)
        .mark_point(shape="diamond", filled=True, color=PALETTE["ink"], size=60, opacity=1)
        .encode(x, y),
    ]
    return charts.to_svg(charts.layer(marks, width=width, height=HEIGHT, right=_NAMES_WIDTH), label=label)


def retention_domain(overlap: pl.DataFrame) -> tuple[float, float]:
    """Range of all retention indices and intervals with 0 and 1, within :data:`RETENTION_LIMITS`."""
    values = [value for name in ("retention", "low", "high") for value in overlap[name].drop_nulls().to_list()]
    low, high = min([0.0, *values]), max([1.0, *values])
    air = 0.06 * (high - low)
    return max(RETENTION_LIMITS[0], low - air), min(RETENTION_LIMITS[1], high + air)


def legend() -> tuple[Key, ...]:
    """What lines, bands and points mean."""
    line = svg.sample(
        svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-ink", stroke_width=2),
        svg.element("circle", cx=17, cy=7, r=3.5, class_="f-ink"),
    )
    band = svg.sample(svg.element("rect", x=1, y=2, width=32, height=10, class_="f-chance", opacity=0.35))
    ceiling = svg.sample(
        svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-ceiling", stroke_width=2, stroke_dasharray="6 3")
    )
    before = svg.sample(svg.element("path", d="M17 2l5 9h-10z", class_="f-before"))
    after = svg.sample(svg.element("path", d="M17 12l5 -9h-10z", class_="f-after"))
    index = svg.sample(
        svg.element("line", x1=17, y1=0, x2=17, y2=14, class_="s-ink", stroke_width=1.5),
        svg.element("path", d="M17 2l5 5l-5 5l-5 -5z", class_="f-ink"),
    )
    return (
        Key(sample=line, label="between the two models"),
        Key(sample=band, label="chance, 95 % of permutations"),
        Key(sample=ceiling, label="ceiling: geometric mean of the next two"),
        Key(sample=before, label="model before with itself"),
        Key(sample=after, label="model after with itself"),
        Key(sample=index, label="retention index and interval"),
    )


def over_k(values: list[Row]) -> alt.X:
    """The sizes K of some rows on a log scale."""
    sizes = sorted({int(row["k"]) for row in values})
    pad = 1.25
    scale = alt.Scale(type="log", domain=[max(sizes[0], 1) / pad, max(sizes[-1], 1) * pad], nice=False)
    axis = alt.Axis(values=sizes, format=",d", labelOverlap="greedy", labelFlush=False)
    return alt.X("k:Q", title="circuit size K (log scale)", scale=scale, axis=axis)


def _axis() -> alt.Axis:
    return alt.Axis(tickCount=4, format=".2~f")


def _points(values: list[Row], column: str) -> alt.Chart:
    return charts.rows([{"k": row["k"], "value": row[column]} for row in values if _has(row, column)])


def _has(row: Row, *columns: str) -> bool:
    return all(row[column] is not None for column in columns)
