"""What differs between two runs, or several: their specs, where their numbers come from, and what they found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mechshift_core import __version__
from mechshift_core.comparison.differences import differences, every_value
from mechshift_core.gate.stored import StoredRun, read_run
from mechshift_core.run_files import SPEC
from mechshift_core.spec import Spec, load_stored_spec
from reports.compare import Compared, ComparedRuns, Numbers
from reports.compare_many import Entry, FoundIn, ManyRuns
from stats.estimate_differences import difference_of
from stats.findings import Estimate, Finding, Findings
from stats.regression import DEFINITION

FOLLOWS = ("spec.sha256", "spec.name", "spec.title", "spec.seed", "units")
"""Parts of the provenance that only repeat what the specs say."""
CAME_BY = ("cells_from_the_store",)
"""Parts that say how a run came by its cells, not what they are."""
WOULD_REFUSE = "this version would refuse its spec:"
DIGITS = 6
"""Significant digits in which two numbers must differ to be shown."""


def compare_runs(first: Path, second: Path) -> ComparedRuns:
    """Read two run directories and find what differs.

    Raises:
        UsageError: if one of them holds no run, or a spec that this version can't read.
        ExecutionError: if one has not come to an end.
    """
    runs = read_run(first), read_run(second)
    specs = [load_stored_spec(run.path / SPEC) for run in runs]
    before, after = map(_document, specs)
    findings = [{**_findings(run.findings), **_alone(run.findings)} for run in runs]
    estimates = [_estimates(run.findings) for run in runs]
    compared_findings, compared_estimates = _compared(*findings), _compared(*estimates)
    return ComparedRuns(
        first=str(first),
        second=str(second),
        version=__version__,
        spec=differences(before, after),
        provenance=differences(_facts(runs[0]), _facts(runs[1]), ignore=(*FOLLOWS, *CAME_BY)),
        findings=compared_findings,
        estimates=compared_estimates,
        same_findings=len({*findings[0], *findings[1]}) - len(compared_findings),
        same_estimates=len({*estimates[0], *estimates[1]}) - len(compared_estimates),
        notes=_refused((first, second), specs),
    )


def compare_many(paths: Sequence[Path]) -> ManyRuns:
    """Read several run directories: all findings side by side, and what differs in their specs.

    Raises:
        UsageError: if one of them holds no run, or a spec that this version can't read.
        ExecutionError: if one has not come to an end.
    """
    runs = [read_run(path) for path in paths]
    read = [load_stored_spec(run.path / SPEC) for run in runs]
    specs = [*map(_document, read)]
    found = [_findings(run.findings) for run in runs]
    differing = dict.fromkeys(change.path for other in specs[1:] for change in differences(specs[0], other))
    values = [dict(every_value(spec)) for spec in specs]
    return ManyRuns(
        runs=tuple(map(str, paths)),
        version=__version__,
        findings=tuple(_side_by_side(name, found) for name in dict.fromkeys(name for one in found for name in one)),
        spec=tuple(
            Entry(
                path=path,
                values=tuple(one.get(path) for one in values),
                there=tuple(path in one for one in values),
            )
            for path in differing
        ),
        notes=_refused(paths, read),
    )


def _document(spec: Spec) -> dict[str, object]:
    return spec.model_dump(mode="json", by_alias=True)


def _refused(paths: Sequence[Path], specs: Sequence[Spec]) -> tuple[str, ...]:
    """Of runs of other versions, what of their specs this one would refuse, a line for each run."""
    told = dict(zip(map(str, paths), specs, strict=True))
    return tuple(f"{path}: {WOULD_REFUSE} {'; '.join(spec.refused)}" for path, spec in told.items() if spec.refused)


def _side_by_side(name: str, found: Sequence[Mapping[str, Finding]]) -> FoundIn:
    there = [one[name] for one in found if name in one]
    return FoundIn(
        name=name,
        claim=there[0].claim,
        runs=tuple(_numbers(one.get(name)) for one in found),
        redefined=tuple(part for part in DEFINITION if len({repr(getattr(one, part, None)) for one in there}) > 1),
    )


def _facts(run: StoredRun) -> dict[str, object]:
    return {**run.provenance, "failures": list(run.failures)}


_Kept = Mapping[str, Finding | Estimate]


def _parts(findings: Findings) -> Iterator[tuple[str, tuple[Finding, ...], tuple[Estimate, ...]]]:
    """Hypotheses and estimates of the study's first choice, then of its other ones, each with a prefix for names."""
    yield "", findings.hypotheses, findings.estimates
    for other in findings.alternatives:
        yield f"{other.choice} {other.value}: ", other.hypotheses, other.estimates


def _findings(findings: Findings) -> Mapping[str, Finding]:
    return {f"{prefix}{found.id}": found for prefix, hypotheses, _ in _parts(findings) for found in hypotheses}


def _alone(findings: Findings) -> _Kept:
    """Each task or regime of a claim that is made of each: two that move against each other leave their average."""
    return {
        f"{prefix}{found.id}, {part.level} alone": Estimate(
            pair="",
            role="",
            seed=None,
            task="",
            regime="",
            measure=found.measure,
            side="",
            estimate=part.estimate,
            low=part.low,
            high=part.high,
            confidence=found.confidence,
            n={},
            method=found.method,
            status=found.status,
        )
        for prefix, hypotheses, _ in _parts(findings)
        for found in hypotheses
        for part in (found.parts if found.every else ())
    }


def _estimates(findings: Findings) -> _Kept:
    return {
        f"{prefix}{found.measure} of {found.pair} on {found.task} ({found.side})": found
        for prefix, _, estimates in _parts(findings)
        for found in estimates
    }


def _numbers(found: Finding | Estimate | None) -> Numbers | None:
    if found is None:
        return None
    return Numbers(
        estimate=_rounded(found.estimate),
        low=_rounded(found.low),
        high=_rounded(found.high),
        verdict=found.verdict if isinstance(found, Finding) else "",
        status=found.status,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def _compared(first: _Kept, second: _Kept) -> tuple[Compared, ...]:
    names = dict.fromkeys([*first, *second])
    return tuple(found for name in names if (found := _compare(name, first.get(name), second.get(name))) is not None)


def _compare(name: str, first: Finding | Estimate | None, second: Finding | Estimate | None) -> Compared | None:
    """The two beside each other; None where they do not differ."""
    one, other = _numbers(first), _numbers(second)
    if one is None or other is None or first is None or second is None:
        return Compared(name=name, first=one, second=other)
    redefined = [part for part in DEFINITION if getattr(first, part, None) != getattr(second, part, None)]
    if one == other and not redefined:
        return None
    difference = low = high = None
    if one.estimate is not None and other.estimate is not None and not {"measure", "estimand"} & {*redefined}:
        difference = other.estimate - one.estimate
        interval = difference_of(first, second, confidence=second.confidence)
        if interval is not None and "confidence" not in redefined:
            low, high = interval.low, interval.high
    words = [f"{part} was {getattr(first, part)!r} and is {getattr(second, part)!r}" for part in redefined]
    return Compared(
        name=name, first=one, second=other, difference=difference, low=low, high=high, redefined=tuple(words)
    )
