"""How an edge runs between its nodes. A route depends on the layout and the two names only, never on other edges.

So an edge is at the same place in every drawing of a page and at every K, and no two edges share a route: edges between
MLPs swing out to the right, the further the more layers they pass; edges along a column pass beside its heads; the
edge from the input to the logits has a lane of its own.
"""

from __future__ import annotations

from reports.figures.layout import Layout, Point, parse_head, parse_mlp, parse_port
from reports.figures.svg import short

_SIDE = 0.38
"""How far beside its column an edge from the input or to the logits begins or ends, in columns."""


def route(layout: Layout, source: str, target: str) -> str:
    """Path data of an edge; empty where one of the names is no node that is drawn.

    Args:
        layout: Where the nodes are.
        source: Name of the writing node.
        target: Name of the reading node.
    """
    head, mlp = parse_head(source), parse_mlp(source)
    port, into = parse_port(target), parse_mlp(target)
    if head is not None:
        x, y = layout.head(*head)
        start = (x, y - layout.head_size[1] / 2)
        if port is not None:
            return _between_heads(layout, start, _port(layout, port), layers=port[0] - head[0])
        if into is not None:
            return _to_mlp(start, _mlp(layout, into, side=-1, shift=3))
        return _to_logits(layout, start, layer=head[0]) if target == "logits" else ""
    if mlp is not None:
        if port is not None:
            return _from_mlp(_mlp(layout, mlp, side=-1, shift=-3), _port(layout, port))
        start = _mlp(layout, mlp, side=1, shift=-3)
        if into is not None:
            return _between_mlps(layout, start, _mlp(layout, into, side=1, shift=3), layers=into - mlp)
        return _mlp_to_logits(layout, start, layers=layout.layers - mlp) if target == "logits" else ""
    if source != "input":
        return ""
    if port is not None:
        return _from_input(layout, _port(layout, port), layer=port[0])
    if into is not None:
        return _input_to_mlp(layout, _mlp(layout, into, side=1, shift=3), layers=into + 1)
    if target != "logits":
        return ""
    lane = layout.left + 6
    return _curve((lane, input_bar(layout)), (lane, _mid(layout)), (lane, _mid(layout)), (lane, logits_bar()))


def input_bar(layout: Layout) -> float:
    """y of the upper edge of the input's bar."""
    return layout.height - 46


def logits_bar() -> float:
    """y of the lower edge of the logits' bar."""
    return 28.0


def _mid(layout: Layout) -> float:
    return (input_bar(layout) + logits_bar()) / 2


def _port(layout: Layout, port: tuple[int, str, int, str]) -> Point:
    x, y = layout.port(*port)
    return x, y + layout.port_size[1] / 2


def _mlp(layout: Layout, layer: int, *, side: int, shift: float) -> Point:
    """Where edges meet an MLP's left (-1) or right (1) side: those that leave above those that enter."""
    x, y = layout.mlp(layer)
    return x + side * layout.mlp_size[0] / 2, y + shift


def _between_heads(layout: Layout, start: Point, end: Point, *, layers: int) -> str:
    (x1, y1), (x2, y2) = start, end
    rise = y1 - y2
    if abs(x2 - x1) < layout.step / 2 and layers > 1:
        # Along a column: beside the heads that lie between, and soon.
        bow = layout.step * (0.75 + 0.25 * layers / layout.layers)
        lift = min(0.45 * rise, 1.2 * layout.rise)
    else:
        bow = min(0.1 * rise, 30.0) * (1 if x2 >= x1 else -1)  # only so far that parallel edges part
        lift = max(0.45 * rise, 10.0)
    return _curve(start, (x1 + bow, y1 - lift), (x2 + bow, y2 + lift), end)


def _to_mlp(start: Point, end: Point) -> str:
    (x1, y1), (x2, y2) = start, end
    return _curve(start, (x1, y1 - 0.5 * (y1 - y2)), (x2 - 0.35 * (x2 - x1), y2 + 0.25 * (y1 - y2)), end)


def _from_mlp(start: Point, end: Point) -> str:
    (x1, y1), (x2, y2) = start, end
    first = (x1 - 0.35 * (x1 - x2), y1 - 0.2 * (y1 - y2))
    return _curve(start, first, (x2, y2 + max(0.45 * (y1 - y2), 10.0)), end)


def _swing(layout: Layout, layers: int) -> float:
    """How far right of the MLPs an edge over some layers swings; a cubic reaches three quarters of its handles."""
    return layout.reach * (0.2 + 0.8 * layers / (layout.layers + 1)) / 0.75


def _between_mlps(layout: Layout, start: Point, end: Point, *, layers: int) -> str:
    out = _swing(layout, layers)
    tilt = 0.25 * layout.rise / layers  # short ones leave steeper, so that they part from longer ones at once
    return _curve(start, (start[0] + out, start[1] - tilt), (end[0] + out, end[1] + tilt), end)


def _input_to_mlp(layout: Layout, end: Point, *, layers: int) -> str:
    out, bar = _swing(layout, layers), input_bar(layout)
    begin = end[0] + 0.75 * out
    return _curve((begin, bar), (begin, bar - 0.4 * (bar - end[1])), (end[0] + out, end[1]), end)


def _mlp_to_logits(layout: Layout, start: Point, *, layers: int) -> str:
    out, bar = _swing(layout, layers), logits_bar()
    last = start[0] + 0.75 * out
    return _curve(start, (start[0] + out, start[1]), (last, bar + 0.4 * (start[1] - bar)), (last, bar))


def _from_input(layout: Layout, end: Point, *, layer: int) -> str:
    bar = input_bar(layout)
    begin = end[0] + _SIDE * layout.step * layer / layout.layers
    lift = 0.5 * (bar - end[1])
    return _curve((begin, bar), (begin, bar - lift), (end[0], end[1] + lift), end)


def _to_logits(layout: Layout, start: Point, *, layer: int) -> str:
    bar = logits_bar()
    last = start[0] - _SIDE * layout.step * (layout.layers - 1 - layer) / layout.layers
    lift = 0.5 * (start[1] - bar)
    return _curve(start, (start[0], start[1] - lift), (last, bar + lift), (last, bar))


def _curve(start: Point, first: Point, second: Point, end: Point) -> str:
    x, y = (round(value, 1) for value in start)
    ways = " ".join(f"{short(round(a - x, 1))} {short(round(b - y, 1))}" for a, b in (first, second, end))
    return f"M{short(x)} {short(y)}c{ways}"
