"""Section 3: the circuits, drawn."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, panels_of
from reports.figures import circuit
from reports.figures.base import Figure, Panel
from reports.figures.layout import Layout
from reports.sections.base import Section
from reports.sections.circuit_data import written
from reports.templating import render_template

DRAWS = ("edges", "edge_scores")
"""Tables and measures that this section draws."""

PAGE = 1300
"""Width that a row of drawings may have, in pixels: a little more than the page, since drawings shrink."""
WIDE = 600
"""Width of a drawing above which paper has one in a row."""
LARGEST = 40
"""Most edges of each model in a drawing; more cannot be told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many edges of a panel are kept, lost and gained at one number of edges; `place` counts these from 1."""

    place: int
    text: str


def section(data: ReportData) -> Section:
    """One drawing for each task and pair, which shows a few sizes to switch between."""
    edges = data.table("edges")
    if edges is None:
        return Section(id="circuits", title="Circuits", body=render_template("circuits", figure=None))
    offered = sizes(data.table("overlap"))
    layout = circuit.shape_of(edges)
    found = [(task, pair, circuit.edges_of(rows, k=offered[-1])) for task, pair, rows in panels_of(edges)]
    body = render_template(
        "circuits",
        sizes=offered,
        frame=circuit.frame(layout),
        large=layout.width > WIDE,
        figure=figure(found, layout, sizes=offered),
        tallies=[tallies(one, sizes=offered) for _, _, one in found],
    )
    return Section(id="circuits", title="Circuits", body=body)


def script_data(data: ReportData) -> Markup | None:
    """What the script of the circuits draws from; None where there is nothing to draw."""
    edges = data.table("edges")
    if edges is None:
        return None
    layout = circuit.shape_of(edges)
    return Markup(written(data, edges, layout=layout, shown=sizes(data.table("overlap"))[-1]))


def sizes(overlap: pl.DataFrame | None) -> list[int]:
    """Numbers of edges to offer: the smallest K of the overlap table within :data:`LARGEST`, a half and a quarter."""
    known = [] if overlap is None else overlap["k"].drop_nulls().to_list()
    largest = min([LARGEST, *known])
    return sorted({max(1, largest // 4), max(1, largest // 2), largest})


def tallies(edges: list[circuit.Edge], *, sizes: list[int]) -> list[Tally]:
    """What becomes of a panel's edges at each size."""
    return [Tally(place=place, text=f"{k} edges each: {_tally(edges, k=k)}") for place, k in enumerate(sizes, start=1)]


def figure(found: list[tuple[str, str, list[circuit.Edge]]], layout: Layout, *, sizes: list[int]) -> Figure:
    """The circuits of every task and pair, drawn at the largest size.

    Args:
        found: Task, pair and the edges of its circuits.
        layout: Where the nodes are.
        sizes: Numbers of edges to choose from, ascending.
    """
    largest = sizes[-1]
    panels, listed = [], []
    for task, pair, edges in found:
        words = "; ".join(f"of {k} edges of each model {_tally(edges, k=k)}" for k in sizes)
        drawing = circuit.draw(edges, layout=layout, label=f"Circuit of {task} in {pair}: {words}.", sizes=sizes)
        panels.append(Panel(title=task, subtitle=pair, drawings=(drawing,)))
        listed += [_row(task, pair, edge) for edge in reversed(edges)]
    fields = [tables.text(name) for name in ("task", "pair", "from", "to", "fate")]
    fields += [tables.real("score before"), tables.whole("rank before")]
    fields += [tables.real("score after"), tables.whole("rank after")]
    table = tables.build(f"The edges drawn at K = {largest}", fields, listed)
    return Figure(
        id="figure-circuits",
        caption=(
            "The edges of largest attribution of each model. Information flows upwards, from the input to the logits; "
            "width shows magnitude relative to the model's largest edge. Solid edges are shared; a drawing dominated "
            "by dashed and dotted edges is a circuit that was replaced."
        ),
        more="Edges between MLPs swing out to the right.",
        hint=(
            "Where the page's script runs, point at a node or an edge for its scores and its rank in each model; a "
            "click, or Enter, holds it, and Escape lets it go."
        ),
        panels=tuple(panels),
        columns=min(len({pair for _, pair, _ in found}), max(1, int(PAGE // layout.width))),
        legend=circuit.legend(),
        tables=(table,),
    )


def _tally(edges: list[circuit.Edge], *, k: int) -> str:
    counts = {fate: sum(edge.fate_at(k) == fate for edge in edges) for fate in ("kept", "lost", "gained")}
    return ", ".join(f"{formats.count(amount)} {fate}" for fate, amount in counts.items())


def _row(task: str, pair: str, edge: circuit.Edge) -> tuple[object, ...]:
    scores = (edge.before, edge.rank_before, edge.after, edge.rank_after)
    return (task, pair, edge.source, edge.target, edge.fate, *scores)
