"""Two compared runs as text, Markdown and JSON; the page is :func:`reports.compare.render_comparison`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mechshift_core.markdown import escape, printable, table
from reports.compare import CHANGES, COMPARED, NOTE, ComparedRuns, change_cells, compared_cells, summary


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
                beyond = {True: ", beyond the intervals", False: ", within the intervals", None: ""}[found.beyond]
                shown.append(f"    difference {difference}{beyond}")
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
        rows = [{**asdict(found), "beyond": found.beyond} for found in getattr(runs, part)]
        content[part] = rows
    return content


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table(headings, [[escape(cell) for cell in cells] for cells in rows])
