"""Section 7: what the hypotheses come to under the other choices that the spec names."""

from __future__ import annotations

from reports import formats, tables
from reports.data import ReportData
from reports.sections.base import Section
from reports.templating import render_template
from stats.findings import Alternative, Finding

CHOICES = {"denoising": "inference budget"}
"""A choice as `findings.json` names it -> what the page calls it."""


def section(data: ReportData) -> Section | None:
    """A grid of verdicts, the numbers behind it and how well the models answer; None where there is one choice."""
    if not data.findings.alternatives:
        return None
    body = render_template(
        "robustness",
        paragraphs=[_EXPLAINED, _agreement(data)],
        tables=[_grid(data), _numbers(data), *_accuracies(data)],
    )
    return Section(id="robustness", title="Robustness", body=body)


_EXPLAINED = (
    "The verdicts above are those of the first choice. Here every hypothesis is decided again under each of the "
    "others, from its own runs of the models and with its own correction. These are no further tests of the study; "
    "they show how much a verdict depends on the choice. An inference budget is the number of steps in which an answer "
    "of several tokens is revealed: per_token reads the step that decides the token, a number averages over the steps "
    "in which the token is still hidden."
)


def _agreement(data: ReportData) -> str:
    """Which verdicts change, in words."""
    changed = [
        finding.id
        for finding in data.findings.hypotheses
        if any(_of(other, finding).verdict != finding.verdict for other in data.findings.alternatives)
    ]
    total = len(data.findings.hypotheses)
    if not changed:
        return f"No verdict changes ({formats.plural(total, 'hypothesis', 'hypotheses')})."
    return f"{len(changed)} of {formats.plural(total, 'verdict')} change: {formats.listed(changed)}."


def _of(alternative: Alternative, finding: Finding) -> Finding:
    """The same hypothesis under another choice."""
    return next(other for other in alternative.hypotheses if other.id == finding.id)


def _columns(data: ReportData) -> list[tuple[str, tuple[Finding, ...]]]:
    """(choice, its findings), the study's own first."""
    own = next((row.budget for row in data.readings), "first")
    return [
        (own, data.findings.hypotheses),
        *((other.value, other.hypotheses) for other in data.findings.alternatives),
    ]


def _grid(data: ReportData) -> tables.Table:
    columns = _columns(data)
    rows = [
        (of_hypothesis[0].id, *(_cell(finding) for finding in of_hypothesis))
        for of_hypothesis in zip(*(findings for _, findings in columns), strict=True)
    ]
    choice = CHOICES.get(data.findings.alternatives[0].choice, data.findings.alternatives[0].choice)
    fields = [tables.text("hypothesis"), *(tables.text(value) for value, _ in columns)]
    return tables.build(f"Verdict and estimate by {choice}", fields, rows)


def _cell(finding: Finding) -> str:
    return f"{finding.verdict}, {formats.number(finding.estimate)} {formats.interval(finding.low, finding.high)}"


def _numbers(data: ReportData) -> tables.Table:
    fields = [tables.text("hypothesis"), tables.text("choice"), tables.real("estimate"), tables.real("se")]
    fields += [tables.real("low"), tables.real("high"), tables.p_values("p"), tables.p_values("p corrected")]
    fields += [tables.whole("prompts"), tables.text("verdict"), tables.text("status")]
    rows = [
        (
            found.id,
            value,
            found.estimate,
            found.se,
            found.low,
            found.high,
            found.p,
            found.p_corrected,
            found.n.get("prompt"),
            found.verdict,
            found.status,
        )
        for value, findings in _columns(data)
        for found in findings
    ]
    return tables.build("Every number of the grid", fields, rows)


def _accuracies(data: ReportData) -> list[tables.Table]:
    if not data.readings:
        return []
    fields = [tables.text("budget"), tables.text("task"), tables.text("model"), tables.share("accuracy")]
    fields += [tables.real("masks"), tables.real("states")]
    rows = [(row.budget, row.task, row.model, row.accuracy, row.masks, row.states) for row in data.readings]
    caption = "How well the models answer at each budget: masks at the first reading and states averaged over, means"
    return [tables.build(caption, fields, rows)]
