"""Faithfulness over the size of the circuit beside random circuits, and of the circuit of the other model."""

from __future__ import annotations

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, sides, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row
from reports.figures.sides import HEIGHT, SIDES, WIDTH, Domain, clamped

LIMITS = (-1.0, 2.0)
"""Faithfulness is drawn within these limits; the table has it whole."""
_NAMES_WIDTH = 44
_CIRCUITS = {"own": -9, "partner": 9}


def curves(rows: pl.DataFrame, *, domain: Domain, label: str) -> Markup:
    """Faithfulness over size of both models with intervals, and the range of random circuits in grey.

    Args:
        rows: One pair's, task's and intervention's rows of the table `faithfulness`, circuits `own` and `random`.
        domain: Scale shared by all panels.
        label: Text alternative.
    """
    x = _sizes(rows)
    scale = alt.Scale(domain=list(domain), nice=False)
    axis = alt.Axis(tickCount=5, format=".2~f")
    low = alt.Y("low:Q", title="faithfulness", scale=scale, axis=axis)
    y = alt.Y("faithfulness:Q", title="faithfulness", scale=scale, axis=axis)
    names = [{"at": 0.0, "name": "none"}, {"at": 1.0, "name": "whole"}]
    at = alt.Y("at:Q", scale=scale)
    width = WIDTH + 10 - _NAMES_WIDTH
    random = {side: _values(rows, side=side, circuit="random", domain=domain) for side in SIDES}
    own = {side: _values(rows, side=side, circuit="own", domain=domain) for side in SIDES}
    bands = [charts.rows(_ranged(values)).mark_area(color=PALETTE["chance"], opacity=0.3) for values in random.values()]
    bands += [charts.rows(_ranged(own[side])).mark_area(color=PALETTE[side], opacity=0.2) for side in SIDES]
    drawn = [band.encode(x, low, alt.Y2("high")) for band in bands]
    drawn.append(charts.rows(names).mark_rule(color=PALETTE["chance"], strokeWidth=1.5).encode(at))
    drawn.append(
        charts.rows(names)
        .mark_text(align="left", fontSize=11, color=PALETTE["muted"])
        .encode(at, x=alt.value(width + 5), text="name:N")
    )
    for side, (_, dash) in SIDES.items():
        drawn.append(charts.rows(random[side]).mark_line(color=PALETTE["chance"], strokeDash=dash).encode(x, y))
    for side, (shape, dash) in SIDES.items():
        points, colour = charts.rows(own[side]), PALETTE[side]
        drawn.append(points.mark_line(color=colour, strokeWidth=2, strokeDash=dash).encode(x, y))
        drawn.append(points.mark_point(shape=shape, filled=True, color=colour, size=36, opacity=1).encode(x, y))
    return charts.to_svg(charts.layer(drawn, width=width, height=HEIGHT, right=_NAMES_WIDTH), label=label)


def transfer(rows: pl.DataFrame, *, domain: Domain, label: str) -> Markup:
    """Faithfulness of each model's own circuit (filled) and, below it, of the other model's circuit (hollow).

    Args:
        rows: One pair's, task's and intervention's rows of the table `faithfulness`, circuits `own` and `partner`.
        domain: Scale shared by all panels.
        label: Text alternative.
    """
    scale = alt.Scale(domain=list(domain), nice=False)
    axis = alt.Axis(tickCount=4, format=".2~f", grid=True)
    side = alt.Y("side:N", title=None, sort=list(SIDES), scale=alt.Scale(domain=list(SIDES)))
    x = alt.X("faithfulness:Q", title="faithfulness", scale=scale, axis=axis)
    low = alt.X("low:Q", title="faithfulness", scale=scale, axis=axis)
    ends = alt.X("at:Q", title="faithfulness", scale=scale, axis=axis)
    marks = [
        charts.rows([{"at": 0.0}, {"at": 1.0}]).mark_rule(color=PALETTE["chance"], strokeWidth=1.5).encode(ends),
    ]
    for name, (shape, _) in SIDES.items():
        for circuit, offset in _CIRCUITS.items():
            values = _values(rows, side=name, circuit=circuit, domain=domain)
            fill = PALETTE[name] if circuit == "own" else PALETTE["paper"]
            marks.append(
                charts.rows(_ranged(values))
                .mark_rule(color=PALETTE["ink"], strokeWidth=1.5, yOffset=offset)
                .encode(side, low, alt.X2("high"))
            )
            marks.append(
                charts.rows(values)
                .mark_point(shape=shape, fill=fill, stroke=PALETTE[name], size=60, opacity=1, yOffset=offset)
                .encode(side, x)
            )
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def domain_of(rows: pl.DataFrame) -> Domain:
    """Range of all values and intervals with 0 and 1, within :data:`LIMITS`."""
    values = [v for name in ("faithfulness", "low", "high") for v in rows[name].drop_nulls().to_list()]
    low, high = min([0.0, *values]), max([1.0, *values])
    air = 0.06 * (high - low)
    return max(LIMITS[0], low - air), min(LIMITS[1], high + air)


def legend() -> tuple[Key, ...]:
    """What the lines, bands and points of the curves mean."""
    random = svg.sample(
        svg.element("rect", x=1, y=2, width=32, height=10, class_="f-chance", opacity=0.3),
        svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-chance", stroke_width=2),
    )
    null = svg.sample(svg.element("rect", x=15, y=0, width=4, height=14, class_="f-chance"))
    return (
        *sides.keys(note=", with its interval", band=True),
        Key(sample=random, label="random circuits: mean and range of the draws (dashed: after)"),
        Key(sample=null, label="CMD of random circuits, mean (and range)"),
    )


def transfer_legend() -> tuple[Key, ...]:
    """What the points of the transfer mean."""
    own, partner = (
        svg.sample(
            svg.element("circle", cx=10, cy=7, r=4, class_=f"{fills[0]} s-before", stroke_width=2),
            svg.element("rect", x=20, y=3, width=8, height=8, class_=f"{fills[1]} s-after", stroke_width=2),
        )
        for fills in (("f-before", "f-after"), ("f-paper", "f-paper"))
    )
    return Key(sample=own, label="own circuit"), Key(sample=partner, label="the other model's circuit")


def _sizes(rows: pl.DataFrame) -> alt.X:
    found = sorted({float(value) for value in rows["percent"].drop_nulls().to_list() if value > 0}) or [1.0]
    decades = [value for value in (0.01, 0.1, 1.0, 10.0, 100.0) if found[0] <= value <= found[-1]]
    scale = alt.Scale(type="log", domain=[found[0] / 1.25, found[-1] * 1.25], nice=False)
    axis = alt.Axis(values=decades if len(decades) > 1 else found, format="~g", labelOverlap="greedy", labelFlush=False)
    return alt.X("percent:Q", title="size, % of edges (log)", scale=scale, axis=axis)


def _values(rows: pl.DataFrame, *, side: str, circuit: str, domain: Domain) -> list[Row]:
    found = rows.filter(
        (pl.col("side") == side) & (pl.col("circuit") == circuit) & pl.col("faithfulness").is_not_null()
    ).sort("percent")
    kept = found.select("side", "percent", "faithfulness", "low", "high").to_dicts()
    return [clamped(row, domain) | {"percent": row["percent"]} for row in kept]


def _ranged(values: list[Row]) -> list[Row]:
    return [row for row in values if row["low"] is not None and row["high"] is not None]
