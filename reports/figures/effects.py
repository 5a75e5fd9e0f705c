"""Effects of a few groups before and after: a row each, two points with their intervals, on one axis with zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import formats
from reports.figures.forest import Scale, ticks
from reports.figures.matrix import LONGEST
from reports.figures.sides import SIDES
from reports.figures.svg import cut, element, picture
from reports.templating import visible

_LEFT, _PLOT, _RIGHT, _ROW, _TOP, _BOTTOM = 122, 260, 18, 34, 8, 44
_APART = 6.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A value with its interval, and the range of its null, where it has them."""

    value: float
    low: float | None = None
    high: float | None = None
    null_low: float | None = None
    null_high: float | None = None


def draw(
    values: Mapping[str, Mapping[str, Effect]], *, rows: Sequence[str], scale: Scale, title: str, label: str
) -> Markup:
    """A row for each name, in it the model before above the model after.

    Args:
        values: Effect by name, by side; a name that a side lacks has no point.
        rows: Names from the top.
        scale: Range of the axis, shared by all panels, which holds zero.
        title: Of the axis.
        label: Text alternative.
    """
    width, bottom = _LEFT + _PLOT + _RIGHT, _TOP + _ROW * len(rows)
    parts = []
    for tick in ticks(scale):
        x = _x(tick, scale)
        parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="s-axis" if tick == 0 else "s-grid"))
        parts.append(element("text", formats.compact(tick), x=x, y=bottom + 16, class_="middle"))
    parts.append(element("line", x1=_LEFT, x2=_LEFT + _PLOT, y1=bottom, y2=bottom, class_="s-axis"))
    parts.append(element("text", visible(title), x=_LEFT + _PLOT / 2, y=bottom + 36, class_="middle"))
    for at, name in enumerate(rows):
        middle = _TOP + _ROW * (at + 0.5)
        parts.append(element("text", cut(name, LONGEST), x=_LEFT - 8, y=middle + 4, class_="end"))
        for place, side in enumerate(SIDES):
            effect = values.get(side, {}).get(name)
            if effect is not None:
                parts += _point(side, effect, middle + _APART * (2 * place - 1), scale)
    return picture(*parts, width=width, height=bottom + _BOTTOM, label=label, class_="matrix")


def _point(side: str, effect: Effect, y: float, scale: Scale) -> list[Markup]:
    parts = []
    if effect.null_low is not None and effect.null_high is not None:
        start, end = _x(effect.null_low, scale), _x(effect.null_high, scale)
        band = {"x": start, "y": y - 5, "width": max(end - start, 1.0), "height": 10}
        parts.append(element("rect", **band, class_="f-chance", opacity=0.3))
    if effect.low is not None and effect.high is not None:
        ends = {"x1": _x(effect.low, scale), "x2": _x(effect.high, scale), "y1": y, "y2": y}
        parts.append(element("line", **ends, class_=f"s-{side}", stroke_width=2))
    x = _x(effect.value, scale)
    title = element("title", f"{side}: {formats.number(effect.value)} {formats.interval(effect.low, effect.high)}")
    if SIDES[side][0] == "circle":
        return [*parts, element("circle", title, cx=x, cy=y, r=5, class_=f"f-{side}")]
    return [*parts, element("rect", title, x=x - 4.5, y=y - 4.5, width=9, height=9, class_=f"f-{side}")]


def _x(value: float, scale: Scale) -> float:
    share = (value - scale[0]) / (scale[1] - scale[0])
    return _LEFT + _PLOT * min(max(share, 0.0), 1.0)
