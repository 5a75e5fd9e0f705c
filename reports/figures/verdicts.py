"""The verdicts as a figure: one small forest plot a hypothesis, those of a measure on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import prose, tables
from reports.figures.base import Figure, Panel
from reports.figures.forest import forest, scales
from stats.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """A hypothesis and its drawing."""

    finding: Finding
    drawing: Markup


def verdict_rows(hypotheses: Sequence[Finding]) -> list[VerdictRow]:
    """Each hypothesis with its estimate and interval drawn."""
    ranges = scales(hypotheses)
    return [
        VerdictRow(finding=one, drawing=forest(one, scale=ranges[one.measure], ends=_ends(one))) for one in hypotheses
    ]


def verdict_figure(hypotheses: Sequence[Finding]) -> Figure:
    """A panel a hypothesis; their numbers as the table."""
    fields = [tables.text("hypothesis"), tables.text("verdict"), tables.real("estimate"), tables.real("low")]
    fields += [tables.real("high"), tables.p_values("p"), tables.p_values("p corrected")]
    listed = [(one.id, one.verdict, one.estimate, one.low, one.high, one.p, one.p_corrected) for one in hypotheses]
    return Figure(
        id="figure-forest",
        caption=(
            "Each hypothesis: its estimate with its interval, zero, and the margin or bound that it is held against. "
            "Hypotheses about the same measure have the same scale."
        ),
        panels=tuple(
            Panel(title=row.finding.claim or row.finding.id, subtitle=row.finding.verdict, drawings=(row.drawing,))
            for row in verdict_rows(hypotheses)
        ),
        columns=2,
        legend=(),
        tables=(tables.build("Every verdict", fields, listed),),
    )


def _ends(finding: Finding) -> tuple[str, str]:
    """What lies to the left and to the right; a difference in differences has no words of its own."""
    if len(finding.groups) > 2:
        return "lower", "higher"
    return prose.direction(finding.measure, -1.0), prose.direction(finding.measure, 1.0)
