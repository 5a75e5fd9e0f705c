"""The forest plot of the verdicts: one small drawing a hypothesis, on one scale per measure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from reports import formats
from reports.figures.svg import element, picture
from stats.findings import Finding

WIDTH, HEIGHT = 290, 70
ABREAST = 40
"""Characters of the words at both ends that fit beside each other; longer ones stand below each other."""
_LEFT, _RIGHT, _MIDDLE, _AXIS = 12, WIDTH - 12, 22, 38

Scale = tuple[float, float]


def scales(hypotheses: Iterable[Finding]) -> dict[str, Scale]:
    """The range drawn for each measure: all its estimates, intervals and margins, and zero, with some air."""
    reach: dict[str, list[float]] = {}
    for finding in hypotheses:
        values = [finding.estimate, finding.low, finding.high, finding.null]
        values += [] if finding.margin is None else [-finding.margin, finding.margin]
        values += [part.estimate for part in finding.parts]
        finite = [value for value in values if value is not None and math.isfinite(value)]
        reach.setdefault(finding.measure, [0.0]).extend(finite)
    return {measure: _padded(min(values), max(values)) for measure, values in reach.items()}


def forest(finding: Finding, *, scale: Scale, ends: tuple[str, str] = ("lower", "higher")) -> Markup:
    """Estimate and interval of one hypothesis, with zero, the margin, and a tick for each task or regime alone.

    The interval is the test's own: of an equivalence at .05 the one at 90 %, which then lies within the margin. The
    band of non-inferiority is open to the right.

    Args:
        finding: What is drawn.
        scale: Least and largest value of the axis.
        ends: What lies to the left and to the right, in words.
    """

    def x(value: float) -> float:
        share = (value - scale[0]) / (scale[1] - scale[0])
        return _LEFT + min(max(share, 0.0), 1.0) * (_RIGHT - _LEFT)

    if finding.estimate is None:
        return picture(
            element("text", "no estimate", x=_LEFT, y=_MIDDLE + 4, class_="none"),
            width=WIDTH,
            height=2 * _MIDDLE,
            label=alternative(finding),
            class_="forest",
        )
    parts = _axis(scale, x(0.0))
    if finding.margin is not None:
        low, high = x(-finding.margin), _RIGHT if finding.test == "non_inferiority" else x(finding.margin)
        parts.insert(0, element("rect", x=low, y=4, width=high - low, height=_AXIS - 4, class_="margin"))
    parts += [element("text", formats.compact(tick), x=x(tick), y=52, class_="tick") for tick in ticks(scale)]
    parts += [element("line", x1=x(tick), x2=x(tick), y1=_AXIS, y2=_AXIS + 4, class_="axis") for tick in ticks(scale)]
    if finding.null:
        parts.append(element("line", x1=x(finding.null), x2=x(finding.null), y1=4, y2=_AXIS, class_="bound"))
    parts += _claim(finding, x(finding.null if finding.margin is None else 0.0))
    below = 0 if len(ends[0]) + len(ends[1]) <= ABREAST else 14
    parts += [
        element("text", f"← {ends[0]}", x=_LEFT, y=66, class_="side left"),
        element("text", f"{ends[1]} →", x=_RIGHT, y=66 + below, class_="side right"),
    ]
    for part in finding.parts:
        if part.estimate is not None:
            at = x(part.estimate)
            parts.append(element("line", x1=at, x2=at, y1=_MIDDLE + 7, y2=_MIDDLE + 13, class_="part"))
    first, last, _ = finding.shown
    if first is not None and last is not None:
        low, high = x(first), x(last)
        parts.append(element("line", x1=low, x2=high, y1=_MIDDLE, y2=_MIDDLE, class_="interval"))
        parts += [
            element("line", x1=end, x2=end, y1=_MIDDLE - 4, y2=_MIDDLE + 4, class_="interval") for end in (low, high)
        ]
    parts.append(_mark(finding, x(finding.estimate)))
    return picture(*parts, width=WIDTH, height=HEIGHT + below, label=alternative(finding), class_="forest")


def alternative(finding: Finding) -> str:
    """The drawing in words."""
    if finding.estimate is None:
        return f"{finding.id}: no estimate"
    text = f"{finding.id}: estimate {formats.number(finding.estimate)}"
    low, high, level = finding.shown
    if low is not None:
        text += f", {formats.confidence(level)} interval {formats.interval(low, high)}"
    if finding.test == "non_inferiority" and finding.margin is not None:
        text += f", margin of non-inferiority {formats.compact(-finding.margin)}"
    elif finding.margin is not None:
        text += f", equivalence margin ±{formats.compact(finding.margin)}"
    known = [f"{part.level} {formats.number(part.estimate)}" for part in finding.parts if part.estimate is not None]
    if known:
        text += f"; alone: {', '.join(known)}"
    return f"{text}; zero is marked"


def ticks(scale: Scale) -> list[float]:
    """Round values within the scale, two to five of them, zero among them."""
    span = scale[1] - scale[0]
    step = 10.0 ** math.floor(math.log10(span / 2))
    for factor in (1, 2, 5, 10):
        if span / (step * factor) <= 4:
            step *= factor
            break
    first, last = math.ceil(scale[0] / step - 1e-9), math.floor(scale[1] / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _axis(scale: Scale, zero: float) -> list[Markup]:
    return [
        element("line", x1=_LEFT, x2=_RIGHT, y1=_AXIS, y2=_AXIS, class_="axis"),
        element("line", x1=zero, x2=zero, y1=4, y2=_AXIS, class_="zero"),
    ]


def _claim(finding: Finding, zero: float) -> list[Markup]:
    """A small arrow from zero towards the side that the claim names."""
    if finding.test not in ("difference", "bound") or finding.alternative not in ("less", "greater"):
        return []
    way = -1 if finding.alternative == "less" else 1
    tip, y = zero + 13 * way, 7
    path = f"M{zero:.1f} {y}H{tip:.1f}m{-4 * way} -3l{4 * way} 3l{-4 * way} 3"
    return [element("path", d=path, class_="claim")]


def _mark(finding: Finding, x: float) -> Markup:
    """The estimate: a square for a difference, a diamond for an equivalence test."""
    if finding.test == "equivalence":
        return element("path", d=f"M{x:.1f} {_MIDDLE - 6}l6 6l-6 6l-6 -6z", class_="estimate")
    return element("rect", x=x - 4.5, y=_MIDDLE - 4.5, width=9, height=9, class_="estimate")


def _padded(low: float, high: float) -> Scale:
    span = (high - low) or 1.0
    return low - 0.08 * span, high + 0.08 * span
