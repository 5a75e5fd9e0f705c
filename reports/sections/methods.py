"""Section 9, first half: how it was done, to paste in a paper."""

from __future__ import annotations

from reports.data import ReportData
from reports.methods import methods_paragraph, references
from reports.sections.base import Section
from reports.templating import render_template


def section(data: ReportData) -> Section:
    """The methods paragraph and its references."""
    hypotheses = data.findings.hypotheses
    used = list(dict.fromkeys(found.method for found in hypotheses if found.method and found.estimate is not None))
    body = render_template(
        "methods",
        paragraph=methods_paragraph(data.methods, version=data.version, methods_used=used),
        references=references(
            data.methods,
            equivalence=any(found.test == "equivalence" for found in hypotheses),
            shapley=data.table("shapley") is not None,
        ),
    )
    return Section(id="methods", title="Methods", body=body)
