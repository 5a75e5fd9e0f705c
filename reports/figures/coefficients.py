"""Coefficients or rates with their intervals, one a row, on one scale with zero or another value marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import formats
from reports.figures.forest import ticks
from reports.figures.svg import element, picture
from reports.templating import visible

_LETTER, _PLOT, _LINE, _TOP, _AXIS, _RIGHT = 6.6, 300, 24, 8, 26, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """A term and its estimate; without an interval where there is none."""

    term: str
    estimate: float
    low: float | None
    high: float | None


def draw(found: Sequence[Coefficient], *, label: str, marked: float = 0.0) -> Markup:
    """The coefficients from top to bottom, with a line at `marked`; `label` is the text alternative."""
    ends = [value for one in found for value in (one.estimate, one.low, one.high) if value is not None]
    low, high = min(marked, *ends), max(marked, *ends)
    air = 0.06 * ((high - low) or 1.0)
    scale = (low - air, high + air)
    left = 12 + _LETTER * max(len(visible(one.term)) for one in found)
    bottom = _TOP + _LINE * len(found)

    def x(value: float) -> float:
        return left + _PLOT * (value - scale[0]) / (scale[1] - scale[0])

    parts = [
        element("line", x1=left, x2=left + _PLOT, y1=bottom, y2=bottom, class_="axis"),
        element("line", x1=x(marked), x2=x(marked), y1=_TOP, y2=bottom, class_="zero"),
    ]
    for tick in ticks(scale):
        parts.append(element("line", x1=x(tick), x2=x(tick), y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(element("text", formats.compact(tick), x=x(tick), y=bottom + 17, class_="tick"))
    for number, one in enumerate(found):
        y = _TOP + _LINE * (number + 0.5)
        parts.append(element("text", visible(one.term), x=left - 6, y=y + 4, class_="end"))
        if one.low is not None and one.high is not None:
            parts.append(element("line", x1=x(one.low), x2=x(one.high), y1=y, y2=y, class_="interval"))
        parts.append(element("rect", x=x(one.estimate) - 4, y=y - 4, width=8, height=8, class_="estimate"))
    width, height = left + _PLOT + _RIGHT, bottom + _AXIS
    return picture(*parts, width=width, height=height, label=label, class_="forest coefficients")
