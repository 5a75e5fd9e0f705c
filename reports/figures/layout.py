"""Where the nodes of a circuit are drawn: layers upwards, components across; the same for every circuit of a shape."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SOURCE = re.compile(r"a(\d+)\.h(\d+)$")
_RECEIVER = re.compile(r"a(\d+)\.(h|kv)(\d+)<([qkv])>$")
_MLP = re.compile(r"m(\d+)$")

Point = tuple[float, float]

_LEFT, _TOP, _BOTTOM, _FOOT = 46, 44, 80, 100
_PORT, _MLP_RISE = 6.0, 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Geometry of a drawing, in pixels.

    Attributes:
        layers: Number of layers, `heads` attention heads a layer, read through `groups` key/value heads.
        step: Distance between neighbouring columns, `rise` between layers.
    """

    layers: int
    heads: int
    groups: int
    step: float
    rise: float

    @property
    def width(self) -> float:
        """Width of the drawing: the MLPs' column and the room that their edges need are right of the heads."""
        return self.right + 12

    @property
    def height(self) -> float:
        """Height of the drawing."""
        return _TOP + self.layers * self.rise + _BOTTOM

    @property
    def left(self) -> float:
        """Left end of the bars; right of it is the lane of the edge from the input to the logits."""
        return _LEFT

    @property
    def right(self) -> float:
        """Right end of the bars."""
        return self.column(self.heads) + self.mlp_size[0] / 2 + self.reach + 6

    @property
    def middle(self) -> float:
        """Horizontal centre of the component columns."""
        return (self.column(0) + self.column(self.heads)) / 2

    @property
    def reach(self) -> float:
        """How far the edges between MLPs swing out to the right."""
        return 80.0 if self.layers <= 8 else 110.0

    @property
    def dense(self) -> bool:
        """Whether columns are so close that names have to be small."""
        return self.step < 34

    @property
    def head_size(self) -> Point:
        """Width and height of a head's box, which holds its name."""
        return min(36.0, self.step - 2), 13.0 if self.dense else 16.0

    @property
    def mlp_size(self) -> Point:
        """Width and height of an MLP's box."""
        return (24.0, 13.0) if self.dense else (30.0, 16.0)

    @property
    def port_size(self) -> Point:
        """Width and height of the box of a query, key or value."""
        return (8.0, 11.0) if self.dense else (12.0, 12.0)

    def column(self, index: float) -> float:
        """x of a head's column; the MLP is the column after the last head."""
        apart = 30 if index >= self.heads else 0
        return _LEFT + self.head_size[0] / 2 + 18 + index * self.step + apart

    def row(self, layer: int) -> float:
        """y of a layer's heads."""
        return self.height - _FOOT - layer * self.rise

    def head(self, layer: int, index: int) -> Point:
        """Where a head is drawn."""
        return self.column(index), self.row(layer)

    def mlp(self, layer: int) -> Point:
        """Where an MLP is drawn: above the heads that feed it."""
        return self.column(self.heads), self.row(layer) - self.rise * _MLP_RISE

    def members(self, group: int) -> range:
        """Query heads that share a key/value head."""
        size = max(1, -(-self.heads // self.groups))
        return range(min(group * size, self.heads - 1), min((group + 1) * size, self.heads))

    def group_of(self, head: int) -> int:
        """The key/value head that a head reads through."""
        return head // max(1, -(-self.heads // self.groups))

    def port(self, layer: int, kind: str, index: int, letter: str) -> Point:
        """Where a head's query, or a group's key or value, enters: below the heads."""
        y = self.row(layer) + self.head_size[1] / 2 + _PORT
        if letter == "q":
            return self.column(index), y
        members = list(self.members(index)) if kind == "kv" else [index]
        beside = self.port_size[0] + 1
        return self.column(sum(members) / len(members)) + (-beside if letter == "k" else beside), y


def layout_of(sources: list[str], targets: list[str]) -> Layout:
    """The layout that holds all the nodes named.

    Args:
        sources: Names of writing nodes.
        targets: Names of reading nodes.
    """
    layer, head, group = 0, 0, -1
    for name in (*sources, *targets):
        if found := _SOURCE.match(name) or _MLP.match(name) or _RECEIVER.match(name):
            layer = max(layer, int(found[1]))
        if found := _SOURCE.match(name):
            head = max(head, int(found[2]))
        elif found := _RECEIVER.match(name):
            if found[2] == "kv":
                group = max(group, int(found[3]))
            else:
                head = max(head, int(found[3]))
    heads, layers = head + 1, layer + 1
    groups = min(heads, group + 1) if group >= 0 else heads
    step = max(28.0, min(86.0, 430 / (heads + 1)))
    return Layout(
        layers=layers,
        heads=heads,
        groups=groups,
        step=step,
        rise=84.0 if layers <= 8 else 62.0 if layers <= 16 else 44.0,
    )


def parse_head(name: str) -> tuple[int, int] | None:
    """Layer and index of a head's name."""
    found = _SOURCE.match(name)
    return (int(found[1]), int(found[2])) if found else None


def parse_port(name: str) -> tuple[int, str, int, str] | None:
    """Layer, `h` or `kv`, index and letter of a query, key or value receiver's name."""
    found = _RECEIVER.match(name)
    return (int(found[1]), found[2], int(found[3]), found[4]) if found else None


def parse_mlp(name: str) -> int | None:
    """Layer of an MLP's name."""
    found = _MLP.match(name)
    return int(found[1]) if found else None
