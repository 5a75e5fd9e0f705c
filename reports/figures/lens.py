"""What streams and components say about the answer: over the layers, component by component, over denoising steps."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, sides, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row
from reports.figures.sides import HEIGHT, SIDES, WIDTH, Domain, clamped

_LINE, _OFFSET = 24, 5


def trajectories(rows: pl.DataFrame, *, domain: Domain, label: str) -> Markup:
    """Log-probability of the answer in each residual stream, with intervals, and that of the foil in grey.

    Args:
        rows: One pair's and task's rows of the table `lens`, kind `residual`.
        domain: Scale shared by all panels.
        label: Text alternative.
    """
    streams = sorted(set(rows["layer"].to_list()))
    x = charts.numbered("layer", streams, title="residual stream (last: the output)", labelExpr="'x' + datum.label")
    scale, axis = alt.Scale(domain=list(domain), nice=False), alt.Axis(tickCount=5, format=".2~f")

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title="ln probability of the answer", scale=scale, axis=axis)

    found = {side: _values(rows, side, domain) for side in SIDES}
    marks = [
        charts.rows(_ranged(values)).mark_area(color=PALETTE[side], opacity=0.2).encode(x, y("low"), alt.Y2("high"))
        for side, values in found.items()
    ]
    for side, (_, dash) in SIDES.items():
        foils = [row for row in found[side] if row["foil_log_prob"] is not None]
        marks.append(
            charts.rows(foils).mark_line(color=PALETTE["chance"], strokeDash=dash).encode(x, y("foil_log_prob"))
        )
    for side, (shape, dash) in SIDES.items():
        points = charts.rows(found[side])
        marks.append(points.mark_line(color=PALETTE[side], strokeWidth=2, strokeDash=dash).encode(x, y("log_prob")))
        marks.append(
            points.mark_point(shape=shape, filled=True, color=PALETTE[side], size=36, opacity=1).encode(
                x, y("log_prob")
            )
        )
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def attributions(rows: pl.DataFrame, names: Sequence[str], *, domain: Domain, label: str) -> Markup:
    """Direct logit attributions of some components, before above after, with intervals and zero marked.

    Args:
        rows: One pair's and task's rows of the table `lens`.
        names: Components from top to bottom.
        domain: Scale shared by all panels.
        label: Text alternative.
    """
    scale, axis = alt.Scale(domain=list(domain), nice=False), alt.Axis(tickCount=4, format=".2~f", grid=True)
    component = alt.Y("component:N", title=None, sort=list(names), scale=alt.Scale(domain=list(names)))

    def x(column: str) -> alt.X:
        return alt.X(f"{column}:Q", title="added to the logit difference", scale=scale, axis=axis)

    marks = [charts.rows([{"at": 0.0}]).mark_rule(color=PALETTE["chance"], strokeWidth=1.5).encode(x("at"))]
    for side, (shape, _) in SIDES.items():
        offset = -_OFFSET if side == "before" else _OFFSET
        own = rows.filter(
            (pl.col("side") == side) & pl.col("component").is_in(list(names)) & pl.col("direct").is_not_null()
        )
        values = [
            clamped(row, domain)
            for row in own.select("component", "direct", low="direct_low", high="direct_high").to_dicts()
        ]
        marks.append(
            charts.rows(_ranged(values))
            .mark_rule(color=PALETTE["ink"], strokeWidth=1.5, yOffset=offset)
            .encode(component, x("low"), alt.X2("high"))
        )
        marks.append(
            charts.rows(values)
            .mark_point(shape=shape, filled=True, color=PALETTE[side], size=50, opacity=1, yOffset=offset)
            .encode(component, x("direct"))
        )
    height = max(HEIGHT, _LINE * len(names))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=height), label=label)


def decisions(rows: pl.DataFrame, *, label: str) -> Markup:
    """Share of the prompts whose answer is decided by each denoising step.

    Args:
        rows: One pair's and task's rows of the table `denoising`, of the last stream.
        label: Text alternative.
    """
    steps = sorted(set(rows["step"].to_list()))
    x = charts.numbered("step", steps, title="denoising step")
    y = alt.Y(
        "decided:Q",
        title="share of prompts decided",
        scale=alt.Scale(domain=[0, 1.02], nice=False),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    marks = []
    for side, (shape, dash) in SIDES.items():
        own = rows.filter((pl.col("side") == side) & pl.col("decided").is_not_null()).sort("step")
        points = charts.rows(own.select("step", "decided").to_dicts())
        marks.append(
            points.mark_line(color=PALETTE[side], strokeWidth=2, strokeDash=dash, interpolate="step-after").encode(x, y)
        )
        marks.append(points.mark_point(shape=shape, filled=True, color=PALETTE[side], size=36, opacity=1).encode(x, y))
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def domain_of(rows: pl.DataFrame, columns: Sequence[str], *, holding: Sequence[float] = ()) -> Domain:
    """Range of some columns and values, with some air."""
    values = [*holding, *(value for name in columns for value in rows[name].drop_nulls().to_list())]
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.06 * ((high - low) or 1.0)
    return low - air, high + air


def legend(*, null: str) -> tuple[Key, ...]:
    """What the lines of trajectories mean, and the null of the value beside them."""
    foil = svg.sample(svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-chance", stroke_width=2))
    return (
        *sides.keys(note=", with its interval", band=True),
        Key(sample=foil, label="the foil in its place (dashed: after)"),
        null_key(null),
    )


def null_key(label: str) -> Key:
    """The mark of a null."""
    return Key(sample=svg.sample(svg.element("rect", x=15, y=0, width=4, height=14, class_="f-chance")), label=label)


def _values(rows: pl.DataFrame, side: str, domain: Domain) -> list[Row]:
    found = rows.filter((pl.col("side") == side) & pl.col("log_prob").is_not_null()).sort("layer")
    return [
        clamped(row, domain) for row in found.select("layer", "log_prob", "foil_log_prob", "low", "high").to_dicts()
    ]


def _ranged(values: list[Row]) -> list[Row]:
    return [row for row in values if row["low"] is not None and row["high"] is not None]
