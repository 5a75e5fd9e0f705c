"""Shares by what the tokens are in the prompt, or by layer: before and after on one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from reports import formats
from reports.figures.forest import ticks
from reports.figures.matrix import LONGEST
from reports.figures.sides import SIDES
from reports.figures.svg import cut, element, picture

_LEFT, _PLOT, _RIGHT, _ROW, _TOP, _BOTTOM = 122, 260, 18, 24, 8, 44


def shares(
    values: Mapping[str, Mapping[str, float]],
    *,
    roles: Sequence[str],
    top: float,
    label: str,
    title: str = "share of attribution",
) -> Markup:
    """A row for each token role, or whatever else has a share, with a point for each model and a line between them.

    Args:
        values: Share by role, by side; a role that a side lacks has no point.
        roles: From the top.
        top: End of the scale, shared by all panels, above 0.
        label: Text alternative.
        title: What the shares are of, below the axis.
    """
    width, bottom = _LEFT + _PLOT + _RIGHT, _TOP + _ROW * len(roles)
    parts = []
    for tick in ticks((0.0, top)):
        x = _x(tick, top)
        parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="s-grid"))
        parts.append(element("text", formats.percent(tick), x=x, y=bottom + 16, class_="middle"))
    parts.append(element("line", x1=_LEFT, x2=_LEFT + _PLOT, y1=bottom, y2=bottom, class_="s-axis"))
    parts.append(element("text", title, x=_LEFT + _PLOT / 2, y=bottom + 36, class_="middle"))
    for at, role in enumerate(roles):
        y = _TOP + _ROW * (at + 0.5)
        parts.append(element("text", cut(role, LONGEST), x=_LEFT - 8, y=y + 4, class_="end"))
        found = [values[side][role] for side in SIDES if role in values.get(side, {})]
        if len(found) > 1:
            ends = [_x(value, top) for value in found]
            parts.append(element("line", x1=ends[0], x2=ends[1], y1=y, y2=y, class_="s-axis", stroke_width=2))
        parts += [_point(side, values[side][role], y, top) for side in SIDES if role in values.get(side, {})]
    return picture(*parts, width=width, height=bottom + _BOTTOM, label=label, class_="matrix")


def _point(side: str, value: float, y: float, top: float) -> Markup:
    x = _x(value, top)
    title = element("title", f"{side}: {formats.percent(value)}")
    if SIDES[side][0] == "circle":
        return element("circle", title, cx=x, cy=y, r=5, class_=f"f-{side}")
    return element("rect", title, x=x - 4.5, y=y - 4.5, width=9, height=9, class_=f"f-{side}")


def _x(value: float, top: float) -> float:
    return _LEFT + _PLOT * min(value / top, 1.0)
