"""What came out of many data sets: what hypotheses are decided on in each, and whether intervals cover the truth."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mechshift_core.analysis.aa_samples import Key
from mechshift_core.analysis.calibratable import truths
from mechshift_core.analysis.data_sets import DataSets
from mechshift_core.analysis.hypotheses import Evidence, decided_on, test_hypotheses
from mechshift_core.analysis.planting import Decisions, Known
from mechshift_core.analysis.samples import Sample
from mechshift_core.analysis.series import Drawn, Series
from mechshift_core.spec import Spec
from stats.calibration import MeasureCoverage
from stats.findings import Finding
from stats.rates import clustered_rate
from stats.replicates import Contrast, Replicated


@dataclass(frozen=True, slots=True)
class Repeated:
    """What came out of the repetitions so far."""

    spec: Spec
    findings: list[tuple[Finding, ...]] = field(default_factory=list)
    contrasts: list[list[tuple[Contrast, ...] | None]] = field(default_factory=list)
    covered: dict[str, list[list[bool]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, evidence: Evidence, covered: Mapping[str, list[bool]]) -> None:
        """Decide every hypothesis on one data set."""
        self.findings.append(test_hypotheses(self.spec, evidence))
        self.contrasts.append([decided_on(self.spec, one, evidence) for one in self.spec.hypotheses])
        for measure, outcomes in covered.items():
            self.covered[measure].append(outcomes)

    def decided(self, known: Sequence[Known], *, power: bool = True) -> Decisions:
        """All decisions, and what is known of them."""
        return Decisions(self.spec, known, self.findings, self.contrasts, power)

    def coverage(self, truths: Mapping[str, float | None]) -> tuple[MeasureCoverage, ...]:
        """Of every measure whose value is known."""
        nominal = self.spec.statistics.confidence
        return tuple(
            MeasureCoverage(measure=measure, truth=truth, rate=clustered_rate(outcomes, nominal=nominal))
            for measure, outcomes in self.covered.items()
            if any(outcomes) and (truth := truths.get(measure)) is not None
        )


def evidence_of(sets: DataSets, samples: Mapping[Key, Sample], found: Mapping[Series, Drawn]) -> Evidence:
    """What hypotheses are tested with on one data set."""
    spec = sets.spec
    replicated: dict[tuple[str, str, str], Replicated] = {}
    unknown = {str(hypothesis.measure) for hypothesis in spec.hypotheses} - set(truths())
    problems: dict[tuple[str, str, str], str] = {
        (name, pair.name, task.name): f"{name} can't be taken of A/A data"
        for name in unknown
        for pair in spec.pairs
        for task in spec.tasks
    }
    drawn = {(one.entry.name, one.key): value for one, value in found.items()}
    for (kind, key), entry in sets.wanted.items():
        own = drawn.get((kind, key)) or Drawn.nothing(entry.names, sets.lacking(entry, key))
        replicated |= {(name, *key): value for name, value in own.replicated.items()}
        problems |= {(name, *key): reason for name, reason in own.problems.items()}
    return Evidence(replicated, problems, samples)


def covered_by(found: Mapping[Series, Drawn], known: Mapping[str, float | None]) -> dict[str, list[bool]]:
    """Measure whose value is known -> whether its interval for each pair and task covers it."""
    covered: dict[str, list[bool]] = defaultdict(list)
    for drawn in found.values():
        for measure, low, high in drawn.intervals:
            truth = known.get(measure)
            if truth is not None:
                covered[measure].append(low <= truth <= high)
    return covered
