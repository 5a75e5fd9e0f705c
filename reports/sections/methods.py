"""Section 9, first half: how it was done, to paste in a paper."""

from __future__ import annotations

from reports.data import ReportData
from reports.methods import cited, in_words, methods_of, references_of
from reports.sections.base import Section
from reports.templating import render_template


def section(data: ReportData) -> Section:
    """The methods paragraph and its references."""
    body = render_template("methods", paragraph=cited(methods_of(data), in_words), references=references_of(data))
    return Section(id="methods", title="Methods", body=body)
