"""Two runs on one page: what differs in spec, provenance, findings and estimates.

`render_comparison` is a pure function of :class:`ComparedRuns`, under the same rules as the report.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from reports import formats, tables, templating
from reports.page import policy
from reports.sections.base import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A place at which two documents differ.

    Attributes:
        path: Dotted path.
        kind: `changed`, or `added` or `removed` where only one of them has it.
        first: The value in the first document; None where it is not there.
        second: The value in the second.
    """

    path: str
    kind: Literal["changed", "added", "removed"]
    first: Any
    second: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """An estimate with its interval; `verdict` is empty for what answers no hypothesis."""

    estimate: float | None
    low: float | None
    high: float | None
    verdict: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A finding or an estimate in two runs; None on the side that does not have it.

    Attributes:
        difference: Second minus first estimate; None where one has none, or they are not of the same quantity.
        low: Lower end of its interval, which takes the two to be independent (`high`: upper end); None where one has
            none, or they are of different confidence.
        redefined: How the second is defined otherwise.
    """

    name: str
    first: Numbers | None
    second: Numbers | None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    redefined: tuple[str, ...] = ()

    @property
    def beyond(self) -> bool | None:
        """Whether the difference is beyond the intervals: its own excludes zero; None where it has none."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0

    @property
    def opposite(self) -> bool:
        """Whether the claim is supported by one run and refuted by the other."""
        sides = {"" if side is None else side.verdict for side in (self.first, self.second)}
        return sides == {"supported", "refuted"}

    @property
    def matters(self) -> bool:
        """Whether more than chance may be behind it.

        That is another verdict, another definition, a side that does not have it, or a difference beyond the intervals;
        any difference where there are none.
        """
        if self.first is None or self.second is None or self.redefined:
            return True
        if self.first.verdict != self.second.verdict or self.first.status != self.second.status:
            return True
        return self.difference != 0 if self.beyond is None else self.beyond

    @property
    def position(self) -> str:
        """Where the difference lies, or what weighs more, opposite verdicts; empty where it has no interval."""
        if self.beyond is None:
            return "opposite verdicts" if self.opposite else ""
        if self.opposite and not self.beyond:
            return "opposite verdicts"
        return "beyond the intervals" if self.beyond else "within the intervals"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRuns:
    """All that differs between two runs.

    Attributes:
        first: The first run directory, `second` the other.
        version: Version of this program.
        same_findings: Number of findings that do not differ; `same_estimates` of estimates.
        notes: What to keep in mind of the runs, a line each.
    """

    first: str
    second: str
    version: str
    spec: tuple[Change, ...]
    provenance: tuple[Change, ...]
    findings: tuple[Compared, ...]
    estimates: tuple[Compared, ...]
    same_findings: int = 0
    same_estimates: int = 0
    notes: tuple[str, ...] = ()


CHANGES = ("what", "first run", "second run")
COMPARED = ("what", "first run", "second run", "difference", "beyond the intervals")
"""Headings of the tables, in every format."""
NOTE = (
    "The interval of a difference takes the runs to be independent. Runs on the same prompts vary together, so that "
    "for them it is too wide."
)


def change_cells(change: Change) -> tuple[str, str, str]:
    """A change under the headings `CHANGES`."""
    first = formats.MISSING if change.kind == "added" else written(change.first)
    second = formats.MISSING if change.kind == "removed" else written(change.second)
    return change.path, first, second


def compared_cells(found: Compared) -> tuple[str, str, str, str, str]:
    """A finding or estimate under the headings `COMPARED`."""
    interval = "" if found.low is None else f" {formats.interval(found.low, found.high)}"
    beyond = {True: "yes", False: "no", None: "; ".join(found.redefined) or formats.MISSING}[found.beyond]
    if found.opposite and not found.beyond:
        beyond = "opposite verdicts" if found.beyond is False else f"opposite verdicts; {beyond}".removesuffix("; –")
    sides = (numbers(found.first), numbers(found.second))
    return found.name, *sides, formats.number(found.difference) + interval, beyond


def numbers(side: Numbers | None) -> str:
    """Estimate, interval and verdict."""
    if side is None:
        return "not there"
    interval = "" if side.low is None else f" {formats.interval(side.low, side.high)}"
    parts = [formats.number(side.estimate) + interval, side.verdict, "" if side.status == "ok" else side.status]
    return ", ".join(part for part in parts if part)


def written(value: Any) -> str:
    """A value of a spec or provenance on one line; text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def summary(runs: ComparedRuns) -> str:
    """One sentence for the top of the page."""
    if not (runs.spec or runs.provenance or runs.findings or runs.estimates):
        return "Nothing differs."
    counts = (
        (len(runs.findings), "finding"),
        (len(runs.estimates), "estimate"),
        (len(runs.spec), "entry of the spec", "entries of the spec"),
        (len(runs.provenance), "entry of the provenance", "entries of the provenance"),
    )
    parts = [formats.plural(amount, *words) for amount, *words in counts if amount]
    differ = "differs" if sum(amount for amount, *_ in counts) == 1 else "differ"
    return f"{formats.listed(parts)} {differ}.".capitalize()


def render_comparison(runs: ComparedRuns) -> str:
    """The comparison as one self-contained HTML page, without scripts and without any request."""
    style = templating.source("style.css")
    page = templating.render_template(
        "comparison",
        runs=runs,
        notes=runs.notes,
        summary=summary(runs),
        style=Markup(style),
        policy=policy(style),
        sections=[
            _compared("findings", "Findings", runs.findings, runs.same_findings),
            _compared("estimates", "Estimates", runs.estimates, runs.same_estimates),
            _changes("spec", "Spec", runs.spec),
            _changes("provenance", "Provenance", runs.provenance),
        ],
    )
    return str(page)


def _compared(name: str, title: str, rows: tuple[Compared, ...], same: int) -> Section:
    fields = [tables.text(heading) for heading in COMPARED]
    table = tables.build(f"{title} that differ", fields, [compared_cells(row) for row in rows]) if rows else None
    return _section(name, title, table, note=NOTE if rows else "", same=same)


def _changes(name: str, title: str, rows: tuple[Change, ...]) -> Section:
    fields = [tables.text(heading) for heading in CHANGES]
    table = tables.build(f"{title}: entries that differ", fields, [change_cells(row) for row in rows]) if rows else None
    return _section(name, title, table, note="", same=None)


def _section(name: str, title: str, table: tables.Table | None, *, note: str, same: int | None) -> Section:
    body = templating.render_template("comparison_part", table=table, note=note, same=same)
    return Section(id=name, title=title, body=body)
