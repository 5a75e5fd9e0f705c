"""What no section of its own draws: of each such kind its estimates beside their nulls, and its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from reports import formats, tables
from reports.data import KindFacts, ReportData, in_order
from reports.figures import coefficients
from reports.figures.base import Figure, Panel
from reports.figures.coefficients import Coefficient
from reports.prose import measure_name, reading
from reports.sections.base import Part, Section
from reports.sections.estimates import estimates_tables
from reports.templating import render_template
from stats.findings import Estimate


def section_of(drawn: frozenset[str]) -> Callable[[ReportData], Section | None]:
    """The section of what is not drawn elsewhere.

    Args:
        drawn: Tables and measures that other sections draw.
    """

    def section(data: ReportData) -> Section | None:
        parts = [part for kind in data.kinds for part in _parts(data, kind, drawn)]
        if not parts:
            return None
        return Section(id="further", title="Further measures", body=render_template("parts", parts=parts))

    section.__module__ = __name__
    return section


def _parts(data: ReportData, kind: KindFacts, drawn: frozenset[str]) -> list[Part]:
    """The parts of a kind: what it is, a figure for each of its measures, and its tables."""
    measures = [name for name in kind.measures if name not in drawn]
    found = {name: data.table(name) for name in kind.tables if name not in drawn}
    frames = {name: frame for name, frame in found.items() if frame is not None}
    estimated = {name: [one for one in data.findings.estimates if one.measure == name] for name in measures}
    if not frames and not any(estimated.values()):
        return []
    figures = [_figure(name, estimates) for name, estimates in estimated.items() if estimates]
    if frames:
        figures.append(_tables(kind, frames))
    first, *others = figures
    return [Part(heading=kind.name, paragraphs=(kind.summary,), figure=first), *(Part(figure=one) for one in others)]


def _figure(measure: str, estimates: Sequence[Estimate]) -> Figure:
    """All estimates of a measure, one panel a task; what they are read against has rows without an interval."""
    panels = []
    for task in dict.fromkeys(one.task for one in estimates):
        rows = [row for one in estimates if one.task == task for row in _rows(one)]
        words = [f"{one.term} {formats.number(one.estimate)} {formats.interval(one.low, one.high)}" for one in rows]
        label = f"{measure_name(measure)} on {task}: {formats.listed(words) or 'no estimate'}."
        notes = [f"{one.pair}: {one.message}." for one in estimates if one.task == task and one.message]
        drawn = (coefficients.draw(rows, label=label),) if rows else ()
        panels.append(Panel(title=task, subtitle=measure_name(measure), drawings=drawn, note=" ".join(notes)))
    return Figure(
        id=f"figure-{measure.replace('_', '-')}",
        caption=(
            f"{measure_name(measure).capitalize()}, with intervals over prompts (or random templates) where there "
            f"are enough. {formats.sentence(reading(measure))}"
        ),
        panels=tuple(panels),
        columns=1,
        legend=(),
        tables=estimates_tables(f"Estimates of {measure_name(measure)}", estimates, measure, null="null"),
    )


def _rows(one: Estimate) -> list[Coefficient]:
    name = f"{one.pair}, {one.side}"
    rows = []
    if one.estimate is not None:
        rows.append(Coefficient(term=name, estimate=one.estimate, low=one.low, high=one.high))
    null = one.reference.get("null")
    if null is not None:
        rows.append(Coefficient(term=f"{name}: null", estimate=null, low=None, high=None))
    return rows


def _tables(kind: KindFacts, frames: dict[str, pl.DataFrame]) -> Figure:
    pairs = {pair for frame in frames.values() if "pair" in frame.columns for pair in in_order(frame, "pair")}
    return Figure(
        id=f"figure-tables-{kind.name.replace('_', '-')}",
        caption=f"The tables of {kind.name}, {formats.plural(len(pairs), 'pair')}; all rows are among the downloads.",
        panels=(),
        columns=1,
        legend=(),
        tables=tuple(tables.from_frame(name, frame, _fields(frame)) for name, frame in frames.items()),
    )


def _fields(frame: pl.DataFrame) -> dict[str, tables.Field]:
    """Every column of a frame, written by its type."""
    return {
        name: tables.real(name) if kind.is_float() else tables.whole(name) if kind.is_integer() else tables.text(name)
        for name, kind in frame.schema.items()
    }
