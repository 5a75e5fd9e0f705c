"""The circuit of a task before and after: edges kept, lost and gained on a grid of layers and components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from reports import formats
from reports.figures import routes, svg
from reports.figures.base import Key
from reports.figures.layout import Layout, layout_of
from reports.figures.spots import Spot, box, spots_of
from reports.figures.svg import element, picture, short

FRAME = "circuit-frame"
"""Fragment identifier of what the drawings share."""
_ORDER = {"lost": 0, "gained": 1, "kept": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An edge that is among the K largest of at least one model.

    Attributes:
        fate: `kept` (in both), `lost` (only before) or `gained` (only after).
        weight: Magnitude relative to the model's largest edge, in [0, 1]; for kept edges the mean of both models'.
    """

    source: str
    target: str
    fate: str
    weight: float
    before: float | None
    after: float | None
    rank_before: int | None
    rank_after: int | None

    def fate_at(self, k: int) -> str | None:
        """What becomes of the edge in circuits of the k largest edges; None where it is in neither."""
        return _fate(_within(self.rank_before, k), _within(self.rank_after, k))


def edges_of(rows: pl.DataFrame, *, k: int) -> list[Edge]:
    """The K largest edges of each model of one pair and task, with what became of them; lost, gained, then kept.

    Args:
        rows: The pair's and task's rows of the table `edges`, both sides.
        k: Edges taken from each model.
    """
    scored = rows.filter(pl.col("score").is_not_null())
    sides = {
        side: scored.filter(pl.col("side") == side).select("source", "target", "score", "rank")
        for side in ("before", "after")
    }
    top = {side: frame.select(pl.col("score").abs().max()).item() or 1.0 for side, frame in sides.items()}
    both = sides["before"].join(sides["after"], on=["source", "target"], how="full", coalesce=True, suffix="_after")
    found = []
    for source, target, before, rank, after, rank_after in both.filter(
        (pl.col("rank") <= k) | (pl.col("rank_after") <= k)
    ).rows():
        inside = (_within(rank, k), _within(rank_after, k))
        scores = zip(("before", "after"), (before, after), inside, strict=True)
        parts = [abs(score) / top[side] for side, score, counts in scores if counts]
        found.append(
            Edge(
                source=source,
                target=target,
                fate=_fate(*inside) or "kept",
                weight=sum(parts) / len(parts),
                before=before,
                after=after,
                rank_before=rank,
                rank_after=rank_after,
            )
        )
    return sorted(found, key=lambda edge: (_ORDER[edge.fate], edge.weight, edge.source, edge.target))


def shape_of(edges: pl.DataFrame) -> Layout:
    """The layout that fits every circuit of the table."""
    return layout_of(edges["source"].unique().sort().to_list(), edges["target"].unique().sort().to_list())


def draw(edges: list[Edge], *, layout: Layout, label: str, sizes: Sequence[int]) -> Markup:
    """The drawing of one circuit at its largest size, where classes say what is not in it at the smaller ones.

    What looks the same in every drawing is in :func:`frame`, which the page has once.

    Args:
        edges: The edges at the largest size.
        layout: Where the nodes are.
        label: Text alternative.
        sizes: Numbers of edges to choose from, ascending; the last one is shown at first.
    """
    spots = spots_of(layout, {name for edge in edges for name in (edge.source, edge.target)})
    at: dict[str, list[Edge]] = {}
    for edge in edges:
        for name in (edge.source, edge.target):
            at.setdefault(name, []).append(edge)
    ties, boxes = [], []
    for spot in spots:
        if spot.kind == "bar":  # part of the frame
            continue
        own = [edge for name in spot.shown_by for edge in at[name]]
        states = [_fate(*(any(_within(rank, k) for rank in ranks) for ranks in _ranks(own))) for k in sizes]
        boxes.append(box(spot, dense=layout.dense, class_=_classes(states)))
        if spot.tie:
            absent = "".join(f" n{place}" for place, state in enumerate(states, start=1) if state is None)
            ties.append(element("path", d=spot.tie, class_=f"tie{absent}"))
    drawn = [_edge(edge, layout, sizes) for edge in edges]
    parts = [element("use", href=f"#{FRAME}"), *ties, *(one for one in drawn if one is not None), *boxes]
    return picture(*parts, width=layout.width, height=layout.height, label=label, class_="circuit")


def frame(layout: Layout) -> Markup:
    """What all drawings of a layout share: stripes and names of layers and columns, the bars of input and logits."""
    parts = element("g", *_frame(layout), id=FRAME)
    return element("svg", parts, class_="circuit shared", width=0, height=0, aria_hidden="true")


def legend() -> tuple[Key, ...]:
    """What the strokes and shapes mean."""
    head = svg.sample(_sample("2.1", kind="head"))
    mlp = svg.sample(_sample("m2", kind="mlp"))
    port = svg.sample(_sample("q", kind="port"))
    return (
        Key(sample=svg.line_sample("edge kept w3"), label="kept: among the largest in both models"),
        Key(sample=svg.line_sample("edge lost w3"), label="lost: only before"),
        Key(sample=svg.line_sample("edge gained w3"), label="gained: only after"),
        Key(sample=head, label="head 1 of layer 2"),
        Key(sample=mlp, label="MLP of layer 2"),
        Key(sample=port, label="where a query (q), key (k) or value (v) reads"),
    )


def describe(edge: Edge) -> str:
    """An edge in words."""
    before = f"before {formats.number(edge.before)} (rank {formats.count(edge.rank_before)})"
    after = f"after {formats.number(edge.after)} (rank {formats.count(edge.rank_after)})"
    return f"{edge.source} → {edge.target}: {before}, {after}"


def _within(rank: int | None, k: int) -> bool:
    return rank is not None and rank <= k


def _fate(before: bool, after: bool) -> str | None:
    return "kept" if before and after else "lost" if before else "gained" if after else None


def _ranks(edges: Sequence[Edge]) -> tuple[list[int | None], list[int | None]]:
    return [edge.rank_before for edge in edges], [edge.rank_after for edge in edges]


def _classes(states: Sequence[str | None]) -> str:
    """The fate at the last size, and a class for each other size at which it is another."""
    last = states[-1]
    others = (f" {(state or 'none')[0]}{place}" for place, state in enumerate(states, start=1) if state != last)
    return f"{last or 'off'}{''.join(others)}"


def _sample(label: str, *, kind: str) -> Markup:
    width, height = (11, 11) if kind == "port" else (26, 13)
    about = Spot(
        label=label, words="", layer=0, kind=kind, x=17, y=7, width=width, height=height, shown_by=(), names=()
    )
    return box(about, dense=True, class_="kept")


def _edge(edge: Edge, layout: Layout, sizes: Sequence[int]) -> Markup | None:
    if not (path := routes.route(layout, edge.source, edge.target)):
        return None
    step = 1 + min(5, int(6 * edge.weight))
    states = _classes([edge.fate_at(k) for k in sizes])
    return element("path", element("title", describe(edge)), d=path, class_=f"edge w{step} {states}")


def _frame(layout: Layout) -> list[Markup]:
    """Stripes and names of the layers, names of the columns, the bars of input and logits."""
    parts = []
    for layer in range(layout.layers):
        top = layout.mlp(layer)[1] - 10
        bottom = layout.row(layer) + 21
        if layer % 2 == 0:
            width = layout.right - 36
            parts.append(element("rect", x=36, y=top, width=width, height=bottom - top, rx=3, class_="stripe"))
        parts.append(_dots(layout, layer))
        parts.append(element("text", str(layer), x=30, y=(top + bottom) / 2 + 4, class_="label end"))
    every = 1 if layout.heads <= 16 else 4
    names = [(layout.column(head), f"h{head}") for head in range(0, layout.heads, every)]
    for x, name in [*names, (layout.column(layout.heads), "MLP")]:
        parts.append(element("text", name, x=x, y=layout.height - 8, class_="label middle"))
    parts += [box(spot, dense=False, class_="") for spot in spots_of(layout, ("input", "logits"))]
    parts.append(element("text", "layer", x=0, y=22, class_="label"))
    return parts


def _dots(layout: Layout, layer: int) -> Markup:
    """All components of a layer as dots: two strokes, since large models have hundreds of heads a layer."""
    x, y = layout.head(layer, 0)
    last = layout.column(layout.heads - 1)
    end, up = layout.mlp(layer)
    path = f"M{short(x)} {short(y)}H{short(last + 1)}M{short(end)} {short(up)}h1"
    return element("path", d=path, stroke_dasharray=f"0 {short(layout.step)}", class_="idle")
