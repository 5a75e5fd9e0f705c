"""What of a model a circuit's drawing shows as a box: heads, MLPs, their queries, keys and values, input and logits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from reports.figures import routes
from reports.figures.layout import Layout, parse_head, parse_mlp, parse_port
from reports.figures.svg import element, short

_READS = {"q": "query", "k": "key", "v": "value"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A box of a drawing.

    Attributes:
        label: What is written in it.
        words: What it is.
        layer: Its layer; -1 for the input, the number of layers for the logits.
        kind: `head`, `mlp`, `port` or `bar`.
        x: Its centre, with `y`; `width` and `height` are its size.
        tie: Path data of the lines from a port to the heads that read it; else empty.
        shown_by: Nodes of the graph; it is drawn where an edge of one of them is.
        names: Nodes of the graph whose edges are its own: a head has those of its query, key and value too.
    """

    label: str
    words: str
    layer: int
    kind: str
    x: float
    y: float
    width: float
    height: float
    tie: str = ""
    shown_by: tuple[str, ...]
    names: tuple[str, ...]


def spots_of(layout: Layout, names: Iterable[str]) -> list[Spot]:
    """The boxes of some nodes of the graph, from the input upwards and from left to right.

    Args:
        layout: Where they are.
        names: Names of sources and receivers; those that no box stands for are passed over.
    """
    given = sorted(set(names))
    found = [_bar(layout, name) for name in given if name in ("input", "logits")]
    found += [_mlp(layout, name, layer) for name in given if (layer := parse_mlp(name)) is not None]
    found += [_port(layout, name, port) for name in given if (port := parse_port(name)) is not None]
    heads: dict[tuple[int, int], list[str]] = {}
    shared: dict[tuple[int, int], list[str]] = {}
    for name in given:
        if head := parse_head(name):
            heads.setdefault(head, []).append(name)
        elif port := parse_port(name):
            (heads if port[1] == "h" else shared).setdefault((port[0], port[2]), []).append(name)
    for (layer, index), own in heads.items():
        through = shared.get((layer, layout.group_of(index)), [])
        found.append(_head(layout, layer, index, tuple(own), (*own, *through)))
    return sorted(found, key=lambda spot: (spot.layer, spot.x, spot.y))


def box(spot: Spot, *, dense: bool, class_: str) -> Markup:
    """A box with its label."""
    drawn = element(
        "rect",
        x=spot.x - spot.width / 2,
        y=spot.y - spot.height / 2,
        width=spot.width,
        height=spot.height,
        rx=6 if spot.kind == "head" else 2.5,
    )
    small = dense or spot.kind == "port"
    written = element("text", spot.label, x=spot.x, y=spot.y + (3 if small else 3.7), class_="small" if small else None)
    return element("g", drawn, written, class_=f"node {spot.kind} {class_}".strip())


def _bar(layout: Layout, name: str) -> Spot:
    below = name == "input"
    return Spot(
        label=name,
        words="input: the embeddings" if below else "logits: the output",
        layer=-1 if below else layout.layers,
        kind="bar",
        x=(layout.left + layout.right) / 2,
        y=routes.input_bar(layout) + 10 if below else routes.logits_bar() - 10,
        width=layout.right - layout.left,
        height=20,
        shown_by=(name,),
        names=(name,),
    )


def _mlp(layout: Layout, name: str, layer: int) -> Spot:
    (x, y), (width, height) = layout.mlp(layer), layout.mlp_size
    return Spot(
        label=f"m{layer}",
        words=f"layer {layer}, MLP",
        layer=layer,
        kind="mlp",
        x=x,
        y=y,
        width=width,
        height=height,
        shown_by=(name,),
        names=(name,),
    )


def _head(layout: Layout, layer: int, head: int, own: tuple[str, ...], names: tuple[str, ...]) -> Spot:
    (x, y), (width, height) = layout.head(layer, head), layout.head_size
    return Spot(
        label=f"{layer}.{head}",
        words=f"layer {layer}, head {head}",
        layer=layer,
        kind="head",
        x=x,
        y=y,
        width=width,
        height=height,
        shown_by=own,
        names=names,
    )


def _port(layout: Layout, name: str, port: tuple[int, str, int, str]) -> Spot:
    layer, kind, index, letter = port
    (x, y), (width, height) = layout.port(*port), layout.port_size
    members = list(layout.members(index)) if kind == "kv" else [index]
    of = f"head {members[0]}" if len(members) == 1 else f"heads {members[0]} to {members[-1]}"
    ends = [layout.head(layer, member) for member in members]
    lower = layout.head_size[1] / 2
    return Spot(
        label=letter,
        words=f"layer {layer}, {_READS[letter]} of {of}",
        layer=layer,
        kind="port",
        x=x,
        y=y,
        width=width,
        height=height,
        tie="".join(f"M{short(x)} {short(y)}L{short(end)} {short(up + lower - 2)}" for end, up in ends),
        shown_by=(name,),
        names=(name,),
    )
