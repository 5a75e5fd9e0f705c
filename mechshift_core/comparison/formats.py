"""Compared runs, two or many, as text, Markdown and JSON; the pages are made by :mod:`reports.compare` and
:mod:`reports.compare_many`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mechshift_core.markdown import escape, printable, table
from mechshift_core.wording import clip
from reports import formats as numbers
from reports.compare import (
    CHANGES,
    COMPARED,
    NOTE,
    Change,
    Compared,
    ComparedRuns,
    change_cells,
    compared_cells,
    summary,
)
from reports.compare_many import NOTE as MANY_NOTE
from reports.compare_many import ManyRuns, entry_cells, finding_cells, headings
from reports.compare_many import summary as summary_of_many

MOST, PLACES, WIDTH = 20, 8, 100
"""Entries of a part, places of the provenance and characters of a value that are shown where not everything is."""


def text(runs: ComparedRuns, *, everything: bool = True) -> str:
    """Plain text: each entry with both runs under one another.

    Args:
        runs: What differs.
        everything: Whether all of it is shown; otherwise what matters, and how much is left out.
    """
    shown = [f"first run:  {printable(runs.first)}", f"second run: {printable(runs.second)}", summary(runs)]
    shown += _notes(runs.notes)
    if not everything:
        return "\n".join([*shown, *_what_matters(runs)])
    for title, rows in (("spec", runs.spec), ("provenance", runs.provenance)):
        shown += _titled(title, [line for row in rows for line in _change_lines(row)])
    for title, compared in (("findings", runs.findings), ("estimates", runs.estimates)):
        shown += _titled(title, [line for found in compared for line in _compared_lines(found)])
    return "\n".join(shown)


def _what_matters(runs: ComparedRuns) -> list[str]:
    """Findings that changed, then the spec, then estimates in a line each; of the provenance where it differs."""
    findings = [found for found in runs.findings if found.matters]
    estimates = [found for found in runs.estimates if found.matters]
    shown = _titled("findings", [line for found in findings for line in _compared_lines(found)])
    shown += _titled("spec", [line for change in runs.spec[:MOST] for line in _change_lines(change, width=WIDTH)])
    shown += _titled("estimates", [_estimate_line(found) for found in estimates[:MOST]])
    if runs.provenance:
        places = dict.fromkeys(".".join(change.path.split(".")[:2]) for change in runs.provenance)
        more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
        shown += ["", f"provenance: {', '.join(map(printable, [*places][:PLACES]))}{more}"]
    within = (len(runs.findings) - len(findings), "finding"), (len(runs.estimates) - len(estimates), "estimate")
    beyond = (
        (len(runs.spec) - MOST, "more entry of the spec", "more entries of the spec"),
        (len(estimates) - MOST, "more estimate"),
        (len(runs.provenance), "value of the provenance", "values of the provenance"),
    )
    told = [f"{_counted(within)} within the intervals"] if _counted(within) else []
    told += [_counted(beyond)] if _counted(beyond) else []
    same = _counted(((runs.same_findings, "finding"), (runs.same_estimates, "estimate")))
    footer = [f"the same in both: {same}"] if same else []
    footer += [f"not shown (--all does): {'; '.join(told)}"] if told else []
    return [*shown, "", *footer] if footer and (shown or told) else shown


def _notes(notes: Sequence[str]) -> list[str]:
    return [f"note: {printable(one)}" for one in notes]


def _counted(counts: Sequence[tuple[Any, ...]]) -> str:
    parts = [numbers.plural(amount, *words) for amount, *words in counts if amount > 0]
    return numbers.listed(parts) if parts else ""


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *lines] if lines else []


def _change_lines(change: Change, *, width: int | None = None) -> list[str]:
    path, *sides = map(printable, change_cells(change))
    first, second = (side if width is None else clip(side, width) for side in sides)
    return [f"  {path}", f"    - {first}", f"    + {second}"]


def _compared_lines(found: Compared) -> list[str]:
    name, first, second, difference, _ = compared_cells(found)
    lines = [f"  {printable(name)}", f"    - {printable(first)}", f"    + {printable(second)}"]
    if found.difference is not None:
        lines.append(f"    difference {difference}{found.position and f', {found.position}'}")
    elif found.opposite:
        lines.append(f"    {found.position}")
    return [*lines, *(f"    {printable(line)}" for line in found.redefined)]


def _estimate_line(found: Compared) -> str:
    name, first, second, *_ = map(printable, compared_cells(found))
    why = "; ".join(map(printable, found.redefined)) or found.position
    return f"  {name}: {first} -> {second}{why and f' ({why})'}"


def markdown(runs: ComparedRuns) -> str:
    """Markdown with a table for each part that differs."""
    parts = [f"### {escape(runs.first)} and {escape(runs.second)}", summary(runs), *map(escape, runs.notes)]
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


def many_as_text(runs: ManyRuns, *, everything: bool = True) -> str:
    """Several runs in plain text: each finding and entry with all runs under one another.

    Args:
        runs: What they found, and how their specs differ.
        everything: Whether all findings are shown; otherwise those on which the runs do not agree.
    """
    width = max(len(printable(name)) for name in runs.runs)
    shown = [summary_of_many(runs), *_notes(runs.notes)]
    findings = [one for one in runs.findings if everything or not one.agreed]
    for title, rows in (
        ("findings", [(one.name, one.claim, finding_cells(one)[1:-1], one.agreement) for one in findings]),
        ("spec", [(one.path, "", entry_cells(one)[1:], "") for one in runs.spec]),
    ):
        shown += ["", title] if rows else []
        for name, claim, cells, agreement in rows:
            shown.append(f"  {printable(name)}{claim and f': {printable(claim)}'}")
            for run, cell in zip(runs.runs, cells, strict=True):
                shown.append(f"    {printable(run):<{width}}  {printable(cell)}")
            shown += [f"    {agreement}"] if agreement else []
    if left := len(runs.findings) - len(findings):
        shown += ["", f"not shown (--all does): {numbers.plural(left, 'finding')} with the same verdict in all runs"]
    return "\n".join(shown)


def many_as_markdown(runs: ManyRuns) -> str:
    """Several runs as a table of findings and one of what differs in their specs."""
    parts = [f"### {', '.join(map(escape, runs.runs))}", summary_of_many(runs), *map(escape, runs.notes)]
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
