"""Every figure of a report as files: SVG, and PDF that holds its fonts; each of its panels alone as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

import vl_convert

from reports import formats
from reports.data import ReportData
from reports.export.names import Names
from reports.export.pictures import alternatives, compose, definitions_in, fitting
from reports.figures.base import Figure, Panel
from reports.figures.forest import forest, scales
from reports.sections.base import Section
from reports.sections.verdicts import ends, question
from reports.sentences import asked_of
from stats.findings import Finding

POINTS = 0.75
"""Points of a pixel: a picture has the size in print that it has on the page, unless it has to be smaller to fit."""
FEW = 6
"""Panels up to which those of a figure lie beside it; those of a larger one lie in a folder of its name."""
MOST = 24
"""Panels of a figure, and pairs, that are drawn alone; a run of many pairs would be thousands of files otherwise."""
LEGIBLE = 6.0
"""Points below which text is too small for print."""

_TYPE = re.compile(r'font-size="([\d.]+)(?:px)?"')
_SIZE = re.compile(r' width="([\d.]+)" height="([\d.]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A picture in its two formats.

    Attributes:
        name: Its name without ending, with its folder within that of all figures.
        alternative: What it says in words.
        width: Width in print, in points, and `height`; no more than the text of a one-column article has.
        smallest: Size of its smallest type in print, in points.
    """

    name: str
    alternative: str
    svg: str
    pdf: bytes
    width: float
    height: float
    smallest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFigure:
    """A figure, whole and panel by panel.

    Attributes:
        section: The section that it stands in.
        figure: What is drawn.
        whole: All of it.
        panels: Its panels with their pictures; none where there is only one.
        rows: Pairs with all panels of each as one picture, where the figure has many panels.
        left_out: Panels that are drawn as parts of the others only.
        rows_left_out: Pairs that have no picture of their own, for their number.
    """

    section: Section
    figure: Figure
    whole: Drawn
    panels: tuple[tuple[Panel, Drawn], ...]
    rows: tuple[tuple[str, Drawn], ...] = ()
    left_out: int = 0
    rows_left_out: int = 0

    @property
    def has_folder(self) -> bool:
        """Whether its parts lie in a folder of their own."""
        return any("/" in drawn.name for drawn in self.parts)

    @property
    def parts(self) -> tuple[Drawn, ...]:
        """Every picture of a part of it: of pairs, then of single panels."""
        return (*(drawn for _, drawn in self.rows), *(drawn for _, drawn in self.panels))


def drawn_figures(data: ReportData, sections: Sequence[Section]) -> Iterator[DrawnFigure]:
    """Every figure in the order of the page, that of the verdicts too.

    Args:
        data: What the sections are of.
        sections: As of :func:`reports.page.sections_of`.
    """
    names = Names()
    for section in sections:
        definitions = definitions_in(section.body)
        figures = [(figure, [(one.title, one.subtitle) for one in figure.panels]) for figure in section.figures]
        if section.id == "verdicts" and data.findings.hypotheses:
            figures.insert(0, (verdict_figure(data), [(one.id, "") for one in data.findings.hypotheses]))
        for figure, called in figures:
            if any(panel.drawings for panel in figure.panels):
                yield _drawn_figure(section, figure, called, names, definitions)


def verdict_figure(data: ReportData) -> Figure:
    """The forest plot: a panel for each claim, drawn as in the table of verdicts."""
    hypotheses = data.findings.hypotheses
    ranges = scales(hypotheses)
    panels = [
        Panel(
            title=one.claim or one.estimand,
            subtitle=f"{asked_of(one)}, {question(one)}",
            drawings=(forest(one, scale=ranges[one.measure], ends=ends(one)),),
            note=f"{formats.number(one.estimate)} {formats.interval(*one.shown[:2])}, {_evidence(one)}: {one.verdict}",
        )
        for one in hypotheses
    ]
    return Figure(
        id="figure-verdicts",
        caption="Each claim with its estimate (square; diamond for a test of equivalence) and interval. The vertical "
        "line is zero, the arrow points to the side that the claim names, the shaded band is the margin within which a "
        "difference counts as none; short ticks are single tasks or regimes, a dashed line is another value that is "
        "tested against. Claims about the same measure share a scale.",
        panels=tuple(panels),
        columns=2,
        legend=(),
        tables=(),
    )


def _evidence(found: Finding) -> str:
    """The p that the verdict rests on: where a claim is refuted, that of its opposite."""
    if found.verdict == "refuted" and found.p_opposite_corrected is not None:
        return f"the opposite has corrected {formats.p_statement(found.p_opposite_corrected)}"
    return f"corrected {formats.p_statement(found.p_corrected)}"


def _drawn_figure(
    section: Section,
    figure: Figure,
    called: Sequence[tuple[str, str]],
    names: Names,
    definitions: Mapping[str, Element],
) -> DrawnFigure:
    shown = [(panel, words) for panel, words in zip(figure.panels, called, strict=True) if panel.drawings]
    name = names.name(figure.id.removeprefix("figure-"))

    def drawn(panels: Sequence[Panel], called: str, *about: str) -> Drawn:
        title = ", ".join(filter(None, (section.title, *about)))
        return picture(replace(figure, panels=tuple(panels)), called, title, definitions)

    whole = drawn([panel for panel, _ in shown], name)
    if len(shown) <= FEW:
        alone = [(panel, names.name(name, *words)) for panel, words in shown if len(shown) > 1]
        parts = tuple((panel, drawn([panel], one, panel.title, panel.subtitle)) for panel, one in alone)
        return DrawnFigure(section=section, figure=figure, whole=whole, panels=parts)
    within, pairs = Names(), _by_pair([panel for panel, _ in shown])
    rows = [(pair, drawn(pairs[pair], f"{name}/{within.name(pair)}", pair)) for pair in list(pairs)[:MOST]]
    several = shown if len(shown) <= MOST else [] if rows else shown[:MOST]
    return DrawnFigure(
        section=section,
        figure=figure,
        whole=whole,
        panels=tuple(
            (panel, drawn([panel], f"{name}/{within.name(*words)}", panel.title, panel.subtitle))
            for panel, words in several
        ),
        rows=tuple(rows),
        left_out=len(shown) - len(several),
        rows_left_out=len(pairs) - len(rows),
    )


def _by_pair(panels: Sequence[Panel]) -> dict[str, list[Panel]]:
    """The panels of each pair; nothing where none has several, or there is one."""
    found: dict[str, list[Panel]] = {}
    for panel in panels:
        found.setdefault(panel.pair, []).append(panel)
    return found if len(found) > 1 and "" not in found and max(map(len, found.values())) > 1 else {}


def picture(figure: Figure, name: str, title: str, definitions: Mapping[str, Element]) -> Drawn:
    """A figure as one picture; `definitions` are of :func:`.definitions_in`."""
    words = alternatives(figure.panels)
    svg = compose(
        figure.panels,
        legend=figure.legend,
        abreast=figure.abreast,
        title=title,
        description=words,
        definitions=definitions,
    )
    size = _SIZE.search(svg)
    assert size is not None
    width, height = float(size[1]), float(size[2])
    scale = POINTS * fitting(width, height)
    width, height = scale * width, scale * height
    return Drawn(
        name=name,
        alternative=words,
        svg=svg,
        pdf=vl_convert.svg_to_pdf(_SIZE.sub(f' width="{width:.2f}" height="{height:.2f}"', svg, count=1)),
        width=width,
        height=height,
        smallest=scale * min(map(float, _TYPE.findall(svg)), default=0.0),
    )
