"""Power of a test over the distance from its null."""

from __future__ import annotations

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE
from reports.figures.sides import HEIGHT, WIDTH

TARGET = 0.8
"""The power that a detectable effect is detected with."""
_DASH = [5, 3]


def curve(rows: pl.DataFrame, *, label: str) -> Markup:
    """Share of rejections over the distance, uncorrected with its band and corrected (dashed).

    Args:
        rows: One hypothesis' rows: columns `distance`, `power`, `low`, `high`, `corrected`, finite.
        label: Text alternative.
    """
    values = rows.select("distance", "power", "low", "high", "corrected").to_dicts()
    scale = alt.Scale(domain=[0.0, 1.0], nice=False)
    axis = alt.Axis(tickCount=5, format=".2~f")
    x = alt.X("distance:Q", title="distance from the null", axis=alt.Axis(tickCount=4, format=".3~g"))

    def y(name: str) -> alt.Y:
        return alt.Y(f"{name}:Q", title="power", scale=scale, axis=axis)

    ink, chance = PALETTE["ink"], PALETTE["chance"]
    marks = [
        charts.rows([{"at": TARGET}]).mark_rule(color=chance, strokeWidth=1.5).encode(y("at")),
        charts.rows(values).mark_area(color=chance, opacity=0.3).encode(x, y("low"), alt.Y2("high")),
        charts.rows(values).mark_line(color=ink, strokeWidth=2, strokeDash=_DASH).encode(x, y("corrected")),
        charts.rows(values).mark_line(color=ink, strokeWidth=2).encode(x, y("power")),
        charts.rows(values).mark_point(filled=True, color=ink, size=24, opacity=1).encode(x, y("power")),
    ]
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def legend() -> tuple[Key, ...]:
    """What the lines mean."""
    line = {"x1": 1, "y1": 7, "x2": 33, "y2": 7, "class_": "s-ink", "stroke_width": 2}
    one = svg.sample(
        svg.element("rect", x=1, y=2, width=32, height=10, class_="f-chance", opacity=0.3),
        svg.element("line", **line),
    )
    corrected = svg.sample(svg.element("line", **line, stroke_dasharray=" ".join(map(str, _DASH))))
    band = svg.sample(
        svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-ink", stroke_width=1.75),
        svg.element("rect", x=13, y=3, width=8, height=8, class_="f-ink"),
    )
    return (
        Key(sample=band, label="rate with its 95 % band; the vertical line is the nominal value"),
        Key(sample=one, label="power, uncorrected, with its 95 % band"),
        Key(sample=corrected, label="power after the correction; the horizontal line is .8"),
    )
