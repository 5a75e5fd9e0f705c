"""Any number of runs side by side: findings in rows, runs in columns, and the entries of the specs that differ.

Nothing is tested between them: a table of several runs invites no test of each against each. Two runs have a comparison
of their own, with intervals of differences (:mod:`reports.compare`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from reports import formats, tables, templating
from reports.compare import Numbers, numbers, written
from reports.page import policy
from reports.sections.base import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundIn:
    """A finding in several runs; None where a run does not have it.

    Attributes:
        name: Its id, with the choice that it was decided under where that is not the first.
        claim: In words, of the first run that has it.
        redefined: What of its definition is not the same in all runs, by name; such numbers are not of one quantity.
    """

    name: str
    claim: str
    runs: tuple[Numbers | None, ...]
    redefined: tuple[str, ...] = ()

    @property
    def agreed(self) -> bool:
        """Whether all runs have it, defined alike, with the same verdict."""
        return not self.redefined and None not in self.runs and len({one.verdict for one in self.runs if one}) == 1

    @property
    def agreement(self) -> str:
        """How the verdicts go together, in words."""
        verdicts = Counter(one.verdict for one in self.runs if one is not None)
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
        if len(verdicts) == 1:
            ((verdict, count),) = verdicts.items()
            said = f"all {verdict}" if count == len(self.runs) else f"{verdict} where it is"
        if {"supported", "refuted"} <= {*verdicts}:
            said = f"opposite verdicts: {said}"
        return f"{said}; not defined alike: {', '.join(self.redefined)}" if self.redefined else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of the specs that is not the same in all runs; `there` says which have it.

    Attributes:
        path: Dotted path.
        values: The value in each run; None where it has none.
    """

    path: str
    values: tuple[Any, ...]
    there: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyRuns:
    """Several runs: their folders, what they found, what of their specs differs, and what to keep in mind of them."""

    runs: tuple[str, ...]
    version: str
    findings: tuple[FoundIn, ...]
    spec: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


NOTE = (
    "Each run's numbers as they are in its findings; no test compares them, and p-values are corrected within each run."
)


def headings(runs: ManyRuns) -> tuple[str, ...]:
    """Of the table of findings."""
    return ("finding", *runs.runs, "verdicts")


def finding_cells(found: FoundIn) -> tuple[str, ...]:
    """A finding under the headings."""
    return (found.name, *map(numbers, found.runs), found.agreement)


def entry_cells(entry: Entry) -> tuple[str, ...]:
    """An entry of the specs under `entry` and the runs."""
    shown = (written(v) if has else formats.MISSING for v, has in zip(entry.values, entry.there, strict=True))
    return (entry.path, *shown)


def summary(runs: ManyRuns) -> str:
    """One sentence for the top."""
    opposite = sum("opposite" in one.agreement for one in runs.findings)
    same = sum(one.agreement.startswith("all ") for one in runs.findings)
    parts = [
        formats.plural(len(runs.findings), "finding"),
        f"{same} with the same verdict in all {len(runs.runs)} runs",
        f"{opposite} with opposite verdicts",
        f"{formats.plural(len(runs.spec), 'entry of the specs', 'entries of the specs')} not the same",
    ]
    return f"{formats.listed(parts)}."


def render_many(runs: ManyRuns) -> str:
    """The runs as one self-contained HTML page, without scripts and without any request."""
    style = templating.source("style.css")
    found = [tables.text(heading) for heading in headings(runs)]
    entries = [tables.text(heading) for heading in ("entry", *runs.runs)]
    page = templating.render_template(
        "comparison",
        runs={"first": ", ".join(runs.runs[:-1]), "second": runs.runs[-1], "version": runs.version},
        notes=runs.notes,
        summary=summary(runs),
        style=Markup(style),
        policy=policy(style),
        sections=[
            _section("findings", "Findings", found, [finding_cells(one) for one in runs.findings], NOTE),
            _section("spec", "Specs: what differs", entries, [entry_cells(one) for one in runs.spec], ""),
        ],
    )
    return str(page)


def _section(name: str, title: str, fields: list[Any], rows: list[tuple[str, ...]], note: str) -> Section:
    table = tables.build(title, fields, rows) if rows else None
    body = templating.render_template("comparison_part", table=table, note=note if rows else "", same=None)
    return Section(id=name, title=title, body=body)
