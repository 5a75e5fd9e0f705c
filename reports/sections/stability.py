"""The figure of how stable circuits are over resamples of the prompts, a part of the section on overlap."""

from __future__ import annotations

import polars as pl

from reports import formats, tables
from reports.data import in_order, panels_of
from reports.figures import stability as drawings
from reports.figures.base import Figure, Panel

FIELDS = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "model": tables.text("model"),
    "kind": tables.text("of"),
    "k": tables.whole("K"),
    "jaccard": tables.real("mean Jaccard"),
    "low": tables.real("2.5 % of pairs"),
    "high": tables.real("97.5 % of pairs"),
    "resamples": tables.whole("resamples"),
    "stable": tables.text("stable"),
    "status": tables.text("status"),
}


def stability_figure(stable: pl.DataFrame) -> Figure:
    """Mean pairwise Jaccard over circuit size of both models, edges and nodes, with the bar."""
    panels = []
    for task, pair, rows in panels_of(stable):
        bad = rows.filter(pl.col("status") != "ok").rows(named=True)
        notes = dict.fromkeys(f"{row['model']}: {row['status']}" for row in bad)
        panels.append(
            Panel(
                title=task,
                subtitle=pair,
                drawings=(drawings.draw(rows, label=_label(task, pair, rows)),),
                note="; ".join(notes),
            )
        )
    resamples, bar = (max(stable[name].to_list()) for name in ("resamples", "bar"))
    written = stable.with_columns(
        pl.col("stable").replace_strict({True: "yes", False: "no"}, default=None, return_dtype=pl.String)
    )
    return Figure(
        id="figure-stability",
        caption=(
            "How much the circuit of one model depends on its prompts: the Jaccard index of two of "
            f"{formats.count(resamples)} bootstrap resamples, mean over all pairs. From {formats.compact(bar)} a "
            "circuit has been called stable (arXiv 2510.00845)."
        ),
        more=(
            "Two resamples have prompts in common (each has about 63 % of them), so that this is no ceiling: that of "
            "the overlap is taken on disjoint halves."
        ),
        panels=tuple(panels),
        columns=len(in_order(stable, "pair")),
        legend=drawings.legend(),
        tables=(tables.from_frame("Stability over resamples", written, FIELDS),),
    )


def _label(task: str, pair: str, rows: pl.DataFrame) -> str:
    points = [
        f"{row['kind']} of {row['model']} {formats.number(row['jaccard'])} at K {formats.count(row['k'])}"
        for row in rows.sort("kind", "side", "k", descending=[False, True, False]).rows(named=True)
        if row["jaccard"] is not None
    ]
    return f"Stability over resamples, {task}, {pair}: {formats.listed(points) or 'not defined at any K'}."
