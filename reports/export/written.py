"""Every small table of a report as files: CSV with whole numbers, LaTeX and Markdown as the page rounds them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports import formats, latex_tables, markdown, tables
from reports.data import ReportData
from reports.export.names import Names
from reports.sections.base import Section
from reports.tables import Table
from reports.templating import visible
from stats.findings import Finding

TIED = "\N{NO-BREAK SPACE}"
"""Between an amount and its unit where lines are broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A table to write.

    Attributes:
        name: Name without ending.
        section: Title of the section that it stands in.
        figure: Identifier of the figure that it belongs to; empty where there is none.
        table: What LaTeX and Markdown show.
        numbers: What CSV holds.
    """

    name: str
    section: str
    figure: str
    table: Table
    numbers: Table

    def files(self) -> Iterator[tuple[str, str]]:
        """Ending and content of each file."""
        yield "csv", as_csv(self.numbers)
        yield "tex", latex_tables.tabled(self.table, label=f"tab:{self.name}")
        yield "md", markdown.tabled(self.table)


def written_tables(data: ReportData, sections: Sequence[Section]) -> Iterator[Written]:
    """Every table with rows: the verdicts, then those of the page in its order."""
    names = Names()
    if data.findings.hypotheses:
        shown, numbers = verdict_tables(data.findings.hypotheses)
        yield Written(name=names.name("verdicts"), section="Verdicts", figure="", table=shown, numbers=numbers)
    for section in sections:
        found = [(table, "") for table in section.tables]
        found += [(table, figure.id) for figure in section.figures for table in figure.tables if table.rows]
        for table, figure in found:
            alone = sum(other == figure for _, other in found) == 1
            begins = figure.removeprefix("figure-") or section.id
            name = names.name(begins) if figure and alone else names.name(begins, table.caption)
            yield Written(name=name, section=section.title, figure=figure, table=table, numbers=table)


def verdict_tables(hypotheses: Sequence[Finding]) -> tuple[Table, Table]:
    """The verdicts for people, with the p-values that they rest on, and the same with every number in a column."""
    claim, n, estimate = tables.text("claim"), tables.text("n"), tables.real("estimate")
    p = [tables.p_values(name) for name in ("p", "corrected p", "corrected p of the opposite")]
    verdict = tables.text("verdict")
    levels = sorted({formats.confidence(found.shown[2]) for found in hypotheses}, reverse=True)
    caption = f"Verdicts. Intervals are at {formats.listed(levels, word='or')}"
    caption += ", the lower level for tests of equivalence." if len(levels) > 1 else "."
    refuted = any(found.p_opposite_corrected is not None for found in hypotheses)
    resting = [tables.p_values(name) for name in ("p", "p of the opposite")[: 1 + refuted]]
    shown = tables.build(
        f"{caption} p-values are corrected within their family.",
        [claim, n, estimate, tables.text("interval"), *resting, verdict],
        [
            (
                *_claimed(found, space=TIED),
                formats.interval(*found.shown[:2]),
                *_p_values(found)[1 : 2 + refuted],
                found.verdict,
            )
            for found in hypotheses
        ],
    )
    names = [tables.text("hypothesis"), tables.text("measure"), claim, n, estimate]
    whole = tables.build(
        caption,
        [*names, *(tables.real(name) for name in ("low", "high", "level")), *p, verdict],
        [
            (
                found.id,
                found.measure,
                *_claimed(found),
                *found.shown[:2],
                round(found.shown[2], 12),
                *_p_values(found),
                found.verdict,
            )
            for found in hypotheses
        ],
    )
    return shown, whole


def _claimed(found: Finding, *, space: str = " ") -> tuple[str, str, float | None]:
    amounts = ", ".join(formats.plural(amount, unit).replace(" ", space) for unit, amount in found.n.items())
    return found.claim or found.estimand, amounts, found.estimate


def _p_values(found: Finding) -> tuple[float | None, ...]:
    return found.p, found.p_corrected, found.p_opposite_corrected


def as_csv(table: Table) -> str:
    """Comma-separated values with headings; numbers whole, nothing where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([visible(field.label) for field in table.fields])
    writer.writerows([_plain(value) for value in row] for row in table.values)
    return out.getvalue()


def _plain(value: object) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return visible(value) if isinstance(value, str) else value
