"""Section 6: how few components carry the work."""

from __future__ import annotations

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import lorenz as drawings
from reports.figures import sides
from reports.figures.base import Figure, Panel
from reports.prose import index_name, index_title
from reports.sections.base import Section
from reports.templating import render_template

DRAWS = ("selectivity", "specialization")
"""Tables and measures that this section draws."""

LISTED = 100
"""Components of each model and task that the page lists; the download has all."""
SELECTIVE = 10
"""Most selective components of each model that the page lists."""
EFFECTS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "component": tables.text("component"),
    "effect": tables.real("effect"),
    "low": tables.real("low"),
    "high": tables.real("high"),
}
SELECTED = {
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "component": tables.text("component"),
    "task": tables.text("task"),
    "selectivity": tables.real("selectivity"),
    "null": tables.real("null"),
    "null_low": tables.real("null, low"),
    "null_high": tables.real("null, high"),
    "p": tables.p_values("p, not corrected"),
}
INDICES = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "index": tables.text("index"),
    "side": tables.text("side"),
    "value": tables.real("observed"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "null": tables.real("null"),
    "null_low": tables.real("null, low"),
    "null_high": tables.real("null, high"),
    "excess": tables.real("excess"),
}
DEBIASED = "renyi_entropy"
"""The index that noise does not move."""
_TESTED = (
    "Hypotheses are tested with this one, of squared effects, estimated without bias from products over different "
    "prompts: more noise does not move it. It may lie beyond 0 and 1, and has no value where the effects of different "
    "prompts agree no more than by chance. The others are of magnitudes, which noise alone moves: they are described "
    "beside their null and not tested."
)
_DESCRIBED = (
    "Noise alone is not evenly spread, so only the distance from the null, not from zero, speaks for specialization; "
    "more noise in one of the models moves the index, so its shift is described and not tested."
)
CROSSFITTED = {"crossfitted": tables.real("cross-fitted")}


def section(data: ReportData) -> Section | None:
    """Lorenz curves of the component effects, and the index observed beside its null."""
    components, indices = attributed(data.table("components")), indices_of("specialization", data.table("indices"))
    figures = []
    if components is not None or indices is not None:
        selective = data.table("selectivity")
        figures.append(figure(components, indices, preferred=data.methods.index, selective=selective))
    if not figures and not data.declares("specialization"):
        return None
    body = render_template("figures", figures=figures, missing="components and indices")
    return Section(id="specialization", title="Specialization", body=body)


def indices_of(measure: str, indices: pl.DataFrame | None) -> pl.DataFrame | None:
    """The indices of one measure; None where there are none."""
    found = None if indices is None else indices.filter(pl.col("measure") == measure)
    return None if found is None or found.is_empty() else found


def attributed(components: pl.DataFrame | None) -> pl.DataFrame | None:
    """The effects that the indices are of: those summed from the edges' attributions; None where there are none."""
    if components is None or "method" not in components.columns:
        return components
    found = components.filter((pl.col("method") == "attribution") & pl.col("token_role").is_null())
    return None if found.is_empty() else found


def figure(
    components: pl.DataFrame | None,
    indices: pl.DataFrame | None,
    *,
    preferred: str,
    selective: pl.DataFrame | None = None,
) -> Figure:
    """Curves and index for each task and pair that either table has; below, how selective the components are."""
    names = [] if indices is None else in_order(indices, "index")
    index = preferred if preferred in names or not names else names[0]
    chosen = None if indices is None else indices.filter(pl.col("index") == index)
    keys = [frame.select("task", "pair") for frame in (components, chosen) if frame is not None]
    grid = pl.concat(keys).unique(maintain_order=True)
    panels = [
        _panel(task, pair, _rows(components, task, pair), _rows(chosen, task, pair), index, chosen)
        for task, pair, _ in panels_of(grid)
    ]
    found = []
    if components is not None:
        found.append(_effects(components))
    if indices is not None:
        found.append(tables.from_frame("Indices of specialization", indices, INDICES | CROSSFITTED))
    if selective is not None:
        found.append(_selective(selective))
    return Figure(
        id="figure-specialization",
        caption=(
            "First: share of the total effect that the components with the smallest effects hold together; the further "
            "a curve hangs below the diagonal, the fewer components do the work. "
            f"Second: the {index_name(index)} of the same effects, higher where fewer components do the work."
        ),
        more=f"{_TESTED if index == DEBIASED else _DESCRIBED} The table has every index.",
        panels=tuple(panels),
        columns=len(in_order(grid, "pair")),
        legend=drawings.legend(),
        tables=tuple(found),
    )


def _effects(components: pl.DataFrame) -> tables.Table:
    """The effects, of a large model only the largest ones of each side."""
    place = pl.col("effect").abs().fill_null(-1.0).rank("ordinal", descending=True)
    kept = components.filter(place.over("task", "pair", "side") <= LISTED)
    cut = "" if kept.height == components.height else f": the {LISTED} largest of each model and task"
    return tables.from_frame(f"Effects of the components{cut}", kept, EFFECTS)


def _selective(components: pl.DataFrame) -> tables.Table:
    """How specific components are to a task, of each model the most selective ones."""
    place = pl.col("selectivity").rank("ordinal", descending=True)
    kept = components.filter(place.over("pair", "side") <= SELECTIVE)
    return tables.from_frame(f"The {SELECTIVE} most selective components of each model, over all tasks", kept, SELECTED)


def _panel(
    task: str, pair: str, effects: pl.DataFrame, values: pl.DataFrame, index: str, chosen: pl.DataFrame | None
) -> Panel:
    drawn = []
    if not effects.is_empty():
        label = f"Lorenz curves of the component effects before and after, {task}, {pair}."
        drawn.append(drawings.lorenz(effects, label=label))
    if chosen is not None and not values.is_empty():
        domain = sides.domain_of(chosen)
        label = f"{index_name(index)}, {task}, {pair}: {observed_words(values)}."
        drawn.append(sides.observed(values, title=index_title(index), domain=domain, label=label))
    return Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=shift_note(values))


def _rows(frame: pl.DataFrame | None, task: str, pair: str) -> pl.DataFrame:
    return pl.DataFrame() if frame is None else frame.filter((pl.col("task") == task) & (pl.col("pair") == pair))


def preferred(indices: pl.DataFrame, index: str) -> pl.DataFrame:
    """Rows of one index, or all others where it has none."""
    found = indices.filter(pl.col("index") == index)
    return indices if found.is_empty() else found


def observed_words(values: pl.DataFrame) -> str:
    """The index of each side beside its null, in words."""
    parts = [
        f"{row['side']} {formats.number(row['value'])}"
        + ("" if row["null"] is None else f" (null {formats.number(row['null'])})")
        for row in values.rows(named=True)
        if row["side"] != "shift"
    ]
    return formats.listed(parts) or "no values"


def shift_note(values: pl.DataFrame) -> str:
    """The shift of an index with its interval, in words."""
    shifts = [] if values.is_empty() else values.filter(pl.col("side") == "shift").rows(named=True)
    return "; ".join(
        f"shift {formats.number(row['value'])} {formats.interval(row['low'], row['high'])}" for row in shifts
    )
