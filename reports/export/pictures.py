"""A figure as one picture: legend, panels with their titles and notes, drawings side by side; light colours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from markupsafe import Markup

from reports.export.stylesheet import FAMILY, colour, styled
from reports.figures.base import Key, Panel
from reports.figures.svg import short
from reports.templating import visible

PAGE = (458.0, 598.0)
"""Room on a page of a one-column article in pixels: 345 by 450 of the points of TeX, of which an inch has 72.27."""
SHRUNK = 1.25
"""How much wider drawings side by side may be than the page, to which they are shrunk: print is still legible then."""
SIZE, LINE, GAP = 12.0, 16.0, 18.0
"""Size of titles, the height of a line of them, and the room between panels, in pixels."""

_NOT_XML = re.compile("[\ufffe\uffff]")
_SHARED = re.compile(r'<svg class="[^"]*\bshared\b[^"]*"[^>]*>.*?</svg>', re.DOTALL)
_WIDE, _NARROW = frozenset("mwMW@%—…→"), frozenset("ijltfrI.,;:'|!()[]{} -/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of a picture with its size in pixels."""

    node: Element
    width: float
    height: float


def compose(
    panels: Sequence[Panel],
    *,
    legend: Sequence[Key] = (),
    abreast: int = 1,
    title: str = "",
    description: str = "",
    definitions: Mapping[str, Element] | None = None,
) -> str:
    """Panels as one `<svg>` document.

    Args:
        panels: What to draw.
        legend: Drawn above.
        abreast: Panels that belong in a row; fewer stand in it, or more below no others, where that is larger in print.
        title: What the picture is.
        description: The same as what is seen, in words.
        definitions: What drawings refer to, as of :func:`definitions_in`.
    """
    blocks = [_panel(panel, definitions or {}) for panel in panels]
    offered = range(1, 5) if abreast == 1 else [n for n in range(abreast, 0, -1) if abreast % n == 0]
    grid = max((_grid(blocks, columns) for columns in offered), key=lambda one: fitting(one.width, one.height))
    parts = [_legend(legend, max(grid.width, PAGE[0] / 2)), grid] if legend else [grid]
    whole = _stacked(parts, gap=GAP / 2)
    width, height = short(max(whole.width, 1.0)), short(max(whole.height, 1.0))
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": width, "height": height, "role": "img"})
    svg.set("viewBox", f"0 0 {width} {height}")
    svg.set("font-family", FAMILY)
    SubElement(svg, "title").text = visible(title)
    SubElement(svg, "desc").text = visible(description)
    svg.append(whole.node)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _NOT_XML.sub("�", ElementTree.tostring(svg, "unicode")) + "\n"


def fitting(width: float, height: float) -> float:
    """The scale at which a picture of a size in pixels fits on a page, at most 1."""
    return min(1.0, PAGE[0] / max(width, 1.0), PAGE[1] / max(height, 1.0))


def definitions_in(body: Markup) -> dict[str, Element]:
    """What drawings of a section share, by id: groups in pictures of class `shared`.

    Only our own markup matches, since texts of a run are escaped.
    """
    found = (part for drawn in _SHARED.findall(body) for part in _parsed(drawn).iter())
    return {part.get("id", ""): part for part in found if part.get("id")}


def alternatives(panels: Iterable[Panel]) -> str:
    """The text alternatives of all drawings."""
    labels = [_parsed(drawing).get("aria-label", "") for panel in panels for drawing in panel.drawings]
    return " ".join(label if label.endswith(".") else f"{label}." for label in labels if label)


def written(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is, in pixels: enough to break lines by."""
    ems = sum(0.88 if c in _WIDE else 0.31 if c in _NARROW else 0.7 if c.isupper() else 0.55 for c in text)
    return ems * size * (1.06 if bold else 1.0)


def _panel(panel: Panel, definitions: Mapping[str, Element]) -> Block:
    drawn = [_drawing(drawing, definitions) for drawing in panel.drawings]
    rows: list[list[Block]] = []
    for block in drawn:
        if rows and sum(one.width + GAP / 2 for one in rows[-1]) + block.width <= SHRUNK * PAGE[0]:
            rows[-1].append(block)
        else:
            rows.append([block])
    drawings = [_beside(row, 0.0, gap=GAP / 2) for row in rows]
    width = max([block.width for block in drawings], default=PAGE[0] / 2)
    head = [_text(panel.title, width, size=SIZE, bold=True), _text(panel.subtitle, width, size=SIZE - 1)]
    foot = [_text(panel.note, width, size=SIZE - 2)]
    return _stacked([block for block in (*head, *drawings, *foot) if block.height], gap=4.0)


def _drawing(drawing: Markup, definitions: Mapping[str, Element]) -> Block:
    node = styled(_parsed(drawing), definitions=definitions)
    node.attrib.pop("role", None)
    return Block(node=node, width=float(node.get("width", 0)), height=float(node.get("height", 0)))


def _legend(keys: Sequence[Key], width: float) -> Block:
    """Samples with their labels, as many in a line as there is room for."""
    group = Element("g")
    x = y = widest = 0.0
    for key in keys:
        sample = styled(_parsed(key.sample), definitions={})
        room = float(sample.get("width", 34)) + 6
        label = written(key.label, SIZE - 1)
        if x and x + room + label > width:
            x, y = 0.0, y + LINE + 2
        sample.attrib |= {"x": short(x), "y": short(y + 1)}
        group.append(sample)
        group.append(_line(key.label, x + room, y + SIZE, size=SIZE - 1))
        x += room + label + GAP
        widest = max(widest, x - GAP)
    return Block(node=group, width=widest, height=y + LINE)


def _text(text: str, width: float, *, size: float, bold: bool = False) -> Block:
    """A text in lines that are no wider than they may be; a long word may be."""
    lines: list[str] = []
    for word in visible(text).split():
        if lines and written(f"{lines[-1]} {word}", size, bold=bold) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    group = Element("g")
    group.extend(_line(one, 0.0, size + LINE * number, size=size, bold=bold) for number, one in enumerate(lines))
    widest = max((written(one, size, bold=bold) for one in lines), default=0.0)
    return Block(node=group, width=widest, height=LINE * len(lines))


def _line(text: str, x: float, y: float, *, size: float, bold: bool = False) -> Element:
    look = {"x": short(x), "y": short(y), "font-size": f"{short(size)}px", "fill": colour("ink" if bold else "muted")}
    made = Element("text", look | ({"font-weight": "600"} if bold else {}))
    made.text = visible(text)
    return made


def _grid(blocks: Sequence[Block], columns: int) -> Block:
    """Blocks row by row in columns of one width."""
    widest = max((block.width for block in blocks), default=0.0)
    rows = [blocks[first : first + columns] for first in range(0, len(blocks), columns)]
    return _stacked([_beside(row, widest) for row in rows], gap=GAP)


def _beside(blocks: Sequence[Block], column: float, *, gap: float = GAP) -> Block:
    """Blocks in a row; columns are at least so wide."""
    group, x = Element("g"), 0.0
    for block in blocks:
        group.append(_placed(block.node, x, 0.0))
        x += max(column, block.width) + gap
    return Block(node=group, width=max(0.0, x - gap), height=max((block.height for block in blocks), default=0.0))


def _stacked(blocks: Sequence[Block], *, gap: float) -> Block:
    """Blocks below each other."""
    group, y = Element("g"), 0.0
    for block in blocks:
        group.append(_placed(block.node, 0.0, y))
        y += block.height + gap
    return Block(node=group, width=max((block.width for block in blocks), default=0.0), height=max(0.0, y - gap))


def _placed(node: Element, x: float, y: float) -> Element:
    if node.tag == "svg":
        node.attrib |= {"x": short(x), "y": short(y)}
        return node
    if not (x or y):
        return node
    group = Element("g", {"transform": f"translate({short(x)} {short(y)})"})
    group.append(node)
    return group


def _parsed(drawing: str) -> Element:
    return ElementTree.fromstring(_NOT_XML.sub("�", drawing))
