"""Section 4: how much of the circuit is kept, over its size."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import agreement
from reports.figures import overlap as drawings
from reports.figures.agreement import Agreement
from reports.figures.base import Figure, Panel
from reports.prose import measure_name
from reports.sections.base import Section
from reports.sections.stability import stability_figure
from reports.templating import render_template

DRAWS = ("overlap", "overlap_by_prompts", "node_overlap", "stability", "retention", "node_retention")
"""Tables and measures that this section draws."""

FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "k": tables.whole("K"),
    "prompts": tables.whole("prompts"),
    "between": tables.real("between"),
    "between_low": tables.real("between low"),
    "between_high": tables.real("between high"),
    "full": tables.real("between, all prompts"),
    "null": tables.real("chance"),
    "null_low": tables.real("chance low"),
    "null_high": tables.real("chance high"),
    "ceiling_before": tables.real("ceiling before"),
    "ceiling_after": tables.real("ceiling after"),
    "ceiling": tables.real("ceiling"),
    "retention": tables.real("retention"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "status": tables.text("status"),
}


MEASURED = {"task": FIELDS["task"], "pair": FIELDS["pair"], "measure": tables.text("measure")} | {
    name: field for name, field in FIELDS.items() if name not in ("task", "pair", "k")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Words of the figure of one kind of sets."""

    id: str
    table: str
    index: str
    caption: str
    more: str = ""


EDGES = _Kind(
    id="figure-overlap",
    table="Overlap and retention",
    index="Jaccard index between the models",
    caption=(
        "First: overlap of the two models' circuits (points) against chance (band) and against how well each model "
        "agrees with itself on other prompts (dashed). Second: the same as the retention index, from 0 (chance) to "
        "1 (the ceiling). A circuit is kept where the points reach the dashed line, replaced where they lie in "
        "the band."
    ),
)
NODES = _Kind(
    id="figure-node-overlap",
    table="Node overlap and retention",
    index="Jaccard index of the nodes between the models",
    caption=(
        "The same of the heads and MLPs that these edges touch. Circuits can share most of their nodes and few of "
        "their edges."
    ),
    more=(
        "The input and the logits, which are in every circuit, are left out. Chance is as many heads and MLPs of the "
        "early, middle and late layers at random, and it is high where a circuit has most of a model's nodes: then "
        "little is left between chance and ceiling, and the index says little."
    ),
)


def section(data: ReportData) -> Section | None:
    """Overlap at sizes K of edges and nodes, agreement without a threshold, and stability, for each task and pair."""
    found = data.table("overlap")
    figures = []
    if found is not None:
        sets, free = (found.filter(pl.col("measure") == "jaccard"), found.filter(pl.col("measure") != "jaccard"))
        nodes, stable = data.table("node_overlap"), data.table("stability")
        figures += [] if sets.is_empty() else [figure(sets, data.table("overlap_by_prompts"))]
        figures += [] if nodes is None or nodes.is_empty() else [figure(nodes, kind=NODES)]
        figures += [] if free.is_empty() else [agreement_figure(free)]
        figures += [] if stable is None or stable.is_empty() else [stability_figure(stable)]
    if not figures and not data.declares("overlap"):
        return None
    body = render_template("figures", figures=figures, missing="overlap")
    return Section(id="overlap", title="Overlap over circuit size", body=body)


CURVE = {name: FIELDS[name] for name in ("task", "pair", "k", "prompts", "between", "null")} | {
    name: FIELDS[name] for name in ("ceiling_before", "ceiling_after", "retention")
}


def figure(overlap: pl.DataFrame, by_prompts: pl.DataFrame | None = None, *, kind: _Kind = EDGES) -> Figure:
    """The overlap curves with the retention index beside them, and in a table how both depend on the prompts."""
    more = () if by_prompts is None else (tables.from_frame("Over the number of prompts", by_prompts, CURVE),)
    columns = ("between", "null_high", "ceiling", "ceiling_before", "ceiling_after")
    top = max((value for name in columns for value in overlap[name].drop_nulls().to_list()), default=1.0)
    domain = drawings.retention_domain(overlap)
    panels = []
    for task, pair, rows in panels_of(overlap):
        label = _curves_label(kind.index, task, pair, rows)
        curves = drawings.jaccard(rows, top=min(1.0, 1.08 * top) or 1.0, label=label)
        index = drawings.retention(rows, domain=domain, label=_index_label(task, pair, rows))
        panels.append(Panel(title=task, subtitle=pair, drawings=(curves, index), note=_note(rows)))
    return Figure(
        id=kind.id,
        caption=f"{kind.caption}{_cut(overlap)}",
        more=f"{kind.more} {_prompts(overlap)}".strip(),
        panels=tuple(panels),
        columns=len(in_order(overlap, "pair")),
        legend=drawings.legend(),
        tables=(tables.from_frame(kind.table, overlap, FIELDS), *more),
    )


def agreement_figure(free: pl.DataFrame) -> Figure:
    """Weighted Jaccard, Spearman correlation and cosine of each task and pair."""
    columns = ("between", "between_low", "between_high", "null_low", "null_high", "ceiling")
    scale = agreement.scale_of([value for name in columns for value in free[name].drop_nulls().to_list()])
    panels = []
    for task, pair, rows in panels_of(free):
        found = [
            Agreement(
                name=measure_name(row["measure"]),
                between=row["between"],
                low=row["between_low"],
                high=row["between_high"],
                null_low=row["null_low"],
                null_high=row["null_high"],
                ceiling=row["ceiling"],
            )
            for row in rows.rows(named=True)
            if row["between"] is not None
        ]
        words = [
            f"{one.name} {formats.number(one.between)} {formats.interval(one.low, one.high)} "
            f"(ceiling {formats.number(one.ceiling)})"
            for one in found
        ]
        label = f"Agreement without a threshold, {task}, {pair}: {formats.listed(words) or 'not defined'}."
        drawn = (agreement.draw(found, scale=scale, label=label),) if found else ()
        bad = rows.filter(pl.col("status") != "ok").rows(named=True)
        note = "; ".join(f"{measure_name(row['measure'])}: {row['status']}" for row in bad)
        panels.append(Panel(title=task, subtitle=pair, drawings=drawn, note=note))
    return Figure(
        id="figure-agreement",
        caption=(
            "Agreement of all edge scores, which needs no circuit size, between the models at half of the prompts "
            "each. Noise alone keeps it below 1: a circuit is kept where the point reaches the dashed line."
        ),
        more=(
            "The weighted Jaccard index is of the magnitudes (it also falls where one model's scores are larger "
            "throughout), the Spearman correlation and the cosine of the signed scores. The retention in the table "
            "runs from 0 (chance) to 1 (the ceiling). Chance is high where a few strata, or one edge that is alone in "
            "its stratum, carry most of the scores."
        ),
        panels=tuple(panels),
        columns=len(in_order(free, "pair")),
        legend=agreement.legend(),
        tables=(
            tables.from_frame(
                "Agreement without a threshold",
                free.with_columns(pl.col("measure").map_elements(measure_name, return_dtype=pl.String)),
                MEASURED,
            ),
        ),
    )


def _prompts(overlap: pl.DataFrame) -> str:
    numbers = sorted(set(overlap["prompts"].drop_nulls().to_list()))
    at = f", here {formats.listed([formats.count(number) for number in numbers])}" if numbers else ""
    return f"All of it depends on the number of prompts that scores are averaged over{at}; the similarity does not."


def _cut(overlap: pl.DataFrame) -> str:
    low, high = drawings.retention_domain(overlap)
    beyond = overlap.filter((pl.col("low") < low) | (pl.col("high") > high))
    return "" if beyond.is_empty() else " Intervals are cut at the edge of the drawing; the table has them whole."


def _note(rows: pl.DataFrame) -> str:
    bad = rows.filter((pl.col("status") != "ok") | pl.col("retention").is_null()).sort("k").rows(named=True)
    reasons = [
        f"K = {formats.count(row['k'])}: {row['status'].removeprefix('K = {}: '.format(row['k']))}" for row in bad
    ]
    return f"No retention index at {'; '.join(reasons)}." if reasons else ""


def _curves_label(index: str, task: str, pair: str, rows: pl.DataFrame) -> str:
    points = [
        f"{formats.number(row['between'])} at K {formats.count(row['k'])} (chance {formats.number(row['null'])}, "
        f"ceiling {formats.number(row['ceiling'])})"
        for row in rows.sort("k").rows(named=True)
    ]
    return f"{index}, {task}, {pair}: {formats.listed(points)}."


def _index_label(task: str, pair: str, rows: pl.DataFrame) -> str:
    points = [
        f"{formats.number(row['retention'])} {formats.interval(row['low'], row['high'])} at K {formats.count(row['k'])}"
        for row in rows.sort("k").rows(named=True)
        if row["retention"] is not None
    ]
    return f"Retention index, {task}, {pair}: {formats.listed(points) or 'not defined at any K'}."
