"""Scores of single neurons: one a row, with interval, the score in the other model, and how selective the neuron is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from reports import formats
from reports.figures import svg
from reports.figures.base import Key
from reports.figures.forest import Scale, ticks
from reports.figures.sides import SIDES
from reports.figures.svg import cut, element, picture, short

LEVEL = 0.05
"""Corrected p below which a score is drawn filled."""
_TOP, _BOTTOM, _ROW, _RIGHT = 22, 20, 16, 4
_PLOT, _GAP, _SELECTIVITY, _ANSWER_GAP, _ANSWER = 146, 14, 66, 14, 58
_LONGEST, _BOLD, _DIGIT, _LETTER = 14, 8.0, 7.0, 6.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Neuron:
    """A row: one of the strongest neurons of a model.

    Attributes:
        name: Layer and number, `m2.n137`.
        score: Held-out mean, in units of the metric, with the interval `low` to `high`; None where there is none.
        p: Corrected p of the score against 0; None where there is none.
        partner: Score of the same neuron in the other model.
        shared: Whether it is among the strongest of the other model as well.
        selectivity: For the answer that the neuron is most active for, from -1 to 1, and `null`, the same with
            permuted answers; None where answers do not repeat.
        answer: That answer.
        tokens: The tokens at which it is most active.
    """

    name: str
    score: float | None
    low: float | None
    high: float | None
    p: float | None
    partner: float | None
    shared: bool
    selectivity: float | None
    null: float | None
    answer: str | None
    tokens: str | None

    @property
    def clear(self) -> bool:
        """Whether the corrected p is below :data:`LEVEL`; not where there is no p."""
        return self.p is not None and self.p < LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What drawings share, so that their rows and axes compare.

    Attributes:
        left: Where the scores begin, in pixels: the names are left of it.
        scale: Range of the scores, zero in it.
        lowest: Lower end of the selectivity, which ends at 1; None where there is none, and the tokens at which a
            neuron is most active take its place.
    """

    left: float
    scale: Scale
    lowest: float | None

    @property
    def words(self) -> float:
        """Where answers or tokens begin."""
        return self.left + _PLOT + _GAP + (0 if self.lowest is None else _SELECTIVITY + _ANSWER_GAP)

    @property
    def width(self) -> float:
        """Width of the drawing, the same with and without selectivity."""
        return self.left + _PLOT + _GAP + _SELECTIVITY + _ANSWER_GAP + _ANSWER + _RIGHT

    def score(self, value: float) -> float:
        """x of a score."""
        return self.left + _PLOT * _share(value, self.scale)

    def selectivity(self, value: float) -> float:
        """x of a selectivity."""
        return self.left + _PLOT + _GAP + _SELECTIVITY * _share(value, (self.lowest or 0.0, 1.0))


def frame_of(found: Sequence[Neuron], *, names: Iterable[str]) -> Frame:
    """The frame that holds all the values of the neurons.

    Args:
        found: The neurons of the drawings that share a scale.
        names: Names of the neurons of all drawings, which begin at one place.
    """
    scores = [value for one in found for value in (one.score, one.low, one.high, one.partner) if value is not None]
    low, high = min([0.0, *scores]), max([0.0, *scores])
    air = 0.04 * ((high - low) or 1.0)
    shown = [value for one in found for value in (one.selectivity, one.null) if value is not None]
    longest = max((min(len(name), _LONGEST) for name in names), default=0)
    return Frame(
        left=10 + _BOLD * longest,
        scale=(low - air, high + air),
        lowest=min([0.0, *shown]) if shown else None,
    )


def draw(found: Sequence[Neuron], *, frame: Frame, side: str, label: str) -> Markup:
    """The neurons from top to bottom.

    Args:
        found: The strongest first.
        frame: Shared with the drawings to compare with.
        side: `before` or `after`, whose neurons they are; the other model's scores stand beside theirs.
        label: Text alternative.
    """
    other = next(name for name in SIDES if name != side)
    middles = [_TOP + _ROW * (at + 0.5) for at in range(len(found))]
    headings = [(frame.left, f"{side}, score")]
    if frame.lowest is not None:
        headings += [(frame.left + _PLOT + _GAP, "selectivity")]
    headings += [(frame.words, "most active at" if frame.lowest is None else "for")]
    parts = [element("text", text, x=x, y=13, class_="strong") for x, text in headings]
    parts.append(element("g", *_axes(frame, len(found)), class_="places"))
    for one, y in zip(found, middles, strict=True):
        kind = "end strong" if one.shared else "end"
        parts.append(element("text", cut(one.name, _LONGEST), x=frame.left - 5, y=y + 4, class_=kind))
        words = one.tokens if frame.lowest is None else one.answer
        room = int((frame.width - frame.words) / _LETTER)
        parts.append(element("text", cut(words or formats.MISSING, room), x=frame.words, y=y + 4))
    parts += _strokes(found, middles, frame, side=side, other=other)
    for one, y in zip(found, middles, strict=True):
        if one.score is not None:
            parts.append(_point(one, frame.score(one.score), y, side=side, other=other))
    dots = [
        element("circle", cx=_tenth(frame.selectivity(one.selectivity)), cy=y, r=3)
        for one, y in zip(found, middles, strict=True)
        if one.selectivity is not None
    ]
    parts += [element("g", *dots, class_="f-ink")] if dots else []
    return picture(*parts, width=frame.width, height=_height(len(found)), label=label, class_="matrix")


def legend(*, selective: bool) -> tuple[Key, ...]:
    """What the marks mean; `selective` where selectivity is drawn."""
    keys = []
    for side in SIDES:
        line = element("line", x1=1, y1=7, x2=33, y2=7, class_=f"s-{side}", stroke_width=2)
        keys.append(Key(sample=svg.sample(line, _mark(side, 17, 7, clear=True)), label=f"score {side}, with interval"))
    hollow = (_mark(side, x, 7, clear=False) for side, x in zip(SIDES, (9, 25), strict=True))
    keys.append(Key(sample=svg.sample(*hollow), label="corrected p not below .05"))
    lines = (
        element("line", x1=x, x2=x, y1=0.5, y2=13.5, class_=f"s-{side}", stroke_width=2)
        for side, x in zip(SIDES, (9, 25), strict=True)
    )
    keys.append(Key(sample=svg.sample(*lines), label="score of the same neuron in the other model"))
    name = element("text", "m.n", x=17, y=11, class_="f-ink middle", font_size=11.5, font_weight=600)
    keys.append(Key(sample=svg.sample(name), label="among the strongest of both models"))
    if selective:
        null = element("line", x1=9, x2=9, y1=1, y2=13, class_="s-chance", stroke_width=3)
        dot = element("circle", cx=25, cy=7, r=3, class_="f-ink")
        keys.append(Key(sample=svg.sample(null, dot), label="selectivity with permuted answers, and as it is"))
    return tuple(keys)


def _axes(frame: Frame, rows: int) -> list[Markup]:
    """Stripes below every second row, lines and numbers of the axes."""
    bottom, height = _TOP + _ROW * rows, _height(rows)
    stripes = "".join(
        f"M0 {short(_TOP + _ROW * at)}h{short(frame.width)}v{_ROW}h-{short(frame.width)}z" for at in range(0, rows, 2)
    )
    parts = [element("path", d=stripes, class_="stripe")]
    marked = ticks(frame.scale)
    numbered = _apart(marked, frame)
    at = [(frame.score(value), value, value in numbered) for value in marked]
    if frame.lowest is not None:
        at += [(frame.selectivity(value), value, True) for value in (0.0, 1.0)]
    for x, value, written in at:
        parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="s-grid" if value else "s-axis"))
        if written:
            parts.append(element("text", formats.compact(value), x=x, y=height - 5, class_="middle"))
    return parts


def _apart(marked: Sequence[float], frame: Frame) -> list[float]:
    """Those of the round values that have room for their numbers beside each other, zero among them."""
    zero = marked.index(0.0)
    for every in range(1, len(marked) + 1):
        kept = [value for at, value in enumerate(marked) if (at - zero) % every == 0]
        reach = [(frame.score(value), _DIGIT * len(formats.compact(value)) / 2) for value in kept]
        if all(x + half + 4 <= next_x - next_half for (x, half), (next_x, next_half) in pairwise(reach)):
            return kept
    return [0.0]


def _strokes(found: Sequence[Neuron], middles: Sequence[float], frame: Frame, *, side: str, other: str) -> list[Markup]:
    """Intervals, the other model's scores and nulls of the selectivity, a path each."""
    intervals = partners = nulls = ""
    for one, y in zip(found, middles, strict=True):
        if one.low is not None and one.high is not None:
            x = frame.score(one.low)
            intervals += f"M{_tenth(x):g} {short(y)}h{_tenth(frame.score(one.high) - x):g}"
        if one.partner is not None:
            partners += f"M{_tenth(frame.score(one.partner)):g} {short(y - 6.5)}v13"
        if one.null is not None:
            nulls += f"M{_tenth(frame.selectivity(one.null)):g} {short(y - 5)}v10"
    drawn = ((intervals, side, 2), (partners, other, 2), (nulls, "chance", 3))
    return [element("path", d=path, class_=f"s-{name}", stroke_width=width) for path, name, width in drawn if path]


def _point(one: Neuron, x: float, y: float, *, side: str, other: str) -> Markup:
    text = f"{one.name}: {formats.number(one.score)} {formats.interval(one.low, one.high)}, "
    text += formats.p_statement(one.p)
    text += "" if one.partner is None else f"; {other} {formats.number(one.partner)}"
    if one.selectivity is not None:
        text += f"; selectivity {formats.number(one.selectivity)} for {one.answer}"
        text += "" if one.null is None else f", permuted {formats.number(one.null)}"
    text += f"; most active at {one.tokens}" if one.tokens else ""
    return _mark(side, _tenth(x), y, element("title", text), clear=one.clear)


def _mark(side: str, x: float, y: float, *children: Markup, clear: bool) -> Markup:
    look = {"class_": f"f-{side}"} if clear else {"class_": f"f-paper s-{side}", "stroke_width": 1.5}
    half = 4 if clear else 3.5
    if SIDES[side][0] == "circle":
        return element("circle", *children, cx=x, cy=y, r=half, **look)
    return element("rect", *children, x=x - half, y=y - half, width=2 * half, height=2 * half, **look)


def _height(rows: int) -> float:
    return _TOP + _ROW * rows + _BOTTOM


def _share(value: float, scale: Scale) -> float:
    return min(max((value - scale[0]) / (scale[1] - scale[0]), 0.0), 1.0)


def _tenth(value: float) -> float:
    return round(value, 1)
