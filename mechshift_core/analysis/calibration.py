"""The whole analysis on A/A data of a run, many times: what its tests reject and its intervals cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mechshift_core.analysis.aa_samples import Key, Source, draw, sources
from mechshift_core.analysis.component_graph import measure_graph_shift
from mechshift_core.analysis.depth import measure_depth_shifts
from mechshift_core.analysis.half_sizes import with_half_size
from mechshift_core.analysis.hypotheses import Evidence, cell_weights, decided_on, test_hypotheses
from mechshift_core.analysis.integration import measure_interaction_shift, serving
from mechshift_core.analysis.lens import measure_lens_shift
from mechshift_core.analysis.measured import Measured, Results
from mechshift_core.analysis.needs import described
from mechshift_core.analysis.overlap import measure_kept
from mechshift_core.analysis.planting import Decisions, Known
from mechshift_core.analysis.right_context import measure_right_context
from mechshift_core.analysis.samples import Sample, collect, read_results
from mechshift_core.analysis.specialization import measure_specialization_shift
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import readings
from mechshift_core.execution.runner import Progress
from mechshift_core.execution.store import RunFolder
from mechshift_core.spec import Spec
from mechshift_core.spec.interventions import Attention, Intervention, LogitLens
from stats.calibration import Calibration, HalvesUsed, MeasureCoverage
from stats.findings import Finding
from stats.minimums import fewest_replicates
from stats.rates import clustered_rate
from stats.replicates import Contrast, Replicated

REPLICATES = 500
"""Bootstrap replicates of a repetition, unless the spec declares fewer: they are for standard errors alone. Where tests
are by the quantiles of replicates, as many as the spec declares."""


@dataclass(frozen=True, slots=True)
class Calibratable:
    """Measures that can be taken of A/A data together.

    Attributes:
        measure: What hypotheses are tested with, of one sample; with what an intervention left of it, if one is needed.
        truths: Measure that hypotheses can name -> its value where nothing differs.
        needs: The intervention of a spec that they are computed from, beside the edge attribution; None if there is
            none.
    """

    measure: Callable[[Sample, Spec, Results], Measured]
    truths: Mapping[str, float]
    needs: Callable[[Spec], Intervention | None] = lambda _: None


def _knocked_out(spec: Spec) -> Intervention | None:
    return serving(spec, spec.measures.integration.index if spec.measures.integration else "")


def _measure_integration(sample: Sample, spec: Spec, results: Results) -> Measured:
    return measure_interaction_shift(sample, spec, results) if _knocked_out(spec) else measure_graph_shift(sample, spec)


def _of_kind(kind: type[LogitLens | Attention]) -> Callable[[Spec], Intervention | None]:
    return lambda spec: next((one for one in spec.interventions if isinstance(one, kind)), None)


CALIBRATABLE: dict[str, Calibratable] = {
    # As similar to the other half as to itself.
    "overlap": Calibratable(
        lambda sample, spec, _: measure_kept(sample, spec), {"similarity": 1.0, "retention": 1.0, "node_retention": 1.0}
    ),
    "depth": Calibratable(
        lambda sample, spec, _: measure_depth_shifts(sample, spec), {"depth_slope": 0.0, "early_share": 0.0}
    ),
    "specialization": Calibratable(
        lambda sample, spec, _: measure_specialization_shift(sample, spec), {"specialization": 0.0}
    ),
    "integration": Calibratable(_measure_integration, {"integration": 0.0}, _knocked_out),
    "alignment": Calibratable(partial(measure_lens_shift, "alignment"), {"alignment": 0.0}, _of_kind(LogitLens)),
    "decision_time": Calibratable(
        partial(measure_lens_shift, "decision_time"), {"decision_time": 0.0}, _of_kind(LogitLens)
    ),
    "right_context": Calibratable(
        lambda sample, spec, results: measure_right_context(sample, spec, "", results),
        {"right_context": 0.0},
        _of_kind(Attention),
    ),
}
"""What is measured together -> how it is taken of A/A data."""
ENTRIES = {name: entry for entry, one in CALIBRATABLE.items() for name in one.truths}
"""Measure that hypotheses can name -> its entry in `CALIBRATABLE`."""
TRUTHS = {name: truth for entry in CALIBRATABLE.values() for name, truth in entry.truths.items()}


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
    declared = plan.spec.statistics.bootstrap
    needed_replicates = fewest_replicates(plan.spec.statistics.confidence)
    if declared.method == "percentile":  # a tail has to reach the level after the correction
        needed_replicates = declared.replicates
    replicates = min(declared.replicates, max(REPLICATES, needed_replicates))
    bootstrap = declared.model_copy(update={"replicates": replicates})
    statistics = plan.spec.statistics.model_copy(update={"bootstrap": bootstrap})
    spec = plan.spec.model_copy(update={"statistics": statistics})
    samples = collect(plan, folder, failures, readings(spec.denoising)[0])
    found = sources(samples)
    needed = _needed(spec)
    results = _results(plan, folder, failures, found, needed)
    study = _Study(spec, needed, found, results, samples.missing)
    findings: list[tuple[Finding, ...]] = []
    contrasts: list[list[tuple[Contrast, ...] | None]] = []
    covered: dict[str, list[list[bool]]] = defaultdict(list)
    sizes: dict[Key, list[int]] = defaultdict(list)
    for repetition in range(repetitions):
        if progress is not None:
            progress("calibration", repetition, repetitions)
        drawn = with_half_size(draw(found, seed=seed, repetition=repetition), spec, at_most=True)
        evidence, of_measures = study.measure(drawn)
        findings.append(test_hypotheses(spec, evidence))
        contrasts.append([decided_on(spec, hypothesis, evidence) for hypothesis in spec.hypotheses])
        for measure, outcomes in of_measures.items():
            covered[measure].append(outcomes)
        for pair_and_task, sample in drawn.items():
            sizes[pair_and_task].append(sample.n)
    known = [Known.of(hypothesis, TRUTHS.get(hypothesis.measure, 0.0)) for hypothesis in spec.hypotheses]
    decisions = Decisions(spec, known, findings, contrasts)
    hypotheses, family = decisions.calibrated(distances)
    return Calibration(
        name=spec.name,
        key=key,
        seed=seed,
        repetitions=repetitions,
        replicates=replicates,
        level=decisions.level,
        confidence=spec.statistics.confidence,
        correction=spec.statistics.correction,
        halves=tuple(
            HalvesUsed(pair=pair, task=task, model=source.sample.after.model, prompts=int(np.median(sizes[pair, task])))
            for (pair, task), source in found.items()
        ),
        hypotheses=hypotheses,
        measures=tuple(
            MeasureCoverage(
                measure=measure,
                truth=TRUTHS[measure],
                rate=clustered_rate(outcomes, nominal=spec.statistics.confidence),
            )
            for measure, outcomes in covered.items()
            if any(outcomes)
        ),
        family=family,
    )


@dataclass(frozen=True, slots=True)
class _Study:
    """What every repetition has in common.

    Attributes:
        spec: The spec, with fewer bootstrap replicates.
        needed: Entries of `CALIBRATABLE` that hypotheses need, with the pairs and tasks.
        found: What halves are drawn from.
        results: What the interventions left that these are computed from.
        missing: (pair, task) -> why it was not executed.
    """

    spec: Spec
    needed: Sequence[tuple[str, Key]]
    found: Mapping[Key, Source]
    results: Mapping[tuple[str, Key], Results]
    missing: Mapping[Key, str]

    def measure(self, drawn: Mapping[Key, Sample]) -> tuple[Evidence, dict[str, list[bool]]]:
        """What hypotheses are tested with on one A/A data set; measure -> whether its intervals cover its A/A value."""
        replicated: dict[tuple[str, str, str], Replicated] = {}
        unknown = {str(hypothesis.measure) for hypothesis in self.spec.hypotheses} - set(TRUTHS)
        problems: dict[tuple[str, str, str], str] = {
            (name, pair.name, task.name): f"{name} can't be taken of A/A data yet"
            for name in unknown
            for pair in self.spec.pairs
            for task in self.spec.tasks
        }
        covered: dict[str, list[bool]] = defaultdict(list)
        for entry, key in self.needed:
            names = CALIBRATABLE[entry].truths
            if key not in drawn:
                problems |= {(name, *key): self.missing[key] for name in names}
            else:
                measured = self._taken(entry, key, drawn[key])
                replicated |= {(name, *key): value for name, value in measured.replicated.items()}
                problems |= {(name, *key): reason for name, reason in measured.problems.items()}
                for one in measured.estimates:
                    if one.side in ("shift", "between") and one.low is not None and one.high is not None:
                        covered[one.measure].append(one.low <= TRUTHS[one.measure] <= one.high)
        return Evidence(replicated, problems, drawn), covered

    def _taken(self, entry: str, key: Key, sample: Sample) -> Measured:
        """What is measured of one A/A data set; why nothing, where that breaks: the other repetitions go on."""
        one = CALIBRATABLE[entry]
        try:
            return one.measure(sample, self.spec, self.results.get((entry, key), {}))
        except Exception as error:
            return Measured(problems=dict.fromkeys(one.truths, described(error)), failed=described(error))


def _needed(spec: Spec) -> list[tuple[str, Key]]:
    """Entries of `CALIBRATABLE` with the pairs and tasks of which some hypothesis needs them, in order."""
    needed = {
        (ENTRIES[hypothesis.measure], (pair.name, task.name)): None
        for hypothesis in spec.hypotheses
        if hypothesis.measure in TRUTHS
        for pair, task in cell_weights(spec, hypothesis)
    }
    return list(needed)


def _results(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    found: Mapping[Key, Source],
    needed: Sequence[tuple[str, Key]],
) -> dict[tuple[str, Key], Results]:
    """What the interventions left of the models of the halves, for each entry that is computed from one."""
    results: dict[tuple[str, Key], Results] = {}
    for entry, key in needed:
        intervention = CALIBRATABLE[entry].needs(plan.spec)
        if intervention is not None and key in found:
            results[entry, key] = read_results(plan, folder, failures, found[key].sample, intervention.name)
    return results
