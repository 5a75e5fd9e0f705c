"""Section 8 of the plan: what failed, what was dropped, what cannot be used."""

from __future__ import annotations

from reports import formats, tables
from reports.data import ReportData
from reports.prose import measure_name
from reports.sections.base import Section
from reports.templating import render_template


def section(data: ReportData) -> Section:
    """Failed cells, dropped prompts, and every finding and estimate whose status is not ok."""
    body = render_template(
        "diagnostics",
        failures=list(data.failures),
        dropped=_dropped(data),
        reasons=_reasons(data),
        notes=_notes(data),
    )
    return Section(id="diagnostics", title="Diagnostics", body=body)


def _dropped(data: ReportData) -> tables.Table | None:
    rows = [
        (row.task, row.pair, row.found - row.aligned, row.aligned - row.read, row.read - row.kept, row.kept)
        for row in data.task_counts
        if row.kept < row.found
    ]
    if not rows:
        return None
    fields = [
        tables.text("task"),
        tables.text("pair"),
        tables.whole("not aligned"),
        tables.whole("not drawn"),
        tables.whole("not selected"),
        tables.whole("analysed"),
    ]
    return tables.build("Prompts that were dropped", fields, rows)


def _reasons(data: ReportData) -> tables.Table | None:
    """Why pairs of each task are not aligned; the same for all pairs of models."""
    found = {(row.task, reason): count for row in data.task_counts for reason, count in row.dropped.items()}
    if not found:
        return None
    fields = [tables.text("task"), tables.text("not aligned, since"), tables.whole("prompts")]
    return tables.build("Why prompts are not aligned", fields, [(*key, count) for key, count in found.items()])


def _notes(data: ReportData) -> tables.Table | None:
    rows: list[tuple[object, ...]] = [
        ("hypothesis", found.id, measure_name(found.measure), found.status, found.message)
        for found in data.findings.hypotheses
        if found.status != "ok" or found.message
    ]
    alike: dict[tuple[str, str, str], list[str]] = {}
    for found in data.findings.estimates:
        if found.status != "ok" or found.message:
            where = f"{found.task}, {found.pair}, {found.side}"
            alike.setdefault((found.measure, found.status, found.message), []).append(where)
    rows += [
        ("estimate", _first_of(where), measure_name(measure), status, message)
        for (measure, status, message), where in alike.items()
    ]
    rows += _models(data)
    if not rows:
        return None
    fields = [tables.text(name) for name in ("what", "where", "measure", "status", "message")]
    return tables.build("Findings and estimates that come with a warning", fields, rows)


def _first_of(places: list[str]) -> str:
    """The first of places where a message is the same, and how many others there are."""
    others = len(places) - 1
    return f"{places[0]}, and {formats.plural(others, 'other')}" if others else places[0]


def _models(data: ReportData) -> list[tuple[object, ...]]:
    """Mixed models whose fit or units come with a warning."""
    fitted = data.table("mixed_models")
    if fitted is None:
        return []
    found = fitted.select("scale", "status", "message").unique(maintain_order=True).rows()
    return [
        ("mixed model", f"scale {scale}", measure_name("depth_slope"), status, message)
        for scale, status, message in found
        if status != "ok" or message
    ]
