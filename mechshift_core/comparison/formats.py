"""Compared runs, two or many, as text, Markdown and JSON; the pages are made by :mod:`reports.compare` and
:mod:`reports.compare_many`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mechshift_core.markdown import escape, printable, table
from reports.compare import CHANGES, COMPARED, NOTE, ComparedRuns, change_cells, compared_cells, summary
from reports.compare_many import NOTE as MANY_NOTE
from reports.compare_many import ManyRuns, entry_cells, finding_cells, headings
from reports.compare_many import summary as summary_of_many


def text(runs: ComparedRuns) -> str:
    """Plain text: each entry with both runs under one another."""
    shown = [f"first run:  {printable(runs.first)}", f"second run: {printable(runs.second)}", summary(runs)]
    for title, rows in (("spec", runs.spec), ("provenance", runs.provenance)):
        if rows:
            shown += ["", title]
        for path, first, second in map(change_cells, rows):
            shown += [f"  {printable(path)}", f"    - {printable(first)}", f"    + {printable(second)}"]
    for title, compared in (("findings", runs.findings), ("estimates", runs.estimates)):
        if compared:
            shown += ["", title]
        for found in compared:
            name, first, second, difference, _ = compared_cells(found)
            shown += [f"  {printable(name)}", f"    - {printable(first)}", f"    + {printable(second)}"]
            if found.difference is not None:
                shown.append(f"    difference {difference}{found.position and f', {found.position}'}")
            elif found.opposite:
                shown.append(f"    {found.position}")
            shown += [f"    {printable(line)}" for line in found.redefined]
    return "\n".join(shown)


def markdown(runs: ComparedRuns) -> str:
    """Markdown with a table for each part that differs."""
    parts = [f"### {escape(runs.first)} and {escape(runs.second)}", summary(runs)]
    for title, compared in (("Findings", runs.findings), ("Estimates", runs.estimates)):
        if compared:
            parts += [f"#### {title}", _table(COMPARED, [compared_cells(found) for found in compared])]
    if runs.findings or runs.estimates:
        parts.append(NOTE)
    for title, changes in (("Spec", runs.spec), ("Provenance", runs.provenance)):
        if changes:
            parts += [f"#### {title}", _table(CHANGES, [change_cells(change) for change in changes])]
    return "\n\n".join(parts)


def as_json(runs: ComparedRuns) -> dict[str, Any]:
    """Plain data."""
    content = asdict(runs)
    for part in ("findings", "estimates"):
        rows = [{**asdict(found), "beyond": found.beyond, "opposite": found.opposite} for found in getattr(runs, part)]
        content[part] = rows
    return content


def many_as_text(runs: ManyRuns) -> str:
    """Several runs in plain text: each finding and entry with all runs under one another."""
    width = max(len(printable(name)) for name in runs.runs)
    shown = [summary_of_many(runs)]
    for title, rows in (
        ("findings", [(one.name, one.claim, finding_cells(one)[1:-1], one.agreement) for one in runs.findings]),
        ("spec", [(one.path, "", entry_cells(one)[1:], "") for one in runs.spec]),
    ):
        shown += ["", title] if rows else []
        for name, claim, cells, agreement in rows:
            shown.append(f"  {printable(name)}{claim and f': {printable(claim)}'}")
            for run, cell in zip(runs.runs, cells, strict=True):
                shown.append(f"    {printable(run):<{width}}  {printable(cell)}")
            shown += [f"    {agreement}"] if agreement else []
    return "\n".join(shown)


def many_as_markdown(runs: ManyRuns) -> str:
    """Several runs as a table of findings and one of what differs in their specs."""
    parts = [f"### {', '.join(map(escape, runs.runs))}", summary_of_many(runs)]
    if runs.findings:
        parts += [
            "#### Findings",
            _table([*map(escape, headings(runs))], [finding_cells(one) for one in runs.findings]),
        ]
        parts.append(MANY_NOTE)
    if runs.spec:
        titles = ["entry", *map(escape, runs.runs)]
        parts += ["#### Specs: what differs", _table(titles, [entry_cells(one) for one in runs.spec])]
    return "\n\n".join(parts)


def many_as_json(runs: ManyRuns) -> dict[str, Any]:
    """Plain data."""
    content = asdict(runs)
    content["findings"] = [{**asdict(one), "agreement": one.agreement} for one in runs.findings]
    return content


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(titles, [[escape(cell) for cell in cells] for cells in rows])
