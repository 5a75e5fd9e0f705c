"""What differs between two runs: their specs, where their numbers come from, and what they found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mechshift_core import __version__
from mechshift_core.comparison.differences import differences
from mechshift_core.gate.stored import SPEC, StoredRun, read_run
from mechshift_core.spec import load_spec
from reports.compare import Compared, ComparedRuns, Numbers
from stats.baseline import Recorded
from stats.findings import Estimate, Finding, Findings
from stats.regression import DEFINITION, difference_interval

FOLLOWS = ("spec.sha256", "spec.name", "spec.seed")
"""Parts of the provenance that only repeat what the specs say."""
DIGITS = 6
"""Significant digits in which two numbers must differ to be shown."""


def compare_runs(first: Path, second: Path) -> ComparedRuns:
    """Read two run directories and find what differs.

    Raises:
        UsageError: if one of them holds no run, or a spec that this version can't read.
        ExecutionError: if one has not come to an end.
    """
    runs = read_run(first), read_run(second)
    before, after = (
        load_spec(run.path / SPEC, check_files=False).model_dump(mode="json", by_alias=True) for run in runs
    )
    findings = [_findings(run.findings) for run in runs]
    estimates = [_estimates(run.findings) for run in runs]
    return ComparedRuns(
        first=str(first),
        second=str(second),
        version=__version__,
        spec=differences(before, after),
        provenance=differences(_facts(runs[0]), _facts(runs[1]), ignore=FOLLOWS),
        findings=_compared(*findings),
        estimates=_compared(*estimates),
        same_findings=_same(*findings),
        same_estimates=_same(*estimates),
    )


def _facts(run: StoredRun) -> dict[str, object]:
    return {**run.provenance, "failures": list(run.failures)}


_Kept = Mapping[str, tuple[Numbers, Finding | None]]


def _parts(findings: Findings) -> Iterator[tuple[str, tuple[Finding, ...], tuple[Estimate, ...]]]:
    """Hypotheses and estimates of the study's first choice, then of its other ones, each with a prefix for names."""
    yield "", findings.hypotheses, findings.estimates
    for other in findings.alternatives:
        yield f"{other.choice} {other.value}: ", other.hypotheses, other.estimates


def _findings(findings: Findings) -> _Kept:
    return {
        f"{prefix}{found.id}": (_numbers(found, found.verdict), found)
        for prefix, hypotheses, _ in _parts(findings)
        for found in hypotheses
    }


def _estimates(findings: Findings) -> _Kept:
    return {
        f"{prefix}{found.measure} of {found.pair} on {found.task} ({found.side})": (_numbers(found, ""), None)
        for prefix, _, estimates in _parts(findings)
        for found in estimates
    }


def _numbers(found: Finding | Estimate, verdict: str) -> Numbers:
    return Numbers(
        estimate=_rounded(found.estimate),
        low=_rounded(found.low),
        high=_rounded(found.high),
        verdict=verdict,
        status=found.status,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _compared(first: _Kept, second: _Kept) -> tuple[Compared, ...]:
    names = dict.fromkeys([*first, *second])
    return tuple(found for name in names if (found := _compare(name, first.get(name), second.get(name))) is not None)


def _same(first: _Kept, second: _Kept) -> int:
    return len({*first, *second}) - len(_compared(first, second))


def _compare(
    name: str, first: tuple[Numbers, Finding | None] | None, second: tuple[Numbers, Finding | None] | None
) -> Compared | None:
    if first is None or second is None:
        return Compared(name=name, first=first and first[0], second=second and second[0])
    redefined: tuple[str, ...] = ()
    if first[1] is not None and second[1] is not None:
        before, after = Recorded.of(first[1]), Recorded.of(second[1])
        redefined = tuple(
            f"{part} was {getattr(before, part)!r} and is {getattr(after, part)!r}"
            for part in DEFINITION
            if getattr(before, part) != getattr(after, part)
        )
    if first[0] == second[0] and not redefined:
        return None
    one, other = first[0], second[0]
    difference = low = high = None
    if one.estimate is not None and other.estimate is not None and not redefined:
        difference = other.estimate - one.estimate
        if one.low is not None and one.high is not None and other.low is not None and other.high is not None:
            interval = difference_interval(one.estimate, one.low, one.high, other.estimate, other.low, other.high)
            low, high = interval.low, interval.high
    return Compared(name=name, first=one, second=other, difference=difference, low=low, high=high, redefined=redefined)
