"""One number of each pair, layer by layer: the treatment beside its controls, with bands."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, roles
from reports.figures.base import Key
from reports.figures.charts import PALETTE, Row
from reports.figures.roles import LOOKS
from reports.figures.sides import HEIGHT, WIDTH, Domain, clamped
from reports.templating import visible


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
    x = charts.numbered("layer", sorted({row["layer"] for row in values}), title="layers that have written")
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
        _, _, colour = LOOKS.get(own[0]["role"], LOOKS["control"])
        banded = [clamped(row, domain) for row in own if row["low"] is not None and row["high"] is not None]
        marks.append(charts.rows(banded).mark_area(color=PALETTE[colour], opacity=0.2).encode(x, low, alt.Y2("high")))
    for own in each:
        shape, dash, colour = LOOKS.get(own[0]["role"], LOOKS["control"])
        points = charts.rows([clamped(row, domain) for row in own])
        marks.append(points.mark_line(color=PALETTE[colour], strokeWidth=2, strokeDash=dash).encode(x, y))
        marks.append(
            points.mark_point(shape=shape, filled=True, color=PALETTE[colour], size=36, opacity=1).encode(x, y)
        )
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def legend() -> tuple[Key, ...]:
    """What lines and bands mean."""
    return roles.keys(("treatment", "control"), note=", with its interval")
