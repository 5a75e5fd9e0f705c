"""Section 9, second half: where the numbers come from, the spec, and the tables to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import tables
from reports.data import ReportData
from reports.sections.base import Section
from reports.templating import render_template

Tree = str | list[tuple[str, "Tree"]]
"""A value as text, or named values."""


def section(data: ReportData) -> Section:
    """Provenance as a nested list, the spec verbatim, and each table as a link."""
    downloads = [tables.download(name, frame) for name, frame in sorted(data.tables.items()) if not frame.is_empty()]
    body = render_template(
        "provenance",
        tree=tree(data.provenance),
        spec=data.spec_text,
        spec_href=tables.data_address(data.spec_text.encode("utf-8", "replace"), "text/plain;charset=utf-8"),
        findings_href=tables.data_address(
            data.findings.to_json().encode("utf-8", "replace"), "application/json;charset=utf-8"
        ),
        downloads=downloads,
    )
    return Section(id="provenance", title="Provenance and data", body=body)


def tree(value: object) -> Tree:
    """JSON-like content as nested names and texts, in the order given."""
    if isinstance(value, Mapping):
        return [(str(key), tree(item)) for key, item in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if all(not isinstance(item, Mapping | list | tuple) for item in value):
            return ", ".join(_leaf(item) for item in value)
        return [(str(index), tree(item)) for index, item in enumerate(value)]
    return _leaf(value)


def _leaf(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
