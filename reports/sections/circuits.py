"""Section 3: the circuits, drawn."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import circuit
from reports.figures.base import Figure, Panel
from reports.figures.layout import Layout
from reports.sections.base import Section
from reports.templating import render_template

PAGE = 1300
"""Width that a row of drawings may have, in pixels: a little more than the page, since drawings shrink."""
LARGEST = 40
"""Most edges of each model in a drawing; more cannot be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The figure at one number of edges."""

    k: int
    figure: Figure


def section(data: ReportData) -> Section:
    """One drawing for each task and pair, at a few sizes to switch between."""
    edges = data.table("edges")
    variants = [] if edges is None else variants_of(edges, sizes=sizes(data.table("overlap")))
    body = render_template("circuits", variants=variants, shown=len(variants))
    return Section(id="circuits", title="Circuits", body=body)


def sizes(overlap: pl.DataFrame | None) -> list[int]:
    """Numbers of edges to offer: the smallest K of the overlap table within :data:`LARGEST`, a half and a quarter."""
    known = [] if overlap is None else overlap["k"].drop_nulls().to_list()
    largest = min([LARGEST, *known])
    return sorted({max(1, largest // 4), max(1, largest // 2), largest})


def variants_of(edges: pl.DataFrame, *, sizes: list[int]) -> list[Variant]:
    """The figure at each size, the last of them the one shown at first."""
    layout = circuit.shape_of(edges)
    return [Variant(k=k, figure=_figure(edges, layout, k=k, with_table=k == sizes[-1])) for k in sizes]


def _figure(edges: pl.DataFrame, layout: Layout, *, k: int, with_table: bool) -> Figure:
    panels, listed = [], []
    for task, pair, rows in panels_of(edges):
        found = circuit.edges_of(rows, k=k)
        label = f"Circuit of {task} in {pair}, {k} edges of each model: {_tally(found)}."
        drawing = circuit.draw(found, layout=layout, label=label)
        panels.append(Panel(title=task, subtitle=pair, drawings=(drawing,), note=_tally(found)))
        listed += [_row(task, pair, edge) for edge in reversed(found)]
    fields = [tables.text(name) for name in ("task", "pair", "from", "to", "fate")]
    fields += [tables.real("score before"), tables.whole("rank before")]
    fields += [tables.real("score after"), tables.whole("rank after")]
    table = tables.build(f"The edges drawn at K = {k}", fields, listed)
    return Figure(
        id=f"figure-circuits-{k}",
        caption=(
            f"The {k} edges of largest attribution of each model. Information flows upwards, from the input to the "
            "logits; width shows magnitude relative to the model's largest edge. Solid edges are shared; a drawing "
            "dominated by dashed and dotted edges is a circuit that was replaced. Point at an edge for its scores."
        ),
        panels=tuple(panels),
        columns=min(len(in_order(edges, "pair")), max(1, int(PAGE // layout.width))),
        legend=circuit.legend(),
        tables=(table,) if with_table else (),
    )


def _tally(edges: list[circuit.Edge]) -> str:
    counts = {fate: sum(edge.fate == fate for edge in edges) for fate in ("kept", "lost", "gained")}
    return ", ".join(f"{formats.count(amount)} {fate}" for fate, amount in counts.items())


def _row(task: str, pair: str, edge: circuit.Edge) -> tuple[object, ...]:
    scores = (edge.before, edge.rank_before, edge.after, edge.rank_after)
    return (task, pair, edge.source, edge.target, edge.fate, *scores)
