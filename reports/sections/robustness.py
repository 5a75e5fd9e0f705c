"""Section 7: what the hypotheses come to under the other choices that the spec names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports import formats, tables
from reports.data import ReportData
from reports.figures.base import Figure, Panel
from reports.figures.coefficients import Coefficient, draw
from reports.sections.base import Part, Section
from reports.templating import render_template
from stats.findings import Alternative, Finding

CHOICES = {
    "denoising": "inference budget",
    "top_k": "number of edges",
    "specialization": "specialization index",
    "integration": "integration index",
    "interval": "interval",
    "location": "location",
    "ablation": "ablation",
    "steps": "attribution steps",
    "method": "attribution method",
}
"""A choice as `findings.json` names it -> what the page calls it."""


@dataclass(frozen=True, slots=True)
class _Row:
    """The hypotheses under one choice; the study's own comes first."""

    choice: str
    value: str
    findings: tuple[Finding, ...]


def section(data: ReportData) -> Section | None:
    """A grid of verdicts, the numbers behind it and how well the models answer; None where there is one choice."""
    if not data.findings.alternatives:
        return None
    rows = _rows(data)
    parts = [Part(paragraphs=(_explained(data), _agreement(data)), figure=_figure(rows))]
    body = render_template("parts", parts=parts) + render_template(
        "robustness", tables=[_grid(rows), _numbers(rows), *_by_budget(data), *_accuracies(data)]
    )
    return Section(id="robustness", title="Robustness", body=body)


_EXPLAINED = (
    "The verdicts above are those of the study's own choices. Here every hypothesis is decided again under each of the "
    "other choices that the spec names, one change at a time and each with its own correction. These are no further "
    "tests of the study; they show how much a verdict depends on the choice."
)
_BUDGETS = (
    " An inference budget is the number of steps in which an answer of several tokens is revealed: per_token reads the "
    "step that decides the token, a number averages over the steps in which the token is still hidden, and a part of "
    "the steps reads these alone, of the prompts that have them."
)


def _explained(data: ReportData) -> str:
    budgets = any(other.choice == "denoising" for other in data.findings.alternatives)
    return _EXPLAINED + (_BUDGETS if budgets else "")


def _agreement(data: ReportData) -> str:
    """Which verdicts change, in words."""
    tried = [finding for finding in data.findings.hypotheses if tried_on(data, finding)]
    untried = [finding.id for finding in data.findings.hypotheses if finding not in tried]
    changed = [finding.id for finding in tried if not is_robust(data, finding)]
    total = len(tried)
    lacking = f" None of these choices can change {formats.listed(untried)}." if untried else ""
    if not changed:
        return f"No verdict changes ({formats.plural(total, 'hypothesis', 'hypotheses')}).{lacking}"
    return f"{len(changed)} of {formats.plural(total, 'verdict')} change: {formats.listed(changed)}.{lacking}"


def tried_on(data: ReportData, finding: Finding) -> tuple[Alternative, ...]:
    """The other choices that the spec names, of those that can change a finding."""
    at_budgets = any(group.budget for group in finding.groups)  # which are its own, whatever the study reads first

    def concerns(choice: str) -> bool:
        if choice == "denoising":
            return not at_budgets
        return choice not in data.concerned or finding.measure in data.concerned[choice]

    return tuple(other for other in data.findings.alternatives if concerns(other.choice))


def same_under(data: ReportData, finding: Finding) -> int:
    """Under how many of the other choices that can change a finding its verdict is the same."""
    others = (one for other in tried_on(data, finding) for one in other.hypotheses)
    return sum((one.id, one.verdict) == (finding.id, finding.verdict) for one in others)


def is_robust(data: ReportData, finding: Finding) -> bool:
    """Whether a verdict is the same under all of them; so is one on which none was tried."""
    return same_under(data, finding) == len(tried_on(data, finding))


def said_same(data: ReportData, finding: Finding) -> str:
    """Under how many other choices a verdict is the same, in words; empty where the spec names none at all."""
    if not data.findings.alternatives:
        return ""
    tried = len(tried_on(data, finding))
    if not tried:
        return "no other choice was tried"
    return f"same under {same_under(data, finding)} of {formats.plural(tried, 'other choice')}"


def _rows(data: ReportData) -> list[_Row]:
    own = next((f" ({row.budget})" for row in data.readings), "")
    return [
        _Row("", f"the study's own{own}", data.findings.hypotheses),
        *(
            _Row(CHOICES.get(other.choice, other.choice), other.value, other.hypotheses)
            for other in data.findings.alternatives
        ),
    ]


def _changes(own: Finding, other: Finding) -> bool:
    """Whether a choice makes a difference to a hypothesis."""
    return any(getattr(own, name) != getattr(other, name) for name in ("estimate", "low", "high", "verdict"))


def _figure(rows: Sequence[_Row]) -> Figure | None:
    """Each hypothesis under the choices that make a difference to it; None where none does."""
    own = rows[0].findings
    panels = []
    for place, finding in enumerate(own):
        shown = [row for row in rows if row is rows[0] or _changes(finding, row.findings[place])]
        drawn = [
            Coefficient(
                term=f"{row.choice}: {row.value}".removeprefix(": "),
                estimate=found.estimate,
                low=found.low,
                high=found.high,
            )
            for row in shown
            if (found := row.findings[place]).estimate is not None
        ]
        if len(shown) < 2 or not drawn:
            continue
        lacking = [row.value for row in shown if row.findings[place].estimate is None]
        note = f"No estimate: {formats.listed(lacking)}." if lacking else ""
        label = f"{finding.id} under {formats.plural(len(drawn), 'choice')}: " + "; ".join(
            f"{one.term} {formats.number(one.estimate)} {formats.interval(one.low, one.high)}" for one in drawn
        )
        subtitle = ", ".join(dict.fromkeys(row.findings[place].verdict for row in shown))
        panels.append(Panel(title=finding.id, subtitle=subtitle, drawings=(draw(drawn, label=label),), note=note))
    if not panels:
        return None
    return Figure(
        id="figure-robustness",
        caption=(
            "Estimate and interval of each hypothesis under the choices that make a difference to it, the study's own "
            "on top; beside its name the verdicts that come of them."
        ),
        panels=tuple(panels),
        columns=2,
        legend=(),
        tables=(),
    )


def _grid(rows: Sequence[_Row]) -> tables.Table:
    own = rows[0].findings
    fields = [tables.text("choice"), tables.text("value"), *(tables.text(finding.id) for finding in own)]
    cells = [
        (
            row.choice or "–",
            row.value,
            *(
                _cell(found) if row is rows[0] or _changes(first, found) else "same"
                for first, found in zip(own, row.findings, strict=True)
            ),
        )
        for row in rows
    ]
    return tables.build("Verdict and estimate under each choice", fields, cells)


def _cell(finding: Finding) -> str:
    if finding.estimate is None:
        return finding.verdict
    return f"{finding.verdict}, {formats.number(finding.estimate)} {formats.interval(finding.low, finding.high)}"


def _numbers(rows: Sequence[_Row]) -> tables.Table:
    fields = [tables.text("hypothesis"), tables.text("choice"), tables.text("value"), tables.real("estimate")]
    fields += [tables.real("se"), tables.real("low"), tables.real("high"), tables.p_values("p")]
    fields += [tables.p_values("p corrected"), tables.whole("prompts"), tables.text("verdict"), tables.text("status")]
    listed = [
        (
            found.id,
            row.choice or "–",
            row.value,
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
        for row in rows
        for first, found in zip(rows[0].findings, row.findings, strict=True)
        if row is rows[0] or _changes(first, found)
    ]
    return tables.build("Every number of the grid", fields, listed)


def _by_budget(data: ReportData) -> list[tables.Table]:
    """Every estimate of a shift, or of both models together, at every budget; none where there is one."""
    others = [other for other in data.findings.alternatives if other.choice == "denoising"]
    if not others:
        return []
    own = data.readings[0].budget if data.readings else "the study's own"
    found = [(own, data.findings.estimates), *((other.value, other.estimates) for other in others)]
    rows = [
        ((one.measure, one.task, one.pair), budget, one)
        for budget, estimates in found
        for one in estimates
        if one.side not in ("before", "after")
    ]
    order = {key: place for place, key in enumerate(dict.fromkeys(key for key, _, _ in rows))}
    fields = [tables.text(name) for name in ("measure", "task", "pair", "budget")]
    fields += [tables.real(name) for name in ("estimate", "low", "high")]
    fields += [tables.whole("prompts"), tables.text("status")]
    cells = [
        (*key, budget, one.estimate, one.low, one.high, one.n.get("prompt"), one.status)
        for key, budget, one in sorted(rows, key=lambda row: order[row[0]])
    ]
    return [tables.build("What every measure comes to at each budget", fields, cells)]


def _accuracies(data: ReportData) -> list[tables.Table]:
    if not data.readings:
        return []
    fields = [tables.text("budget"), tables.text("task"), tables.text("model"), tables.share("accuracy")]
    fields += [tables.real("masks"), tables.real("states")]
    rows = [(row.budget, row.task, row.model, row.accuracy, row.masks, row.states) for row in data.readings]
    caption = "How well the models answer at each budget: masks at the first reading and states averaged over, means"
    return [tables.build(caption, fields, rows)]
