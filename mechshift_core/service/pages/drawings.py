"""Drawings: estimates with their intervals, on one axis for each measure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reports import formats
from reports.figures.forest import ticks
from reports.figures.svg import element, picture, short

Scale = tuple[float, float]
WIDTH, HEIGHT, _SIDE = 260, 26, 14
MARKS = {
    "supported": "M-5 0l3.5 3.5l6.5 -8",
    "refuted": "M-4 -4l8 8M4 -4l-8 8",
    "inconclusive": "M-6 1.5c2 -4 4 -4 6 -1.5s4 2.5 6 -1.5",
}
"""Verdict -> the sign that badges have, around zero; a bar for any other."""
STEP, TALL, _TOP, _FOOT, _LEFT = 64, 250, 34, 40, 56


def scale_of(values: Iterable[float | None]) -> Scale:
    """The range of some values and zero, with some air."""
    finite = [0.0, *(value for value in values if value is not None and math.isfinite(value))]
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    return low - 0.06 * span, high + 0.06 * span


def axis(scale: Scale, name: str) -> Markup:
    """The axis of a column of :func:`forest` drawings: round values, zero among them."""
    parts = [element("line", x1=_SIDE, x2=WIDTH - _SIDE, y1=20, y2=20, class_="axis")]
    for tick in ticks(scale):
        x = _x(tick, scale)
        parts.append(element("line", x1=x, x2=x, y1=16, y2=20, class_="axis"))
        parts.append(element("text", formats.compact(tick), x=x, y=11))
    label = f"Axis of {name}, from {formats.number(scale[0])} to {formats.number(scale[1])}"
    return picture(*parts, width=WIDTH, height=22, label=label, class_="forest")


def forest(row: Mapping[str, Any], scale: Scale, *, name: str) -> Markup:
    """Estimate and interval of a row, with a line at zero."""
    zero = _x(0.0, scale)
    parts = [element("line", x1=zero, x2=zero, y1=0, y2=HEIGHT, class_="zero")]
    label = f"{name}: {said(row)}"
    if row["estimate"] is None:
        parts = [element("text", "no estimate", x=_SIDE, y=HEIGHT / 2 + 4, class_="none")]
        return picture(*parts, width=WIDTH, height=HEIGHT, label=label, class_="forest")
    middle = HEIGHT / 2
    if row["low"] is not None and row["high"] is not None:
        low, high = _x(row["low"], scale), _x(row["high"], scale)
        parts.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="interval"))
        ends = (low, high)
        parts += [element("line", x1=x, x2=x, y1=middle - 4, y2=middle + 4, class_="interval") for x in ends]
    x = _x(row["estimate"], scale)
    parts.append(element("rect", x=x - 4, y=middle - 4, width=8, height=8, class_="estimate"))
    return picture(*parts, width=WIDTH, height=HEIGHT, label=label, class_="forest")


def course(points: Sequence[Mapping[str, Any]], name: str) -> Markup:
    """A finding over runs, the first on the left: estimate, interval, and the sign of the verdict above."""
    scale = scale_of([point[key] for point in points for key in ("estimate", "low", "high")])
    width = max(360, _LEFT + STEP * len(points) + 16)

    def y(value: float) -> float:
        share = (value - scale[0]) / (scale[1] - scale[0])
        return TALL - _FOOT - min(max(share, 0.0), 1.0) * (TALL - _FOOT - _TOP)

    parts = []
    for tick in ticks(scale):
        parts.append(element("line", x1=_LEFT, x2=width - 8, y1=y(tick), y2=y(tick), class_="grid"))
        parts.append(element("text", formats.compact(tick), x=_LEFT - 8, y=y(tick) + 4, class_="end"))
    parts.append(element("line", x1=_LEFT, x2=width - 8, y1=y(0.0), y2=y(0.0), class_="zero"))
    places = [(_LEFT + STEP * (number + 0.5), point) for number, point in enumerate(points)]
    line = [f"{short(x)} {short(y(one['estimate']))}" for x, one in places if one["estimate"] is not None]
    if len(line) > 1:
        parts.append(element("path", d=f"M{'L'.join(line)}", class_="course"))
    for number, (x, point) in enumerate(places, start=1):
        parts += _point(x, y, point)
        parts.append(element("text", str(number), x=x, y=TALL - 16))
    parts.append(element("text", "run", x=_LEFT - 8, y=TALL - 16, class_="end"))
    label = f"{name} over {len(points)} runs: " + "; ".join(
        f"{number}: {said(point)}, {point['verdict']}" for number, point in enumerate(points, start=1)
    )
    return picture(*parts, width=width, height=TALL, label=label, class_="forest course-of")


def said(row: Mapping[str, Any]) -> str:
    """Estimate and interval in words."""
    if row["estimate"] is None:
        return "no estimate"
    text = f"estimate {formats.number(row['estimate'])}"
    return text if row["low"] is None else f"{text}, interval {formats.interval(row['low'], row['high'])}"


def _point(x: float, y: Any, point: Mapping[str, Any]) -> list[Markup]:
    verdict = str(point["verdict"])
    sign = element(
        "path",
        d=MARKS.get(verdict, "M-5 0h10"),
        transform=f"translate({short(x)} 16)",
        class_=f"sign {verdict.replace(' ', '-')}",
    )
    if point["estimate"] is None:
        return [sign]
    parts = [sign]
    if point["low"] is not None and point["high"] is not None:
        low, high = y(point["low"]), y(point["high"])
        parts.append(element("line", x1=x, x2=x, y1=low, y2=high, class_="interval"))
        ends = (low, high)
        parts += [element("line", x1=x - 4, x2=x + 4, y1=end, y2=end, class_="interval") for end in ends]
    parts.append(element("rect", x=x - 4.5, y=y(point["estimate"]) - 4.5, width=9, height=9, class_="estimate"))
    return parts


def _x(value: float, scale: Scale) -> float:
    share = (value - scale[0]) / (scale[1] - scale[0])
    return _SIDE + min(max(share, 0.0), 1.0) * (WIDTH - 2 * _SIDE)
