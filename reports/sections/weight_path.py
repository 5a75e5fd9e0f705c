"""Section 6, part on pairs: the loss on the straight line between the weights of the two models."""

from __future__ import annotations

import altair as alt
import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import charts, sides, svg
from reports.figures.base import Figure, Key, Panel
from reports.figures.charts import PALETTE
from reports.figures.sides import HEIGHT, SIDES, WIDTH
from reports.sections.base import Part, Section
from reports.sections.estimates import estimates_tables
from reports.templating import render_template

BARRIER = "interpolation_barrier"
DRAWS = ("weight_path", BARRIER)
"""Tables and measures that this section draws."""

_FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("read as"),
    "paradigm": tables.text("paradigm"),
    "point": tables.real("point"),
    "loss": tables.real("loss, nats"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "excess": tables.real("excess"),
    "excess_low": tables.real("low"),
    "excess_high": tables.real("high"),
    "metric": tables.real("metric"),
    "accuracy": tables.share("accuracy"),
    "status": tables.text("status"),
}
_EXPLAINED = (
    "Every weight is moved along the straight line from its value in the model before (0) to that in the model after "
    "(1), and the model in between answers the prompts. Where its loss rises above the line between the losses of the "
    "two ends, there is a barrier: the two models compute alike at most up to a rearrangement of their parts. Without "
    "one they are linearly connected, as models that share most of their training are. The barrier in the table below "
    "is taken at the point that the other half of the prompts chose, so that the highest of many points does not look "
    "higher than it is; it can be below 0.",
    "All points are read as one of the two models is, causally or in both directions. Where the two are read "
    "differently there is a curve for each reading, of which one end is a model that is read in a way foreign to it.",
)


def section(data: ReportData) -> Section | None:
    """A curve for each task and pair, for each intervention; None where there was none."""
    found = data.table("weight_path")
    if found is None:
        return None
    parts = [Part(paragraphs=_EXPLAINED)]
    for number, name in enumerate(in_order(found, "intervention"), start=1):
        rows = found.filter(pl.col("intervention") == name)
        caption = "Barrier, at the point that the other half of the prompts chose"
        more = estimates_tables(caption, data.findings.estimates, BARRIER, intervention=name)
        parts.append(Part(heading=name if number > 1 else "", figure=figure(rows, number=number, more=more)))
    return Section(id="weight-path", title="Between the weights", body=render_template("parts", parts=parts))


def figure(rows: pl.DataFrame, *, number: int, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each task and pair the loss over the path, read as each model; once where both readings are the same.

    Args:
        rows: Rows of the table `weight_path` of one intervention.
        number: Of the figure within the section.
        more: Tables below that of these rows.
    """
    panels = []
    for task, pair, one in panels_of(rows):
        curves = readings(one)
        highest = [_highest(own) for own in curves.values()]
        words = [f"read as {side}, {text}" for side, text in zip(curves, highest, strict=True)]
        label = f"Loss between the weights, {task}, {pair}: {'; '.join(words) or 'none'}."
        drawn = (curve(curves, label=label),) if curves else ()
        notes = [f"{row['side']}: {row['status']}." for row in one.rows(named=True) if row["status"] != "ok"]
        same = len(curves) == 1 and one["side"].n_unique() == 2 and not notes
        notes += ["Both models are read alike."] if same else []
        panels.append(Panel(title=task, subtitle=pair, drawings=drawn, note=" ".join(notes)))
    return Figure(
        id=f"figure-weight-path-{number}",
        caption=(
            "Mean loss (-ln of the probability of the answers) on the line between the weights, with its interval at "
            "each point; dashed in grey the line between the losses of the two ends. The scale differs from panel to "
            "panel."
        ),
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=_legend(),
        tables=(tables.from_frame("Loss, metric and accuracy between the weights", rows, _FIELDS), *more),
    )


def readings(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The points as they are read as each model, by side; of two equal curves the one read as the model after."""
    known = rows.filter(pl.col("loss").is_not_null()).sort("point")
    found = {side: known.filter(pl.col("side") == side) for side in SIDES}
    found = {side: own for side, own in found.items() if not own.is_empty()}
    if len(found) == 2 and found["before"]["loss"].equals(found["after"]["loss"]):
        del found["before"]
    return found


def curve(curves: dict[str, pl.DataFrame], *, label: str) -> Markup:
    """The loss over the points of each reading, with intervals and the line between the ends."""
    values = [
        value
        for own in curves.values()
        for name in ("loss", "low", "high")
        for value in own[name].drop_nulls().to_list()
    ]
    air = 0.06 * ((max(values) - min(values)) or 1.0)
    domain = [min(values) - air, max(values) + air]
    x = alt.X(
        "point:Q",
        title="share of the weights of the model after",
        scale=alt.Scale(domain=[-0.03, 1.03], nice=False),
        axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f"),
    )
    scale, axis = alt.Scale(domain=domain, nice=False), alt.Axis(tickCount=5, format=".2~f")

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title="loss, nats", scale=scale, axis=axis)

    marks = []
    for side, own in curves.items():
        known = own.select("point", "loss", "low", "high").to_dicts()
        ranged = [row for row in known if row["low"] is not None and row["high"] is not None]
        band = charts.rows(ranged).mark_area(color=PALETTE[side], opacity=0.2)
        marks.append(band.encode(x, y("low"), alt.Y2("high")))
        line = charts.rows([known[0], known[-1]])
        marks.append(line.mark_line(color=PALETTE["chance"], strokeDash=[4, 3]).encode(x, y("loss")))
    for side, own in curves.items():
        shape, dash = SIDES[side]
        points = charts.rows(own.select("point", "loss").to_dicts())
        marks.append(points.mark_line(color=PALETTE[side], strokeWidth=2, strokeDash=dash).encode(x, y("loss")))
        marks.append(
            points.mark_point(shape=shape, filled=True, color=PALETTE[side], size=36, opacity=1).encode(x, y("loss"))
        )
    return charts.to_svg(charts.layer(marks, width=WIDTH, height=HEIGHT), label=label)


def _highest(rows: pl.DataFrame) -> str:
    top = rows.sort("excess", descending=True, nulls_last=True, maintain_order=True).row(0, named=True)
    ends = " to ".join(formats.number(value) for value in (rows["loss"][0], rows["loss"][-1]))
    return f"{ends}, {formats.number(top['excess'])} above the line at {formats.number(top['point'])}"


def _legend() -> tuple[Key, ...]:
    line = svg.element("line", x1=1, y1=7, x2=33, y2=7, class_="s-chance", stroke_width=2, stroke_dasharray="4 3")
    return (
        *sides.keys(note=": read as this model", band=True),
        Key(sample=svg.sample(line), label="the line between the ends"),
    )
