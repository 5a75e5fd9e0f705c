"""Section 6, second part: whether components act together, from joint knock-outs and from the graph between them."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import matrix, sides
from reports.figures.base import Figure, Panel
from reports.figures.matrix import Axis, Cell
from reports.prose import index_name
from reports.sections import shapley
from reports.sections.base import Part, Section
from reports.sections.specialization import INDICES, indices_of, observed_words, preferred, shift_note
from reports.templating import render_template

DRAWS = ("interactions", "shapley", "shapley_orders", "integration")
"""Tables and measures that this section draws."""

INTERACTION = "interaction"
"""The index of knock-outs; the others are of the graph of components."""
SHARE = "interaction_share"
"""The share that hypotheses are tested with; it is drawn where there is one."""
_KNOCKED_OUT = (INTERACTION, SHARE, shapley.INDEX, shapley.SHARE)
LISTED = 10
"""Interactions of each model and task that are listed: the largest ones."""
_WIDTH, _LARGEST, _SMALLEST = 230, 22, 9
_LISTED = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "side": tables.text("side"),
    "first": tables.text("first"),
    "second": tables.text("second"),
    "interaction": tables.real("interaction"),
    "low": tables.real("low"),
    "high": tables.real("high"),
}
_EXPLAINED = (
    "The strongest components of each model are knocked out one by one and two by two. The interaction of two is the "
    "metric without both, minus that without each, plus that of the whole model: zero where their effects add up, "
    "positive where losing both costs less than the sum, as with two links of a chain, negative where it costs more, "
    "as where one stands in for the other. The interaction ratio is the sum of the magnitudes of mean interactions "
    "over that of mean single effects. Noise alone gives a ratio above zero and moves it: read it against the null. "
    "The share of interactions is that of their squares in the sum of squared interactions and effects, estimated "
    "without bias from products over different prompts; it is what hypotheses are tested with."
)
_GRAPH = (
    "Heads and MLPs make a graph, two of them connected by the magnitude of the attribution of the edges between them. "
    "The participation coefficient says how evenly a component's connections are spread over the modules of the graph "
    "(higher: more integrated), the modularity how much of the weight lies within them (higher: less integrated), and "
    "the relative efficiency how short paths over strong connections are beside single connections (higher: more "
    "integrated). Degrees and strengths alone give values of these too: read them against random graphs in which every "
    "component has the same degree and nearly the same strength."
)

_NO_INDICES = pl.DataFrame(schema=dict.fromkeys(("pair", "task", "index", "side", "value", "low", "high"), pl.String))


def section(data: ReportData) -> Section | None:
    """Interactions with their ratio, and indices of the graph; None where a run has neither."""
    rows, indices = data.table("interactions"), indices_of("integration", data.table("indices"))
    found = pl.DataFrame(schema=dict.fromkeys(("task", "pair", "index"), pl.String)) if indices is None else indices
    ratios = found.filter(pl.col("index").is_in((SHARE, INTERACTION)))
    graphs = found.filter(~pl.col("index").is_in(_KNOCKED_OUT))
    combinations, orders = data.table("shapley"), data.table("shapley_orders")
    parts = []
    if rows is not None:
        heading = "" if graphs.is_empty() and combinations is None else "Knock-outs in pairs"
        parts.append(Part(heading=heading, paragraphs=(_EXPLAINED,), figure=figure(rows, ratios)))
    if combinations is not None and orders is not None:
        drawn = shapley.figure(
            combinations, orders, found.filter(pl.col("index").is_in((shapley.SHARE, shapley.INDEX)))
        )
        parts.append(Part(heading="Knock-outs in combinations", paragraphs=(shapley.EXPLAINED,), figure=drawn))
    if not graphs.is_empty():
        heading = "The graph of components" if parts else ""
        parts.append(
            Part(heading=heading, paragraphs=(_GRAPH,), figure=graph_figure(graphs, preferred=data.methods.integration))
        )
    if not parts:
        return None
    return Section(id="integration", title="Integration", body=render_template("parts", parts=parts))


def figure(rows: pl.DataFrame, ratios: pl.DataFrame) -> Figure:
    """For each task and pair a matrix before and one after, and the ratio where there is one."""
    panels, shown = [], preferred(ratios, SHARE)
    for task, pair, one in panels_of(rows):
        top = max((abs(value) for value in one["interaction"].drop_nulls().to_list()), default=0.0)
        drawn = [
            _matrix(one.filter(pl.col("side") == side), side=side, top=top, where=f"{task}, {pair}")
            for side in in_order(one, "side")
        ]
        values = shown.filter((pl.col("task") == task) & (pl.col("pair") == pair))
        if not values.is_empty():
            name = index_name(values["index"][0])
            label = f"{name}, {task}, {pair}: {observed_words(values)}."
            drawn.append(sides.observed(values, title=name, domain=sides.domain_of(shown), label=label))
        panels.append(Panel(title=task, subtitle=pair, drawings=tuple(drawn), note=shift_note(values)))
    listed = [_strongest(rows)]
    if not ratios.is_empty():
        listed.append(tables.from_frame("Shares and ratios of interactions", ratios, INDICES))
    return Figure(
        id="figure-integration",
        caption=(
            "Squares: mean interaction of two components, before and after; the area is the magnitude, filled squares "
            "are positive, hollow ones negative. Last: the share of interactions with its interval, or the ratio "
            "beside its value under random signs where there is no share."
        ),
        more="Both models of a panel share one scale. Each model has its own strongest components.",
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=sides.keys(line=False),
        tables=tuple(listed),
    )


def graph_figure(indices: pl.DataFrame, *, preferred: str) -> Figure:
    """For each task and pair one index of the graph, before and after, beside random graphs; the table has all."""
    names = in_order(indices, "index")
    index = preferred if preferred in names else names[0]
    chosen = indices.filter(pl.col("index") == index)
    name, domain = index_name(index), sides.domain_of(chosen)
    panels = []
    for task, pair, values in panels_of(chosen):
        label = f"{name}, {task}, {pair}: {observed_words(values)}."
        drawn = sides.observed(values, title=name, domain=domain, label=label)
        panels.append(Panel(title=task, subtitle=pair, drawings=(drawn,), note=shift_note(values)))
    return Figure(
        id="figure-component-graph",
        caption=(
            f"The {name} of the graph of components, before and after, with intervals over prompts (or random "
            "templates) where they were made; ticks and bands: mean and 95 % range over random graphs. Modules are "
            "those found in each graph; intervals search them anew in every replicate. The table has every index."
        ),
        panels=tuple(panels),
        columns=len(in_order(chosen, "pair")),
        legend=sides.keys(line=False),
        tables=(tables.from_frame("Indices of the graph of components", indices, INDICES),),
    )


def _matrix(rows: pl.DataFrame, *, side: str, top: float, where: str) -> Markup:
    names = _components(rows)
    place = {name: at for at, name in enumerate(names)}
    cells = [
        Cell(column=place[row["second"]], row=place[row["first"]], value=row["interaction"], name=_name(row))
        for row in rows.filter(pl.col("interaction").is_not_null()).rows(named=True)
    ]
    size = min(_LARGEST, max(_SMALLEST, _WIDTH / len(names)))
    largest = sorted(cells, key=lambda cell: -abs(cell.value))[:3]
    words = formats.listed([f"{cell.name} {formats.number(cell.value)}" for cell in largest])
    return matrix.draw(
        cells,
        columns=Axis(names=tuple(name if at % 2 == 0 else "" for at, name in enumerate(names)) if size < 40 else names),
        rows=Axis(names=names),
        size=size,
        pitch=max(size, 12),
        top=top,
        side=side,
        label=f"Interactions {side}, {where}; largest: {words or 'none'}.",
    )


def _components(rows: pl.DataFrame) -> tuple[str, ...]:
    """The components in the order in which they compute: every one but the last is the first of some pair."""
    first = in_order(rows, "first")
    return (*first, *(name for name in in_order(rows, "second") if name not in first))


def _name(row: dict[str, object]) -> str:
    return f"{row['first']} and {row['second']}"


def _strongest(rows: pl.DataFrame) -> tables.Table:
    keys = ["task", "pair", "side"]
    place = pl.col("interaction").abs().fill_null(-1.0).rank("ordinal", descending=True)
    kept = rows.filter(place.over(keys) <= LISTED)
    return tables.from_frame(f"The {LISTED} largest interactions of each model and task", kept, _LISTED)
