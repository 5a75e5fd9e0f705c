"""Section 1: what the hypotheses came to."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from reports import formats, prose, tables
from reports.data import ReportData
from reports.figures.forest import forest, scales
from reports.sections.base import Section
from reports.sections.robustness import said_same
from reports.sentences import asked_of, sentence, shows_opposite
from reports.templating import render_template
from stats.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A hypothesis as the verdict table shows it."""

    finding: Finding
    measure: str
    question: str
    drawing: Markup
    opposite: bool
    same: str


def section(data: ReportData) -> Section:
    """The verdict table with its forest plots, the finding in words, and all numbers unfolded."""
    hypotheses = data.findings.hypotheses
    ranges = scales(hypotheses)
    body = render_template(
        "verdicts",
        overview=prose.overview(hypotheses, data.findings.declaration),
        notes=prose.declaration_notes(data.findings.declaration),
        changed=set(data.findings.declaration.changed),
        rows=[
            Row(
                finding=finding,
                measure=asked_of(finding),
                question=question(finding),
                drawing=forest(finding, scale=ranges[finding.measure], ends=ends(finding)),
                opposite=shows_opposite(finding),
                same=said_same(data, finding),
            )
            for finding in hypotheses
        ],
        readings=[
            f"{prose.measure_name(measure)}: {prose.reading(measure)}" for measure in ranges if prose.reading(measure)
        ],
        sentences=[sentence(finding) for finding in hypotheses],
        numbers=_numbers(hypotheses),
        terms=_terms(hypotheses),
        parts=_parts(hypotheses),
    )
    return Section(id="verdicts", title="Verdicts", body=body)


def ends(finding: Finding) -> tuple[str, str]:
    """What lies to the left and to the right of the axis.

    A difference in differences has no words of its own, nor has what is said of a trajectory.
    """
    if len(finding.groups) > 2 or finding.along:
        return "lower", "higher"
    return prose.direction(finding.measure, -1.0), prose.direction(finding.measure, 1.0)


def question(finding: Finding) -> str:
    """What was tested, in a few words."""
    if finding.test == "equivalence":
        margin = "" if finding.margin is None else f" within ±{formats.compact(finding.margin)}"
        return f"equivalent{margin}?"
    if finding.test == "non_inferiority":
        return f"not lower by more than {formats.compact(finding.margin)}?"
    if finding.test == "bound":
        return f"{'below' if finding.alternative == 'less' else 'above'} {formats.compact(finding.null)}?"
    return {"less": "below zero?", "greater": "above zero?"}.get(finding.alternative, "different from zero?")


def _numbers(hypotheses: tuple[Finding, ...]) -> tables.Table:
    fields = [
        tables.text("hypothesis"),
        tables.text("estimand"),
        tables.text("test"),
        tables.real("estimate"),
        tables.real("se"),
        tables.real("low"),
        tables.real("high"),
        tables.real("statistic"),
        tables.real("df"),
        tables.p_values("p"),
        tables.p_values("p corrected"),
        tables.text("n"),
        tables.text("method"),
        tables.text("status"),
    ]
    rows = [
        (
            found.id,
            found.estimand,
            f"{found.test}, {found.alternative}",
            found.estimate,
            found.se,
            found.low,
            found.high,
            found.statistic,
            found.df,
            found.p,
            found.p_corrected,
            ", ".join(formats.plural(amount, unit) for unit, amount in found.n.items()),
            found.method,
            found.status,
        )
        for found in hypotheses
    ]
    return tables.build("Every number of the verdicts", fields, rows)


def _parts(hypotheses: tuple[Finding, ...]) -> tables.Table:
    """Each verdict on each task or regime alone."""
    fields = [tables.text("hypothesis"), tables.text("verdict is of"), tables.text("on"), tables.real("estimate")]
    fields += [tables.real("low"), tables.real("high"), tables.p_values("p")]
    rows = [
        (
            found.id,
            f"every {found.every}" if found.every else "the average",
            f"{part.key} {part.level}",
            part.estimate,
            part.low,
            part.high,
            part.p,
        )
        for found in hypotheses
        for part in found.parts
    ]
    return tables.build("Each verdict on each task or regime alone (p not corrected)", fields, rows)


def _terms(hypotheses: tuple[Finding, ...]) -> tables.Table:
    fields = [
        tables.text("hypothesis"),
        tables.text("pair"),
        tables.text("role"),
        tables.text("seed"),
        tables.text("task"),
        tables.text("regime"),
        tables.real("weight"),
        tables.real("estimate"),
        tables.whole("n"),
    ]
    rows = [
        (found.id, term.pair, term.role, term.seed, term.task, term.regime, term.weight, term.estimate, term.n)
        for found in hypotheses
        for term in found.terms
    ]
    return tables.build("What each estimate is the weighted sum of", fields, rows)
