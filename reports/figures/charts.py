"""Altair charts as static SVG that the page's stylesheet colours.

vl-convert writes colours as presentation attributes. Here each colour of :data:`PALETTE` becomes a class (`f-before`
for a fill, `s-before` for a stroke), so that the stylesheet decides in light, dark and print. Sizes and axis extents
are fixed, hence the drawing does not depend on which fonts the machine has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import altair as alt
import vl_convert
from markupsafe import Markup

from reports.figures.compact import AXES, compact
from reports.templating import visible

PALETTE = {
    "ink": "#1c2126",
    "muted": "#59626b",
    "grid": "#e3e6e9",
    "axis": "#9aa2aa",
    "before": "#0072b2",
    "after": "#d55e00",
    "chance": "#8a929a",
    "ceiling": "#009e73",
    "paper": "#ffffff",
}
"""Colours of the light theme by role (Okabe-Ito where they carry meaning)."""

MOST_LABELS = 12
"""Labels of an axis of whole numbers that a narrow panel has room for."""
_CLASSES = {colour: name for name, colour in PALETTE.items()}
_KEEP = ("d", "x", "y", "x1", "x2", "y1", "y2", "r", "cx", "cy", "width", "height", "transform", "text-anchor")
_PAINT = ("stroke-width", "stroke-dasharray", "opacity", "fill-opacity", "stroke-opacity", "font-weight", "font-size")
_USUAL = {"font-size": "11px", "font-weight": "normal", "stroke-dasharray": "1,0"}  # as the stylesheet has it
_DECIMAL = re.compile(r"-?\d+\.\d{2,}")

Row = dict[str, Any]


def layer(marks: Sequence[alt.Chart], *, width: int, height: int, right: int = 10) -> dict[str, Any]:
    """Marks over each other in a plot area of fixed size with fixed room for the axes, in pixels: a Vega-Lite chart.

    (Altair's own layers copy every row of every mark many times over: they took most of the time of a report.)
    """
    layers = [mark.to_dict(validate=False) for mark in marks]
    schema = layers[0]["$schema"]
    datasets: dict[str, Any] = {}
    for one in layers:
        del one["$schema"], one["config"]
        datasets |= one.pop("datasets")
    axis = {
        "labelColor": PALETTE["muted"],
        "titleColor": PALETTE["muted"],
        "gridColor": PALETTE["grid"],
        "domainColor": PALETTE["axis"],
        "tickColor": PALETTE["axis"],
        "labelFontSize": 11,
        "titleFontSize": 11.5,
        "titleFontWeight": "normal",
        "titleLimit": width,
        "tickSize": 4,
    }
    return {
        "$schema": schema,
        "config": {
            "view": {"stroke": None},
            "axis": axis,
            "axisX": {"minExtent": 18, "maxExtent": 18, "titlePadding": 6, "grid": False},
            "axisY": {
                "minExtent": 38,
                "maxExtent": 38,
                "titlePadding": 6,
                "domain": False,
                "ticks": False,
                "labelPadding": 5,
            },
        },
        "width": width,
        "height": height,
        "padding": {"left": 58, "right": right, "top": 10, "bottom": 42},
        "autosize": {"type": "none"},
        "layer": layers,
        "datasets": datasets,
    }


def rows(values: Sequence[Row]) -> alt.Chart:
    """A chart over rows of plain values."""
    return alt.Chart(alt.InlineData(values=list(values)))


def numbered(field: str, values: Sequence[int], *, title: str, **axis: Any) -> alt.X:
    """An axis of whole numbers in order, with as many labels as have room: layers, streams, steps.

    Args:
        field: The column.
        values: Its values, ascending.
        title: Of the axis.
        axis: More options of it.
    """
    return alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[values[0] - 0.4, values[-1] + 0.4], nice=False),
        axis=alt.Axis(values=_labelled(values), format="d", labelOverlap="greedy", labelSeparation=3, **axis),
    )


def _labelled(values: Sequence[int]) -> list[int]:
    """Some of the values, in even steps, where all would stand too close."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if len(values) <= MOST_LABELS * step or step == 1000)
    return [value for value in values if value % step == 0]


def to_svg(chart: dict[str, Any], *, label: str) -> Markup:
    """Draw a Vega-Lite chart as one `<svg>` with the text alternative `label`, without ids, styles or own fonts."""
    drawn = vl_convert.vegalite_to_svg(chart)
    tree = ElementTree.fromstring(re.sub(r' xmlns(:\w+)?="[^"]*"', "", drawn))
    size = {key: tree.attrib[key] for key in ("width", "height", "viewBox")}
    for child in [child for child in tree if child.tag == "rect"]:
        tree.remove(child)
    _clean(tree)
    for child in tree:
        compact(child)
    tree.attrib = {"class": "chart", "role": "img", "aria-label": visible(label), **size}
    return Markup(ElementTree.tostring(tree, encoding="unicode", short_empty_elements=True).replace(" />", "/>"))


def _clean(parent: ElementTree.Element) -> None:
    """Drop empty and invisible elements and roles; turn palette colours into classes."""
    for child in list(parent):
        _clean(child)
        hidden = child.attrib.get("display") == "none" or child.attrib.get("class") in ("background", "foreground")
        if hidden or (child.tag == "g" and len(child) == 0):
            parent.remove(child)
            continue
        axis = "role-axis" in child.attrib.get("class", "")
        child.attrib = {"class": AXES} if axis else _attributes(child.attrib)


def _attributes(found: dict[str, str]) -> dict[str, str]:
    kept = {key: _rounded(found[key]) for key in _KEEP if key in found}
    kept |= {key: found[key] for key in _PAINT if key in found and found[key] not in ("1", _USUAL.get(key))}
    classes = []
    for key in ("fill", "stroke"):
        colour = found.get(key, "").lower()
        if colour in _CLASSES:
            classes.append(f"{key[0]}-{_CLASSES[colour]}")
        elif colour and colour != "transparent":
            kept[key] = colour
    if not any(name.startswith("s-") for name in classes) and "stroke" not in kept:
        kept.pop("stroke-width", None)
    return ({"class": " ".join(classes)} if classes else {}) | kept


def _rounded(text: str) -> str:
    return _DECIMAL.sub(lambda found: f"{round(float(found[0]), 1) + 0.0:g}", text)
