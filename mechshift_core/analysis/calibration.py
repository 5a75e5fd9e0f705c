"""The whole analysis on A/A data of a run, many times: what its tests reject and its intervals cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mechshift_core.analysis.aa_samples import Key, draw, sources
from mechshift_core.analysis.calibratable import Calibratable, halved, needed, truths, unseen
from mechshift_core.analysis.derived import prepared, with_derived
from mechshift_core.analysis.hypotheses import Evidence, cell_weights, decided_on, test_hypotheses
from mechshift_core.analysis.measured import Measured, Results
from mechshift_core.analysis.needs import described
from mechshift_core.analysis.planting import Decisions, Known
from mechshift_core.analysis.resampled import contributing, resampled
from mechshift_core.analysis.samples import Sample, collect, read_results
from mechshift_core.analysis.sign_flips import LESS_IN_COMMON, NOISIER, PLANTED, SignFlips
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import readings
from mechshift_core.execution.store import RunFolder
from mechshift_core.progress import Progress
from mechshift_core.spec import Hypothesis, Spec
from stats.calibration import Calibration, HalvesUsed, HypothesisCalibration, MeasureCoverage, Scenario
from stats.findings import Finding
from stats.minimums import fewest_replicates
from stats.rates import clustered_rate
from stats.replicates import Contrast, Replicated

REPLICATES = 500
"""Bootstrap replicates of a repetition, unless the spec declares fewer: they are for standard errors alone. Where tests
are by the quantiles of replicates, as many as the spec declares."""


def calibrate(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    *,
    key: str,
    repetitions: int,
    seed: int,
    distances: Sequence[float] = (),
    progress: Progress | None = None,
) -> Calibration:
    """Decide every hypothesis on A/A data of a run's cells, many times, by the code that decides it in the study.

    Args:
        plan: The plan that was executed, with at least one hypothesis.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
        key: Identifies the statistics and data.
        repetitions: How many A/A data sets.
        seed: Seed of their draws; repetition r is the same whatever their number.
        distances: From the null, in units of the measures, at which power is computed; in multiples of each standard
            error unless given.
        progress: Called with (what is being done, repetitions done, repetitions in all).
    """
    spec = _with_fewer_replicates(plan.spec)
    samples = collect(plan, folder, failures, readings(spec.denoising)[0])
    found, own = sources(samples), prepared(samples.by_pair_and_task, spec)
    wanted = needed(spec)
    left = _left(plan, folder, failures, own, wanted)
    one_model = {
        (entry, key): dict.fromkeys(("before", "after"), results[found[key].side])
        for (entry, key), results in left.items()
    }
    aa = _Study(spec, wanted, one_model, samples.missing, apart=True)
    as_it_is = _Study(spec, wanted, left, samples.missing)
    halves, sizes = _Repeated(spec), defaultdict[Key, list[int]](list)
    for repetition in range(repetitions):
        if progress is not None:
            progress("calibration", repetition, repetitions)
        drawn = prepared(draw(found, seed=seed, repetition=repetition), spec, at_most=True)
        halves.add(*aa.measure(drawn))
        for pair_and_task, sample in drawn.items():
            sizes[pair_and_task].append(sample.n)
    known = [Known.of(hypothesis, truths().get(hypothesis.measure)) for hypothesis in spec.hypotheses]
    decisions = halves.decided(known)
    hypotheses, family = decisions.calibrated(distances)
    planted = [
        _resampled(spec, as_it_is.measure(own)[0], repetitions, seed),
        *_sign_flipped(spec, own, samples.missing, repetitions, seed, progress),
    ]
    scenarios = tuple(one for one in planted if one is not None)
    return Calibration(
        name=spec.name,
        key=key,
        seed=seed,
        repetitions=repetitions,
        replicates=spec.statistics.bootstrap.replicates,
        level=decisions.level,
        confidence=spec.statistics.confidence,
        correction=spec.statistics.correction,
        halves=tuple(
            HalvesUsed(pair=pair, task=task, model=source.sample.after.model, prompts=int(np.median(sizes[pair, task])))
            for (pair, task), source in found.items()
        ),
        hypotheses=hypotheses,
        measures=halves.coverage(truths()),
        family=family,
        scenarios=scenarios,
        unseen=tuple(unseen(spec, _seen(hypotheses, *(one.hypotheses for one in scenarios)))),
    )


def _seen(*of: Sequence[HypothesisCalibration]) -> list[str]:
    return [one.measure for hypotheses in of for one in hypotheses if one.false_positives]


def _with_fewer_replicates(spec: Spec) -> Spec:
    declared = spec.statistics.bootstrap
    enough = fewest_replicates(spec.statistics.confidence)
    if declared.method == "percentile":  # a tail has to reach the level after the correction
        enough = declared.replicates
    bootstrap = declared.model_copy(update={"replicates": min(declared.replicates, max(REPLICATES, enough))})
    return spec.model_copy(update={"statistics": spec.statistics.model_copy(update={"bootstrap": bootstrap})})


@dataclass(frozen=True, slots=True)
class _Repeated:
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


@dataclass(frozen=True, slots=True)
class _Study:
    """What every repetition has in common.

    Attributes:
        spec: The spec, with fewer bootstrap replicates.
        wanted: What hypotheses need, with the pairs and tasks.
        results: What the interventions left that these are computed from.
        missing: (pair, task) -> why it was not executed.
        truths: Measure -> its value, for coverage.
        apart: Whether the two sides of a sample are halves of one model's prompts.
    """

    spec: Spec
    wanted: Mapping[tuple[str, Key], Calibratable]
    results: Mapping[tuple[str, Key], Results]
    missing: Mapping[Key, str]
    truths: Mapping[str, float | None] = field(default_factory=truths)
    apart: bool = False

    def measure(self, drawn: Mapping[Key, Sample]) -> tuple[Evidence, dict[str, list[bool]]]:
        """What hypotheses are tested with on one data set; measure -> whether its intervals cover the truth."""
        replicated: dict[tuple[str, str, str], Replicated] = {}
        unknown = {str(hypothesis.measure) for hypothesis in self.spec.hypotheses} - set(truths())
        problems: dict[tuple[str, str, str], str] = {
            (name, pair.name, task.name): f"{name} can't be taken of A/A data"
            for name in unknown
            for pair in self.spec.pairs
            for task in self.spec.tasks
        }
        covered: dict[str, list[bool]] = defaultdict(list)
        for (_, key), entry in self.wanted.items():
            lacking = self.missing.get(key, "") or (entry.apart if self.apart else "")
            if lacking:
                problems |= {(name, *key): lacking for name in entry.names}
                continue
            measured = self._taken(entry, key, drawn[key])
            replicated |= {(name, *key): value for name, value in measured.replicated.items()}
            problems |= {(name, *key): reason for name, reason in measured.problems.items()}
            for one in measured.estimates:
                truth = self.truths.get(one.measure)
                if (
                    one.side in ("shift", "between")
                    and one.low is not None
                    and one.high is not None
                    and truth is not None
                ):
                    covered[one.measure].append(one.low <= truth <= one.high)
        return Evidence(replicated, problems, drawn), covered

    def _taken(self, entry: Calibratable, key: Key, sample: Sample) -> Measured:
        """What is measured of one data set; why nothing, where that breaks: the other repetitions go on."""
        try:
            results = self.results.get((entry.name, key), {})
            return entry.measure(sample, self.spec, halved(results, sample) if self.apart else results)
        except Exception as error:
            return Measured(problems=dict.fromkeys(entry.names, described(error)), failed=described(error))


def _left(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    samples: Mapping[Key, Sample],
    wanted: Mapping[tuple[str, Key], Calibratable],
) -> dict[tuple[str, Key], Results]:
    """What the interventions left of both models, for each entry that is computed from one."""
    found: dict[tuple[str, Key], Results] = {}
    for (entry, key), one in wanted.items():
        if one.needs is not None and key in samples:
            found[entry, key] = read_results(plan, folder, failures, samples[key], one.needs.name)
    return found


def _about(spec: Spec, which: Callable[[Hypothesis], bool]) -> Spec:
    return spec.model_copy(update={"hypotheses": [one for one in spec.hypotheses if which(one)]})


def _resampled(spec: Spec, evidence: Evidence, repetitions: int, seed: int) -> Scenario | None:
    """The study's own prompts, drawn anew, around zero; None where no error is known prompt by prompt.

    Nor where tests are by the quantiles of replicates, which contributions don't have.
    """
    if spec.statistics.bootstrap.method == "percentile":
        return None
    kept = contributing(evidence)
    chosen = _about(
        spec,
        lambda one: all((one.measure, pair.name, task.name) in kept for pair, task in cell_weights(spec, one)),
    )
    if not chosen.hypotheses:
        return None
    repeated = _Repeated(chosen)
    of = replace(evidence, replicated=kept)
    for repetition in range(repetitions):
        repeated.add(resampled(of, seed=seed, repetition=repetition), {})
    # Estimates are drawn around zero, from which a ceiling is still taken.
    known = [Known.at(hypothesis, 0.0 - hypothesis.ceiling) for hypothesis in chosen.hypotheses]
    hypotheses, family = repeated.decided(known, power=False).calibrated(())
    return Scenario(
        name="resampled",
        description=(
            "The study's own prompts drawn anew with replacement, each with what it contributes to an estimate, moved "
            "to where the null holds: as many prompts as the study has, as skewed, with the same outliers, and as "
            "dependent between pairs. It shows the test, not the bias of an estimate."
        ),
        hypotheses=hypotheses,
        measures=(),
        family=family,
    )


def _sign_flipped(
    spec: Spec,
    samples: Mapping[Key, Sample],
    missing: Mapping[Key, str],
    repetitions: int,
    seed: int,
    progress: Progress | None,
) -> Iterator[Scenario]:
    """Scores with planted means and the study's own noise, the sign of each prompt's deviation drawn at random."""
    for scenario in (NOISIER, LESS_IN_COMMON):
        chosen = _about(spec, scenario.concerns)
        wanted = {one: how for one, how in needed(chosen, with_unrelated=True).items() if one[1] in samples}
        planted = {key: SignFlips.of(samples[key], scenario) for key in dict.fromkeys(key for _, key in wanted)}
        lacking = {key: one for key, one in planted.items() if isinstance(one, str)}
        known_means = {key: one for key, one in planted.items() if isinstance(one, SignFlips)}
        if not planted:
            continue
        study = _Study(chosen, wanted, {}, {**missing, **lacking}, scenario.measures)
        repeated = _Repeated(chosen)
        for repetition in range(repetitions):
            if progress is not None:
                progress(scenario.name, repetition, repetitions)
            drawn = {key: one.draw(seed=seed, repetition=repetition) for key, one in known_means.items()}
            evidence, covered = study.measure(drawn)
            repeated.add(with_derived(evidence, chosen), covered)
        known = [Known.at(one, scenario.truth(spec, one)) for one in chosen.hypotheses]
        hypotheses, family = repeated.decided(known, power=False).calibrated(())
        yield Scenario(
            name=scenario.name,
            description=f"{scenario.description} {PLANTED}",
            hypotheses=hypotheses,
            measures=repeated.coverage(scenario.measures),
            family=family,
        )
