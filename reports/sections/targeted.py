"""Section 6, third part: what it costs to lose the components that a circuit uses most, early, late or at random."""

from __future__ import annotations

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import effects, sides
from reports.figures.base import Figure, Panel
from reports.figures.effects import Effect
from reports.prose import ablation_words
from reports.sections.base import Part, Section
from reports.sections.estimates import estimates_tables
from reports.templating import render_template

DRAWS = ("targeted",)
"""Tables and measures that this section draws."""

_FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "layers": tables.text("layers"),
    "effect": tables.real("effect"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "beyond": tables.real("aimed at minus this"),
    "beyond_low": tables.real("low"),
    "beyond_high": tables.real("high"),
    "p": tables.p_values("p among draws"),
    "components": tables.text("components"),
    "status": tables.text("status"),
}
_BEYOND = "Effect of the components aimed at minus the mean effect of the random groups"
_EXPLAINED = (
    "The heads and MLPs of some layers that a model's own circuit uses most, by the sum of the scores of their "
    "outgoing edges, are knocked out together. Beside them stand as many of the most used ones of the other layers, "
    "and random groups of as many heads and as many MLPs from anywhere. Each model loses its own components, so that "
    "the groups of the two models differ.",
)


def section(data: ReportData) -> Section | None:
    """A figure for each targeted ablation; None where there was none."""
    found = data.table("targeted")
    if found is None:
        return None
    parts = [Part(paragraphs=_EXPLAINED)]
    for number, name in enumerate(in_order(found, "intervention"), start=1):
        rows = found.filter(pl.col("intervention") == name)
        beyond = estimates_tables(_BEYOND, data.findings.estimates, "targeted", intervention=name)
        parts.append(Part(heading=name if number > 1 else "", figure=figure(rows, number=number, more=beyond)))
    return Section(id="targeted", title="Targeted ablation", body=render_template("parts", parts=parts))


def figure(rows: pl.DataFrame, *, number: int, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each task and pair the effect of every group, before and after.

    Args:
        rows: Rows of the table `targeted` of one intervention.
        number: Of the figure within the section.
        more: Tables below that of these rows.
    """
    models = rows.filter(pl.col("side").is_in(list(sides.SIDES)))
    scale = _scale(models)
    panels = []
    for task, pair, one in panels_of(models):
        values = {side: _effects(one.filter(pl.col("side") == side)) for side in sides.SIDES}
        names = [_name(row) for row in one.unique("layers", maintain_order=True).rows(named=True)]
        shown = {name: [values[side][name].value for side in sides.SIDES if name in values[side]] for name in names}
        words = [f"{name} {' and '.join(map(formats.number, found))}" for name, found in shown.items() if found]
        label = f"Effect of losing components before and after, {task}, {pair}: {formats.listed(words) or 'none'}."
        drawn = effects.draw(values, rows=names, scale=scale, title="metric lost", label=label)
        notes = [f"{row['side']}: {row['status']}." for row in one.rows(named=True) if row["status"] != "ok"]
        panels.append(Panel(title=task, subtitle=pair, drawings=(drawn,), note=" ".join(notes)))
    size, ablation = rows["size"][0], rows["ablation"][0]
    return Figure(
        id=f"figure-targeted-{number}",
        caption=(
            f"Metric lost without {formats.plural(size, 'component')} ({ablation_words(ablation)}), with intervals "
            "over prompts (or random templates); * marks the group aimed at. Random: mean over draws; p among draws is "
            "the share of draws whose effect is at least as large."
        ),
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=sides.keys(line=False),
        tables=(tables.from_frame("Effects of groups of components", rows, _FIELDS), *more),
    )


def _effects(rows: pl.DataFrame) -> dict[str, Effect]:
    return {
        _name(row): Effect(value=row["effect"], low=row["low"], high=row["high"])
        for row in rows.rows(named=True)
        if row["effect"] is not None
    }


def _name(row: dict[str, object]) -> str:
    return f"{row['layers']} *" if row["target"] else str(row["layers"])


def _scale(rows: pl.DataFrame) -> tuple[float, float]:
    values = [value for name in ("effect", "low", "high") for value in rows[name].drop_nulls().to_list()]
    low, high = min([0.0, *values]), max([0.0, *values])
    air = 0.08 * ((high - low) or 1.0)
    return low - air, high + air
