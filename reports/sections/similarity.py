"""Section: how similar the two models' circuits are, whatever the number of prompts, and what of it is inherited."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order
from reports.figures import agreement, svg
from reports.figures.agreement import Agreement
from reports.figures.base import Figure, Key, Panel
from reports.sections.base import Section
from reports.templating import render_template

DRAWS = ("similarity", "inherited")
"""Tables and measures that this section draws."""

FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "role": tables.text("role"),
    "similarity": tables.real("similarity"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "unrelated": tables.real("unrelated"),
    "inherited": tables.real("inherited"),
    "inherited_low": tables.real("inherited low"),
    "inherited_high": tables.real("inherited high"),
    "plain": tables.real("with noise"),
    "reliability_before": tables.real("reliability before"),
    "reliability_after": tables.real("reliability after"),
    "noise_ratio": tables.real("noise after / before"),
    "n": tables.whole("prompts"),
    "status": tables.text("status"),
}


def section(data: ReportData) -> Section | None:
    """Similarity of every pair on each task, beside the level of unrelated models."""
    found = data.table("similarity")
    if found is None:
        return None
    body = render_template("figures", figures=[figure(found)], missing="similarity")
    return Section(id="similarity", title="Similarity of the circuits", body=body)


def figure(found: pl.DataFrame) -> Figure:
    """A panel for each task: the similarity of every pair, and beside it what is inherited, where that is known."""
    inherited = found["inherited"].is_not_null().any()
    columns = [("similarity", "low", "high"), ("inherited", "inherited_low", "inherited_high")][: 1 + inherited]
    panels = []
    for task in in_order(found, "task"):
        rows = found.filter(pl.col("task") == task)
        drawings = tuple(drawn for names in columns if (drawn := _drawing(task, rows, names, found)) is not None)
        bad = rows.filter(pl.col("status") != "ok").rows(named=True)
        note = "; ".join(f"{row['pair']}: {row['status']}" for row in bad)
        panels.append(Panel(title=task, subtitle="", drawings=drawings, note=note))
    text = (
        "The cosine of the two models' mean scores of all edges, corrected for the noise of both. 1 (dashed): the same "
        "circuit but for a factor."
    )
    level = found["unrelated"].is_not_null().any()
    if level:
        text += " The bar is the level of unrelated models, trained from another start."
    else:
        text += " The spec has no pair of role unrelated, which would show how similar any two models are."
    text += " Second: what is inherited, from that level (0) to 1." if inherited else ""
    return Figure(
        id="figure-similarity",
        caption=text,
        more=(
            "It is a property of the models and the task: neither the number of prompts nor the noise of the scores "
            "moves it. An estimate can lie above 1 by chance. A few strong edges that any model of the shape has can "
            "bring it near 1."
        ),
        panels=tuple(panels),
        columns=1,
        legend=_legend(level=level),
        tables=(tables.from_frame("Similarity", found, FIELDS),),
    )


def _drawing(task: str, rows: pl.DataFrame, names: tuple[str, str, str], found: pl.DataFrame) -> Markup | None:
    value, low, high = names
    shared = value == "similarity"
    points = [
        Agreement(
            name=row["pair"],
            between=row[value],
            low=row[low],
            high=row[high],
            null_low=row["unrelated"] if shared else None,
            null_high=row["unrelated"] if shared else None,
            ceiling=1.0,
        )
        for row in rows.rows(named=True)
        if row[value] is not None
    ]
    if not points:
        return None
    words = [f"{one.name} {formats.number(one.between)} {formats.interval(one.low, one.high)}" for one in points]
    title = "Similarity" if shared else "Inherited"
    scale = agreement.scale_of([one for name in names for one in found[name].drop_nulls().to_list()])
    return agreement.draw(points, scale=scale, label=f"{title} on {task}: {formats.listed(words)}.")


def _legend(*, level: bool) -> tuple[Key, ...]:
    """What is drawn; `level`: whether that of unrelated models is."""
    point, _, ceiling = agreement.legend()
    keys = [point]
    if level:
        bar = svg.sample(svg.element("rect", x=16, y=2, width=2, height=10, class_="f-chance", opacity=0.35))
        keys.append(Key(sample=bar, label="unrelated models"))
    return (*keys, Key(sample=ceiling.sample, label="1: the same but for a factor"))
