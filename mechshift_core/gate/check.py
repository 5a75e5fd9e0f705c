"""The gate itself: what is compared, what must hold, and the exit code that follows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mechshift_core.errors import UsageError
from mechshift_core.gate.stored import StoredRun
from stats.baseline import Baseline
from stats.findings import Declaration
from stats.regression import BAD, Comparison, compare_findings


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The outcome of a check.

    Attributes:
        name: Name of the study.
        comparisons: Every finding beside its record.
        not_held: Hypotheses that must be supported and are not.
        failures: What failed in the run; it is partial if there are any.
        declaration: When the hypotheses of the run were declared.
    """

    name: str
    comparisons: tuple[Comparison, ...]
    not_held: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    declaration: Declaration = field(default_factory=Declaration)

    def __repr__(self) -> str:
        outcomes = [one.outcome for one in self.comparisons]
        counted = ", ".join(f"{outcomes.count(one)} {one}" for one in dict.fromkeys(outcomes)) or "no findings"
        return f"Gate({self.name!r}: {counted}; exit code {self.exit_code})"

    @property
    def regressed(self) -> tuple[Comparison, ...]:
        """The findings that do not pass."""
        return tuple(found for found in self.comparisons if found.outcome in BAD)

    @property
    def exit_code(self) -> int:
        """3 the run is partial; 1 a finding regressed or does not hold; 4 nothing is decided; 0 passed.

        Nothing is decided where no finding is `supported` or `refuted` as it was recorded: all are inconclusive, not
        estimable, new, or can't be told from their record.
        """
        if self.failures:
            return 3
        if self.regressed or self.not_held:
            return 1
        return 0 if any(found.decided for found in self.comparisons) else 4


def check_run(
    run: StoredRun, baseline: Baseline, *, tolerance: float | None = None, must_hold: Collection[str] = ()
) -> Gate:
    """Compare the findings of a run with a baseline.

    Args:
        run: The run.
        baseline: What was recorded.
        tolerance: As for :func:`stats.regression.compare_findings`.
        must_hold: Ids of hypotheses that must be supported.

    Raises:
        UsageError: if the baseline is of another study.
    """
    if baseline.name != run.findings.name:
        raise UsageError(
            f"the baseline is of the study {baseline.name!r}, {run.path} of {run.findings.name!r}; "
            "give the baseline of this study, or replace it with --update"
        )
    supported = {finding.id for finding in run.findings.hypotheses if finding.verdict == "supported"}
    return Gate(
        name=run.findings.name,
        comparisons=compare_findings(baseline, run.baseline, tolerance=tolerance),
        not_held=tuple(name for name in dict.fromkeys(must_hold) if name not in supported),
        failures=run.failures,
        declaration=run.findings.declaration,
    )
