"""Section 5: in which layers the attribution sits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import coefficients
from reports.figures import depth as drawings
from reports.figures.base import Figure, Panel
from reports.figures.coefficients import Coefficient
from reports.sections.base import Section
from reports.templating import render_template

DRAWS = ("layers", "depth_slope", "early_share")
"""Tables and measures that this section draws."""

FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "layer": tables.whole("layer"),
    "share": tables.real("share"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "n": tables.whole("n"),
}


MODEL_FIELDS = {
    "scale": tables.text("scale"),
    "part": tables.text("part"),
    "group": tables.text("group"),
    "term": tables.text("term"),
    "estimate": tables.real("estimate"),
    "se": tables.real("se"),
    "df": tables.real("df"),
    "statistic": tables.real("statistic"),
    "p": tables.p_values("p"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "status": tables.text("status"),
}

CONTRAST_FIELDS = {
    "scale": tables.text("scale"),
    "kind": tables.text("kind"),
    "role": tables.text("role"),
    "regime": tables.text("regime"),
    "over": tables.text("error over"),
    "seed": tables.text("seed"),
    "seeds": tables.whole("seeds"),
    "estimate": tables.real("estimate"),
    "se": tables.real("se"),
    "df": tables.real("df"),
    "statistic": tables.real("statistic"),
    "p": tables.p_values("p"),
    "p_corrected": tables.p_values("p corrected (Holm)"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "message": tables.text("message"),
}


def section(data: ReportData) -> Section | None:
    """Share of attribution per layer before and after, and the paired shift."""
    found, fitted = data.table("layers"), data.table("mixed_models")
    figures = [] if found is None else [figure(found)]
    if fitted is not None:
        figures.append(model_figure(fitted))
    contrasts = data.table("marginal_contrasts")
    if contrasts is not None:
        figures.append(contrast_figure(contrasts))
    if not figures and not data.declares("depth"):
        return None
    body = render_template("figures", figures=figures, missing="layers")
    return Section(id="depth", title="Depth", body=body)


def figure(layers: pl.DataFrame) -> Figure:
    """Shares and shifts for each task and pair."""
    top, reach = drawings.limits(layers)
    panels = []
    for task, pair, rows in panels_of(layers):
        shares = drawings.shares(rows, top=top, label=_label("Share of attribution per layer", task, pair, rows))
        shift = drawings.shift(rows, reach=reach, label=_shift_label(task, pair, rows))
        panels.append(Panel(title=task, subtitle=pair, drawings=(shares, shift), note=_note(rows)))
    return Figure(
        id="figure-depth",
        caption=(
            "First: how the attribution mass is spread over the layers of the edges' sources, before and after. "
            "Second: the paired difference per layer. Points above the line on the left and below it on the right of "
            "a panel mean that attribution moved to earlier layers."
        ),
        panels=tuple(panels),
        columns=len(in_order(layers, "pair")),
        legend=drawings.legend(),
        tables=(tables.from_frame("Shares and shifts per layer", layers, FIELDS),),
    )


def model_figure(fitted: pl.DataFrame) -> Figure:
    """The fixed effects of the mixed models, one panel a scale, and all their numbers."""
    panels = []
    for scale in in_order(fitted, "scale"):
        rows = fitted.filter((pl.col("scale") == scale) & (pl.col("part") == "fixed"))
        shown = [
            Coefficient(term=row["term"], estimate=row["estimate"], low=row["low"], high=row["high"])
            for row in rows.rows(named=True)
            if row["estimate"] is not None
        ]
        words = [f"{one.term} {formats.number(one.estimate)} {formats.interval(one.low, one.high)}" for one in shown]
        label = f"Fixed effects of the mixed model of the shift, scale {scale}: {formats.listed(words) or 'none'}."
        first = rows.row(0, named=True)
        note = first["message"] if first["status"] == "ok" else f"{first['status']}: {first['message']}"
        drawings = (coefficients.draw(shown, label=label),) if shown else ()
        panels.append(Panel(title=scale, subtitle=first["formula"], drawings=drawings, note=note))
    return Figure(
        id="figure-mixed-model",
        caption=(
            "The mixed-effects model of the shift over depth. A negative effect of depth is a shift to earlier layers; "
            "its interactions say how it differs between groups."
        ),
        more=(
            "The shift is that of each prompt in each layer on every pair, depth from -1/2 (first layer) to 1/2 "
            "(last). A prompt's shifts sum to zero over the layers: they count as one row fewer, and effects that do "
            "not vary over layers are zero and not shown. Effects that vary over units which the model does not let "
            "vary, or of which there are too few, are drawn without an interval. The model on centred log-ratios is "
            "the sensitivity analysis: there a layer's gain does not show as a loss of all others."
        ),
        panels=tuple(panels),
        columns=1,
        legend=(),
        tables=(tables.from_frame("Every number of the mixed models", fitted, MODEL_FIELDS),),
    )


def contrast_figure(contrasts: pl.DataFrame) -> Figure:
    """Slopes over depth in roles and regimes and their differences, one panel a scale."""
    panels = []
    for scale in in_order(contrasts, "scale"):
        rows = contrasts.filter(pl.col("scale") == scale).rows(named=True)
        shown = [
            Coefficient(term=_group(row), estimate=row["estimate"], low=row["low"], high=row["high"])
            for row in rows
            if row["estimate"] is not None and (row["seed"] is None or row["kind"] != "slope")
        ]
        words = [f"{one.term} {formats.number(one.estimate)} {formats.interval(one.low, one.high)}" for one in shown]
        label = (
            f"Slopes of the shift over depth and their differences, scale {scale}: {formats.listed(words) or 'none'}."
        )
        drawn = (coefficients.draw(shown, label=label),) if shown else ()
        note = _notes([row for row in rows if row["seed"] is None])
        panels.append(Panel(title=scale, subtitle="slope of the shift over depth", drawings=drawn, note=note))
    return Figure(
        id="figure-marginal-contrasts",
        caption=(
            "The slope of the shift over depth in each group, and its differences between groups. Negative slopes are "
            "shifts to earlier layers; a negative difference says that the first group moved to earlier layers than "
            "the second."
        ),
        more=(
            "There is one slope for each prompt on every pair. From five seeds on the errors are over prompts (or "
            "random templates) and seeds; with fewer they are for these seeds, and say nothing about others: each seed "
            "is listed. Intervals are not corrected; p-values in the table are Holm-corrected over the rows of a scale "
            "that are over all seeds, and are no part of the family of hypotheses."
        ),
        panels=tuple(panels),
        columns=1,
        legend=(),
        tables=(tables.from_frame("Slopes over depth and their differences", contrasts, CONTRAST_FIELDS),),
    )


def _notes(rows: Sequence[Mapping[str, Any]]) -> str:
    """What to keep in mind of contrasts, each sentence once with those that it is about where it is not all."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for message in filter(None, (row["message"] or "").split("; ")):
            about.setdefault(message, []).append(_group(row))
    sentences = [
        message if len(groups) == len(rows) else f"{message}: {formats.listed(groups)}"
        for message, groups in about.items()
    ]
    return "".join(f"{sentence[0].upper()}{sentence[1:]}. " for sentence in sentences).strip()


def _group(row: Mapping[str, Any]) -> str:
    """The levels of a contrast, e.g. `treatment − control, global`."""
    levels = [level for level in (row["role"], row["regime"]) if level is not None]
    seed = "" if row["seed"] is None else f" (seed {row['seed']})"
    return (", ".join(levels).replace(" - ", " − ") or "all") + seed


def _note(rows: pl.DataFrame) -> str:
    shifts = rows.filter(pl.col("side") == "shift")
    if shifts.is_empty():
        return "No paired shift in this run."
    unsure = shifts.filter(pl.col("low").is_null() | pl.col("high").is_null())
    return "" if unsure.is_empty() else "Points without a line have no interval."


def _label(start: str, task: str, pair: str, rows: pl.DataFrame) -> str:
    peaks = []
    for side in ("before", "after"):
        one = rows.filter((pl.col("side") == side) & pl.col("share").is_not_null()).sort("share", descending=True)
        if not one.is_empty():
            peaks.append(f"largest {side} in layer {one['layer'][0]} ({formats.percent(one['share'][0])})")
    return f"{start}, {task}, {pair}: {formats.listed(peaks) or 'no values'}."


def _shift_label(task: str, pair: str, rows: pl.DataFrame) -> str:
    points = [
        f"{formats.number(row['share'])} in layer {row['layer']}"
        for row in rows.filter(pl.col("side") == "shift").sort("layer").rows(named=True)
    ]
    return f"Shift of the share per layer, {task}, {pair}: {formats.listed(points) or 'none'}."
