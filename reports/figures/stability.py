"""Stability over K: the mean Jaccard index of resamples, of edges and nodes of both models, and the bar."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import polars as pl
from markupsafe import Markup

from reports.figures import charts, svg
from reports.figures.base import Key
from reports.figures.charts import PALETTE
from reports.figures.overlap import HEIGHT, WIDTH, over_k

_NAME_WIDTH = 26
_SHAPES = {"before": "triangle-up", "after": "triangle-down"}


def draw(rows: pl.DataFrame, *, label: str) -> Markup:
    """One pair's and task's rows of the table `stability`; edges filled with solid lines, nodes hollow and dashed."""
    values = [row for row in rows.sort("k").to_dicts() if row["jaccard"] is not None]
    scale = alt.Scale(domain=[0, 1], nice=False)
    y = alt.Y("jaccard:Q", title="Jaccard index", scale=scale, axis=alt.Axis(tickCount=4, format=".2~f"))
    x, at = over_k(rows.to_dicts()), alt.Y("bar:Q", scale=scale)
    bar = charts.rows([{"bar": rows["bar"].max(), "name": "bar"}])
    marks = [
        bar.mark_rule(color=PALETTE["muted"], strokeWidth=1.5, strokeDash=[2, 2]).encode(at),
        bar.mark_text(align="left", fontSize=11, color=PALETTE["muted"]).encode(
            at, x=alt.value(WIDTH + 5), text="name:N"
        ),
    ]
    for side, shape in _SHAPES.items():
        for kind, dash, fill in (("edges", [1, 0], PALETTE[side]), ("nodes", [4, 2], PALETTE["paper"])):
            own = charts.rows([row for row in values if (row["side"], row["kind"]) == (side, kind)])
            marks += [
                own.mark_line(color=PALETTE[side], strokeWidth=1.5, strokeDash=dash).encode(x, y),
                own.mark_point(
                    shape=shape, fill=fill, stroke=PALETTE[side], strokeWidth=1.5, size=42, opacity=1
                ).encode(x, y),
            ]
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT, right=_NAME_WIDTH + 10), label=label)


def legend() -> tuple[Key, ...]:
    """What shapes and lines mean."""
    up, down = "M17 2l5 9h-10z", "M17 12l5 -9h-10z"
    solid = {"x1": 1, "y1": 7, "x2": 33, "y2": 7, "stroke_width": 1.5}
    dashed = solid | {"stroke_dasharray": "4 2"}

    def sample(path: str, side: str, line: Mapping[str, float | str], fill: str) -> Markup:
        return svg.sample(
            svg.element("line", **line, class_=f"s-{side}"),
            svg.element("path", d=path, class_=f"f-{fill} s-{side}", stroke_width=1.5),
        )

    return (
        Key(sample=sample(up, "before", solid, "before"), label="edges of the model before"),
        Key(sample=sample(down, "after", solid, "after"), label="edges of the model after"),
        Key(sample=sample(up, "before", dashed, "paper"), label="nodes of the model before"),
        Key(sample=sample(down, "after", dashed, "paper"), label="nodes of the model after"),
    )
