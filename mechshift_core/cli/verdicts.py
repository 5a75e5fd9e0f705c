"""How commands tell findings: verdict, estimate with its interval, p, units, and the claim in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mechshift_core.cli.console import Console
from mechshift_core.markdown import printable

if TYPE_CHECKING:
    from stats.findings import Finding

STYLES = {"supported": "green", "refuted": "red", "inconclusive": "yellow", "not estimable": "dim"}
WIDTH = 14
"""Of the column of verdicts."""
TOLD = (
    "id", "claim", "measure", "verdict", "status", "estimate", "low", "high", "confidence", "inner_low", "inner_high",
    "p", "p_corrected", "p_opposite_corrected", "correction", "family_size", "message",
)  # fmt: skip
"""What of a finding the JSON of a command holds, beside `n`; `findings.json` has the rest."""


def tell(console: Console, findings: Iterable[Finding]) -> None:
    """Print each finding: a line of numbers, the claim, and what to keep in mind; with `--quiet` the line alone."""
    if console.json:
        return
    for finding in findings:
        numbers_ = f"{printable(finding.id):<24} {numbers(finding)}"
        console.result_marked(f"{finding.verdict:<{WIDTH}}", numbers_, style=STYLES.get(finding.verdict, ""))
        if finding.claim:
            console.say(f"{'':<{WIDTH}} {printable(finding.claim)}")
        if finding.message and finding.estimate is not None:
            console.say(f"{'':<{WIDTH}} note: {printable(finding.message)}")


def numbers(finding: Finding) -> str:
    """Estimate, the interval of its test, corrected p and units; without an estimate, why there is none.

    Of an equivalence the interval is the one that decides, with its level; of what is refuted, p is of the opposite.
    """
    units = ", ".join(f"{count} {unit}{'' if count == 1 else 's'}" for unit, count in finding.n.items())
    of = f"  n = {units}" if units else ""
    if finding.estimate is None:
        return f"{printable(finding.message or finding.status)}{of}"
    low, high, level = finding.shown
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    if interval and level != finding.confidence:
        interval += f" ({level:.0%})"
    p = "" if finding.p_corrected is None else f"  p = {finding.p_corrected:.3g} ({finding.correction})"
    if finding.verdict == "refuted" and finding.p_opposite_corrected is not None:
        p = f"  p of the opposite = {finding.p_opposite_corrected:.3g} ({finding.correction})"
    return f"{finding.estimate:.3f}{interval}{p}{of}"


def as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The same as plain data, with all digits."""
    return [{**{name: getattr(one, name) for name in TOLD}, "n": dict(one.n)} for one in findings]
