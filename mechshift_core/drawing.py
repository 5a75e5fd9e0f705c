"""The report's drawings of a run by name, for notebooks and papers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.export.runs import report_data_of
from mechshift_core.files import replace_file, unwritable
from mechshift_core.options import listing, suggestion

if TYPE_CHECKING:
    import polars as pl
    from markupsafe import Markup

    from mechshift_core.finished_run import Run
    from reports import ReportData
    from reports.export.drawn import Drawn
    from reports.figures.base import Figure

VERDICTS = ("verdicts", "forest")
"""What the verdicts are called as a figure, which the page has as a table."""
SUFFIXES = (".svg", ".pdf", ".png")
SCALE = 2.0
"""Pixels of a PNG for one of the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure of the report. A notebook shows it where it is the last line of a cell.

    Attributes:
        name: What it is called, such as `overlap`.
        caption: What to see in it.
        figure: Its panels, legend and numbers.
        shared: Markup that its drawings refer to.
    """

    name: str
    caption: str
    figure: Figure
    shared: Markup

    def __repr__(self) -> str:
        count = len(self.figure.panels)
        return f"Drawing({self.name!r}, {count} panel{'s' * (count != 1)}; .svg, .save('{self.name}.pdf'))"

    def _repr_html_(self) -> str:
        from reports.notebook import figure_piece

        return figure_piece(self.figure, shared=self.shared)

    @property
    def svg(self) -> str:
        """One SVG document with legend and panels, in light colours; it needs no stylesheet and no font of its own."""
        return self._drawn().svg

    @property
    def tables(self) -> Mapping[str, pl.DataFrame]:
        """Caption -> the numbers behind the drawing, with the page's headings as columns; a second `low` is `low 2`."""
        import polars as pl

        found = {}
        for one in self.figure.tables:
            names = _distinct([field.label for field in one.fields])
            rows = [dict(zip(names, row, strict=True)) for row in one.values]
            found[one.caption] = pl.DataFrame(rows, infer_schema_length=None, strict=False)
        return found

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a file, whole or not at all.

        Args:
            path: What it is called; its ending says the format: `.svg`, `.pdf` or `.png`.

        Returns:
            The path.

        Raises:
            UsageError: for another ending, or a file that can't be written.
        """
        import vl_convert

        target = Path(path)
        if target.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{target}: expected a name that ends in {listing(SUFFIXES)}, got {target.suffix!r}")
        content = {
            ".svg": lambda: self.svg.encode("utf-8", "replace"),
            ".pdf": lambda: self._drawn().pdf,
            ".png": lambda: vl_convert.svg_to_png(self.svg, scale=SCALE),
        }[target.suffix.lower()]()
        try:
            with replace_file(target) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise UsageError(unwritable(target, error)) from error
        return target

    def _drawn(self) -> Drawn:
        from reports.export.drawn import picture
        from reports.export.pictures import definitions_in

        shown = replace(self.figure, panels=tuple(panel for panel in self.figure.panels if panel.drawings))
        title = self.name.replace("-", " ").capitalize()
        return picture(shown, self.name, title, definitions_in(self.shared))


def drawing_of(
    data: ReportData, name: str, *, pair: str | None = None, task: str | None = None, measure: str | None = None
) -> Drawing:
    """See :func:`mechshift_core.plot.figure`."""
    data = chosen(data, pair=pair, task=task, measure=measure)
    given = [one for one in (pair, task, measure) if one is not None]
    only = f" of {listing(given, conjunction='and')}" if given else ""
    if name in VERDICTS:
        return _verdicts(data, only)
    from reports.page import drawn_as, sections_of

    broken: list[str] = []
    sections = sections_of(data, broken=broken, only=name)
    drawn = [(figure, section) for section in sections for figure in section.figures if _has_drawings(figure)]
    called = [one for one in drawn if name == _called(one[0])]
    within = [one for one in drawn if name in (one[1].id, *one[1].draws)]
    for figure, section in [*called, *within][:1]:
        from reports.notebook import shared_in

        return Drawing(name=_called(figure), caption=figure.caption, figure=figure, shared=shared_in(section.body))
    if broken and drawn_as(name):
        raise ExecutionError(f"{name!r}{only} can't be drawn: {'; '.join(broken)}")
    known = names_of(data)
    raise UsageError(
        f"there is no drawing {name!r}{only} in the run {data.name!r}{suggestion(name, known)}; there are: "
        f"{', '.join(known)}"
    )


def names_of(data: ReportData) -> tuple[str, ...]:
    """What can be drawn of a run, in the order of the report."""
    from reports.page import sections_of

    found = [_called(figure) for one in sections_of(data, broken=[]) for figure in one.figures if _has_drawings(figure)]
    return tuple(dict.fromkeys([*([VERDICTS[0]] if data.findings.hypotheses else []), *found]))


def data_of(run: object, *, allow_code: bool = False) -> ReportData:
    """What the report of a finished run is made from.

    Raises:
        UsageError: if it is neither a run nor a run directory.
        ExecutionError: if the run has not come to an end, or its files are damaged.
    """
    from mechshift_core.finished_run import Run

    if isinstance(run, Run):
        return report_data_of(run.path, allow_code=allow_code or run.allowed_code)
    if not isinstance(run, str | os.PathLike):
        raise UsageError(f"run: expected a run or its directory, got {type(run).__name__}")
    return report_data_of(Path(run), allow_code=allow_code)


def conclusion_html(run: Run) -> str | None:
    """The answer and the verdicts of a run as markup; None where they can't be had."""
    from reports.notebook import conclusion_piece
    from reports.prose import vocabulary

    try:
        data = data_of(run)
        with vocabulary(data.words, data.roles):
            return conclusion_piece(data)
    except Exception:  # as with a section of the report: what can't be drawn leaves the rest as it is
        return None


def chosen(data: ReportData, *, pair: str | None, task: str | None, measure: str | None) -> ReportData:
    """The data of one pair, one task or one measure only; tables that do not tell them apart stay whole.

    Raises:
        UsageError: for a name that the run does not have, with those that it has.
    """
    import polars as pl

    for column, wanted in (("pair", pair), ("task", task), ("measure", measure)):
        if wanted is None:
            continue
        known = _known(data, column)
        if wanted not in known:
            raise UsageError(
                f"{column}: the run {data.name!r} has none called {wanted!r}{suggestion(wanted, known)}; there are: "
                f"{', '.join(known) or 'none'}"
            )
        tables: dict[str, pl.DataFrame] = {}
        for name, table in data.tables.items():
            has = column in table.columns and (column != "measure" or wanted in table[column])
            tables[name] = table.filter(pl.col(column) == wanted) if has else table
        findings = data.findings
        estimates = tuple(one for one in findings.estimates if column == "measure" or getattr(one, column) == wanted)
        hypotheses = tuple(one for one in findings.hypotheses if column != "measure" or one.measure == wanted)
        data = replace(data, tables=tables, findings=replace(findings, estimates=estimates, hypotheses=hypotheses))
    return data


def _known(data: ReportData, column: str) -> list[str]:
    """The pairs, tasks or measures that a run has."""
    found: list[Any] = [one for table in data.tables.values() if column in table.columns for one in table[column]]
    found += [getattr(one, column) for one in data.findings.estimates]
    found += [one.measure for one in data.findings.hypotheses if column == "measure"]
    return sorted({str(one) for one in found if one is not None})


def _verdicts(data: ReportData, only: str) -> Drawing:
    from markupsafe import Markup

    from reports.export.drawn import verdict_figure
    from reports.prose import vocabulary

    if not data.findings.hypotheses:
        raise UsageError(f"the run {data.name!r} declares no hypothesis{only}, so there are no verdicts to draw")
    with vocabulary(data.words, data.roles):
        figure = verdict_figure(data)
    return Drawing(name=VERDICTS[0], caption=figure.caption, figure=figure, shared=Markup(""))


def _has_drawings(figure: Figure) -> bool:
    return any(panel.drawings for panel in figure.panels)


def _distinct(labels: Sequence[str]) -> list[str]:
    before = [labels[:place].count(label) for place, label in enumerate(labels)]
    return [f"{label} {times + 1}" if times else label for label, times in zip(labels, before, strict=True)]


def _called(figure: Figure) -> str:
    return figure.id.removeprefix("figure-")
