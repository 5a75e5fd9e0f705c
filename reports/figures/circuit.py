"""The circuit of a task before and after: edges kept, lost and gained on a grid of layers and components."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from reports import formats
from reports.figures import svg
from reports.figures.base import Key
from reports.figures.layout import Layout, Point, layout_of, parse_head, parse_mlp, parse_port
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
        inside = (_within(self.rank_before, k), _within(self.rank_after, k))
        return None if not any(inside) else "kept" if all(inside) else "lost" if inside[0] else "gained"

    @property
    def enters_at(self) -> int:
        """Smallest size at which the edge is in one of the circuits."""
        return min(rank for rank in (self.rank_before, self.rank_after) if rank is not None)


def edges_of(rows: pl.DataFrame, *, k: int) -> list[Edge]:
    """The K largest edges of each model of one pair and task, with what became of them; lost, gained, then kept.

    Args:
        rows: The pair's and task's rows of the table `edges`, both sides.
        k: Edges taken from each model.
    """
    sides = {}
    for side in ("before", "after"):
        sides[side] = rows.filter((pl.col("side") == side) & pl.col("score").is_not_null()).select(
            "source", "target", "score", "rank"
        )
    both = sides["before"].join(sides["after"], on=["source", "target"], how="full", coalesce=True, suffix="_after")
    top = {
        side: max((abs(value) for value in frame["score"].drop_nulls()), default=0.0) for side, frame in sides.items()
    }
    found = []
    for source, target, before, rank, after, rank_after in both.rows():
        inside = (_within(rank, k), _within(rank_after, k))
        if not any(inside):
            continue
        fate = "kept" if all(inside) else "lost" if inside[0] else "gained"
        scores = zip(("before", "after"), (before, after), inside, strict=True)
        parts = [abs(score) / (top[side] or 1) for side, score, counts in scores if counts]
        found.append(
            Edge(
                source=source,
                target=target,
                fate=fate,
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
    starts = _spread(edges, layout, end="source")
    ends = _spread(edges, layout, end="target")
    used: dict[str, int] = {}
    for edge in edges:
        for name in (edge.source, edge.target):
            used[name] = min(edge.enters_at, used.get(name, edge.enters_at))
    drawn = []
    for edge in edges:
        start = layout.leaves(edge.source) or starts.get(edge)
        end = layout.enters(edge.target) or ends.get(edge)
        if start and end:
            drawn.append(_edge(edge, start, end, sizes))
    ties, ports = _ports(layout, used, sizes)
    shared = element("use", href=f"#{FRAME}")
    parts = [shared, *ties, *drawn, *ports, *_nodes(layout, used, sizes)]
    return picture(*parts, width=layout.width, height=layout.height, label=label, class_="circuit")


def frame(layout: Layout) -> Markup:
    """What all drawings of a layout share: stripes and names of layers and columns, the bars of input and logits."""
    parts = element("g", *_frame(layout), id=FRAME)
    return element("svg", parts, class_="circuit shared", width=0, height=0, aria_hidden="true")


def legend() -> tuple[Key, ...]:
    """What the strokes and shapes mean."""
    head = svg.sample(element("circle", cx=17, cy=7, r=5, class_="node"))
    mlp = svg.sample(element("rect", x=11, y=1.5, width=12, height=11, rx=2, class_="node"))
    port = svg.sample(element("rect", x=12.5, y=2.5, width=9, height=9, rx=2, class_="port"))
    return (
        Key(sample=svg.line_sample("edge kept w3"), label="kept: among the largest in both models"),
        Key(sample=svg.line_sample("edge lost w3"), label="lost: only before"),
        Key(sample=svg.line_sample("edge gained w3"), label="gained: only after"),
        Key(sample=head, label="head"),
        Key(sample=mlp, label="MLP"),
        Key(sample=port, label="where a query (q), key (k) or value (v) reads"),
    )


def describe(edge: Edge) -> str:
    """An edge in words."""
    before = f"before {formats.number(edge.before)} (rank {formats.count(edge.rank_before)})"
    after = f"after {formats.number(edge.after)} (rank {formats.count(edge.rank_after)})"
    return f"{edge.source} → {edge.target}: {before}, {after}"


def _within(rank: int | None, k: int) -> bool:
    return rank is not None and rank <= k


def _edge(edge: Edge, start: Point, end: Point, sizes: Sequence[int]) -> Markup:
    (x1, y1), (x2, y2) = start, end
    rise = y1 - y2
    bow = 0.0 if rise < 60 else min(0.1 * rise, 30.0) * (1 if x2 >= x1 else -1)
    lift = max(0.45 * rise, 10.0)
    first, second, last = (x1 + bow, y1 - lift), (x2 + bow, y2 + lift), (x2, y2)
    ways = " ".join(f"{x - x1:.0f} {y - y1:.0f}" for x, y in (first, second, last))
    step = 1 + min(5, int(6 * edge.weight))
    smaller = [(place, edge.fate_at(k)) for place, k in enumerate(sizes, start=1)]
    other = "".join(f" {(fate or 'none')[0]}{place}" for place, fate in smaller if fate != edge.fate)
    return element(
        "path",
        element("title", describe(edge)),
        d=f"M{short(round(x1, 1))} {short(round(y1, 1))}c{ways}",
        class_=f"edge {edge.fate} w{step}{other}",
    )


def _absent(enters: int, sizes: Sequence[int]) -> str:
    """Classes for the sizes at which something that enters the circuit later is not in it."""
    return "".join(f" n{place}" for place, k in enumerate(sizes, start=1) if enters > k)


def _spread(edges: list[Edge], layout: Layout, *, end: str) -> dict[Edge, Point]:
    """Places along the input's or the logits' bar, ordered by where the edges lead, so that they do not cross there."""
    at_input = end == "source"
    bar = "input" if at_input else "logits"
    other: Callable[[Edge], Point | None] = (
        (lambda edge: layout.enters(edge.target)) if at_input else (lambda edge: layout.leaves(edge.source))
    )
    found = [edge for edge in edges if (edge.source if at_input else edge.target) == bar]
    found.sort(key=lambda edge: (other(edge) or (layout.middle, 0.0), edge.source, edge.target))
    left, right = _bar(layout)
    y = layout.height - 46 if at_input else 28
    return {edge: (left + (right - left) * (index + 0.5) / len(found), y) for index, edge in enumerate(found)}


def _bar(layout: Layout) -> tuple[float, float]:
    half = (layout.column(layout.heads) - layout.column(0)) * 0.42
    return layout.middle - half, layout.middle + half


def _frame(layout: Layout) -> list[Markup]:
    """Stripes and names of the layers, names of the columns, the bars of input and logits."""
    parts = []
    for layer in range(layout.layers):
        top = layout.mlp(layer)[1] - 10
        bottom = layout.row(layer) + 21
        if layer % 2 == 0:
            width = layout.width - 38
            parts.append(element("rect", x=36, y=top, width=width, height=bottom - top, rx=3, class_="stripe"))
        parts.append(_dots(layout, layer))
        parts.append(element("text", str(layer), x=30, y=(top + bottom) / 2 + 4, class_="label end"))
    every = 1 if layout.heads <= 16 else 4
    names = [(layout.column(head), f"h{head}") for head in range(0, layout.heads, every)]
    for x, name in [*names, (layout.column(layout.heads), "MLP")]:
        parts.append(element("text", name, x=x, y=layout.height - 4, class_="label middle"))
    left, right = _bar(layout)
    for y, name in ((8, "logits"), (layout.height - 46, "input")):
        parts.append(element("rect", x=left, y=y, width=right - left, height=20, rx=4, class_="bar"))
        parts.append(element("text", name, x=layout.middle, y=y + 14.5, class_="label middle strong"))
    parts.append(element("text", "layer", x=0, y=22, class_="label"))
    return parts


def _dots(layout: Layout, layer: int) -> Markup:
    """All components of a layer as dots: two strokes, since large models have hundreds of heads a layer."""
    x, y = layout.head(layer, 0)
    end, up = layout.mlp(layer)
    path = f"M{short(x)} {short(y)}H{short(end - layout.step / 2)}M{short(end)} {short(up)}h1"
    return element("path", d=path, stroke_dasharray=f"0 {short(layout.step)}", class_="idle")


def _ports(layout: Layout, used: dict[str, int], sizes: Sequence[int]) -> tuple[list[Markup], list[Markup]]:
    """Ties from the ports that the circuit uses to the heads that they feed, and the ports."""
    ties: list[Markup] = []
    ports: list[Markup] = []
    for name, enters in sorted(used.items()):
        if not (port := parse_port(name)):
            continue
        layer, kind, index, letter = port
        x, y = layout.port(layer, kind, index, letter)
        path = ""
        for head in layout.members(index) if kind == "kv" else (index,):
            hx, hy = layout.head(layer, head)
            path += f"M{short(x)} {short(y)}L{short(hx)} {short(hy)}"
        absent = _absent(enters, sizes)
        ties.append(element("path", d=path, class_=f"tie{absent}", data_k=enters))
        half = 4.5 if layout.dense else 6.5
        box = element("rect", x=x - half, y=y - 6, width=2 * half, height=12, rx=2.5, class_="port")
        written = element("text", letter, x=x, y=y + 3.4, class_="letter small" if layout.dense else "letter")
        ports.append(element("g", box, written, class_=absent.strip() or None, data_k=enters))
    return ties, ports


def _nodes(layout: Layout, used: dict[str, int], sizes: Sequence[int]) -> list[Markup]:
    """Heads that write or read a query and MLPs of the circuit."""
    heads: dict[tuple[int, int], int] = {}
    mlps: dict[int, int] = {}
    for name, enters in used.items():
        port = parse_port(name)
        head = (port[0], port[2]) if port and port[1] == "h" else parse_head(name)
        if head is not None:
            heads[head] = min(enters, heads.get(head, enters))
        if (layer := parse_mlp(name)) is not None:
            mlps[layer] = min(enters, mlps.get(layer, enters))
    radius = min(5.5, 0.16 * layout.step)
    parts = []
    for (layer, index), enters in sorted(heads.items()):
        x, y = layout.head(layer, index)
        parts.append(element("circle", cx=x, cy=y, r=radius, class_=f"node{_absent(enters, sizes)}", data_k=enters))
    for layer, enters in sorted(mlps.items()):
        x, y = layout.mlp(layer)
        box = {"x": x - 6, "y": y - 6, "width": 12, "height": 12, "rx": 2}
        parts.append(element("rect", **box, class_=f"node{_absent(enters, sizes)}", data_k=enters))
    return parts
