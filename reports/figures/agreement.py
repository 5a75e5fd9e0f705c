"""Agreement without a threshold: each measure between the models, on one scale with its chance level and ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import formats
from reports.figures import svg
from reports.figures.base import Key
from reports.figures.forest import Scale, ticks
from reports.figures.svg import element, picture
from reports.templating import visible

_LEFT, _PLOT, _LINE, _TOP, _AXIS, _RIGHT = 142, 280, 30, 8, 26, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A measure between the models, with interval, range of chance and ceiling where there are such."""

    name: str
    between: float
    low: float | None
    high: float | None
    null_low: float | None
    null_high: float | None
    ceiling: float | None


def draw(found: Sequence[Agreement], *, scale: Scale, label: str) -> Markup:
    """The measures from top to bottom on a shared scale, cut at its ends; `label` is the text alternative."""
    bottom = _TOP + _LINE * len(found)

    def x(value: float) -> float:
        share = (value - scale[0]) / (scale[1] - scale[0])
        return _LEFT + _PLOT * min(max(share, 0.0), 1.0)

    parts = [
        element("line", x1=_LEFT, x2=_LEFT + _PLOT, y1=bottom, y2=bottom, class_="axis"),
        element("line", x1=x(0.0), x2=x(0.0), y1=_TOP, y2=bottom, class_="zero"),
    ]
    for tick in ticks(scale):
        parts.append(element("line", x1=x(tick), x2=x(tick), y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(element("text", formats.compact(tick), x=x(tick), y=bottom + 17, class_="tick"))
    for number, one in enumerate(found):
        y = _TOP + _LINE * (number + 0.5)
        parts.append(element("text", visible(one.name), x=_LEFT - 8, y=y + 4, class_="end"))
        if one.null_low is not None and one.null_high is not None:
            low, high = x(one.null_low), x(one.null_high)
            band = {"width": max(high - low, 2.0), "height": 20, "class_": "f-chance", "opacity": 0.35}
            parts.append(element("rect", x=low, y=y - 10, **band))
        if one.ceiling is not None:
            at = x(one.ceiling)
            dashed = {"class_": "s-ceiling", "stroke_width": 2, "stroke_dasharray": "4 2"}
            parts.append(element("line", x1=at, x2=at, y1=y - 11, y2=y + 11, **dashed))
        if one.low is not None and one.high is not None:
            parts.append(element("line", x1=x(one.low), x2=x(one.high), y1=y, y2=y, class_="interval"))
        parts.append(element("circle", cx=x(one.between), cy=y, r=4, class_="estimate"))
    return picture(*parts, width=_LEFT + _PLOT + _RIGHT, height=bottom + _AXIS, label=label, class_="forest agreement")


def scale_of(values: Sequence[float]) -> Scale:
    """Range of the values with 0 and 1, with some air, for all panels."""
    low, high = min([0.0, *values]), max([1.0, *values])
    air = 0.04 * (high - low)
    return low - air, high + air


def legend() -> tuple[Key, ...]:
    """What points, bands and dashes mean."""
    point = svg.sample(
        element("line", x1=1, y1=7, x2=33, y2=7, class_="s-ink", stroke_width=1.5),
        element("circle", cx=17, cy=7, r=4, class_="f-ink"),
    )
    band = svg.sample(element("rect", x=1, y=2, width=32, height=10, class_="f-chance", opacity=0.35))
    dashed = {"class_": "s-ceiling", "stroke_width": 2, "stroke_dasharray": "4 2"}
    ceiling = svg.sample(element("line", x1=17, y1=0, x2=17, y2=14, **dashed))
    return (
        Key(sample=point, label="between the two models, with interval"),
        Key(sample=band, label="chance, 95 % of permutations"),
        Key(sample=ceiling, label="ceiling"),
    )
