"""The whole analysis on A/A data of a run, many times: what its tests reject and its intervals cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from mechshift_core.analysis.aa_samples import Key
from mechshift_core.analysis.calibratable import truths, unseen
from mechshift_core.analysis.data_sets import DataSets, Material, about, as_it_is, halves, planted
from mechshift_core.analysis.derived import with_derived
from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.analysis.kept_series import KeptSeries
from mechshift_core.analysis.planting import Known
from mechshift_core.analysis.repeated import Repeated, covered_by, evidence_of
from mechshift_core.analysis.resampled import contributing, resampled
from mechshift_core.analysis.series import Series, series_of
from mechshift_core.analysis.sign_flips import PLANTED, Planting
from mechshift_core.analysis.stretches import compute, cut, each
from mechshift_core.analysis.stretches_elsewhere import share_out
from mechshift_core.analysis.weights import cell_weights
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.profiles import Profile
from mechshift_core.execution.store import RunFolder
from mechshift_core.progress import Progress
from stats.calibration import Calibration, HalvesUsed, HypothesisCalibration, Scenario


def calibrate(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    *,
    key: str,
    repetitions: int,
    seed: int,
    distances: Sequence[float] = (),
    profile: Profile | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Decide every hypothesis on A/A data of a run's cells, many times, by the code that decides it in the study.

    What is measured of a data set is kept in the run directory, and measured again only where what it depends on has
    changed.

    Args:
        plan: The plan that was executed, with at least one hypothesis.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
        key: Identifies the statistics and data.
        repetitions: How many A/A data sets.
        seed: Seed of their draws; repetition r is the same whatever their number.
        distances: From the null, in units of the measures, at which power is computed; in multiples of each standard
            error unless given.
        profile: How to run; in this process alone unless given.
        progress: Called with (what is being done, data sets of a pair and task measured, such data sets in all), then
            with (what is being decided, repetitions decided, repetitions in all).

    Raises:
        ExecutionError: if the workers are lost or one fails.
        OSError: if what is measured can't be kept.
    """
    with threadpool_limits(1):  # the same sums in every process, whatever it runs on
        material = Material.of(plan, folder, failures, seed)
        study = _Study(material, KeptSeries(folder), repetitions, progress)
        return study.calibrated(key, distances, profile)


@dataclass(frozen=True, eq=False, slots=True)
class _Study:
    """A calibration that is being computed.

    Attributes:
        material: What data sets are drawn from.
        kept: What they come to.
        repetitions: How many there are of each sort.
        progress: Told how far it has come.
    """

    material: Material
    kept: KeptSeries
    repetitions: int
    progress: Progress | None

    def calibrated(self, key: str, distances: Sequence[float], profile: Profile | None) -> Calibration:
        """The calibration; see :func:`calibrate`."""
        material, spec = self.material, self.material.plan.spec
        aa, flips = halves(material), planted(material)
        # Tests by the quantiles of replicates have none of prompts that are drawn anew.
        own = None if spec.statistics.by_quantiles else as_it_is(material)
        series = {sets: list(series_of(sets)) for sets in (aa, own, *(sets for _, sets in flips)) if sets is not None}
        self._measure(series, profile)
        repeated, sizes = Repeated(spec), defaultdict[Key, list[int]](list)
        for evidence, covered in self._each(aa, series[aa], truths()):
            repeated.add(evidence, covered)
            for pair_and_task, sample in evidence.samples.items():
                sizes[pair_and_task].append(sample.n)
        known = [Known.of(hypothesis, truths().get(hypothesis.measure)) for hypothesis in spec.hypotheses]
        decisions = repeated.decided(known)
        hypotheses, family = decisions.calibrated(distances)
        anew = [] if own is None else [self._resampled(evidence) for evidence, _ in self._each(own, series[own], {})]
        scenarios = [one for one in anew if one is not None]
        scenarios += [self._sign_flipped(planting, sets, series[sets]) for planting, sets in flips]
        self.kept.forget(but={one.name for of_sort in series.values() for one in of_sort})
        return Calibration(
            name=spec.name,
            key=key,
            seed=material.seed,
            repetitions=self.repetitions,
            replicates=spec.statistics.bootstrap.replicates,
            level=decisions.level,
            confidence=spec.statistics.confidence,
            correction=spec.statistics.correction,
            halves=tuple(
                HalvesUsed(
                    pair=pair, task=task, model=source.sample.after.model, prompts=int(np.median(sizes[pair, task]))
                )
                for (pair, task), source in material.sources.items()
            ),
            hypotheses=hypotheses,
            measures=repeated.coverage(truths()),
            family=family,
            scenarios=tuple(scenarios),
            unseen=tuple(unseen(spec, _seen(hypotheses, *(one.hypotheses for one in scenarios)), material.left_out)),
        )

    def _measure(self, series: Mapping[DataSets, Sequence[Series]], profile: Profile | None) -> None:
        """Measure all that is not kept: in this process, or shared out."""
        numbers = {one: sets.numbers(self.repetitions) for sets, every in series.items() for one in every}
        stretches = cut({one: lacking for one, own in numbers.items() if (lacking := self.kept.missing(one, own))})
        total = sum(len(own) for own in {(one.of, one.key): own for one, own in numbers.items()}.values())
        done = max(0, total - sum(len(stretch.numbers) for stretch in stretches))

        def told(what: str, more: int) -> None:
            nonlocal done
            done += more
            self._say(what, min(done, total), total)

        if profile is not None and not profile.alone and len(stretches) > 1:
            share_out(stretches, self.kept, profile, told)
        else:
            for stretch in stretches:
                what = str(stretch)
                told(what, 0)
                compute(stretch, self.kept, partial(told, what, 1))
        self.kept.look()

    def _each(
        self, sets: DataSets, series: Sequence[Series], known: Mapping[str, float | None]
    ) -> Iterator[tuple[Evidence, dict[str, list[bool]]]]:
        """What hypotheses are tested with on each data set; measure -> whether its intervals cover what is `known`."""
        numbers = sets.numbers(self.repetitions)
        for number, found in each(series, self.kept, numbers):
            self._say(f"hypotheses: {sets.name}", number, len(numbers))
            yield evidence_of(sets, sets.shown(number), found), covered_by(found, known)

    def _resampled(self, evidence: Evidence) -> Scenario | None:
        """The study's own prompts, drawn anew, around zero; None where no error is known prompt by prompt."""
        kept, spec = contributing(evidence), self.material.plan.spec
        chosen = about(
            spec,
            lambda one: all((one.measure, pair.name, task.name) in kept for pair, task in cell_weights(spec, one)),
        )
        if not chosen.hypotheses:
            return None
        repeated = Repeated(chosen)
        of = replace(evidence, replicated=kept)
        for repetition in range(self.repetitions):
            self._say("hypotheses: resampled", repetition, self.repetitions)
            repeated.add(resampled(of, seed=self.material.seed, repetition=repetition), {})
        # Estimates are drawn around zero, from which a ceiling is still taken.
        known = [Known.at(hypothesis, 0.0 - hypothesis.ceiling) for hypothesis in chosen.hypotheses]
        hypotheses, family = repeated.decided(known, power=False).calibrated(())
        return Scenario(
            name="resampled",
            description=(
                "The study's own prompts drawn anew with replacement, each with what it contributes to an estimate, "
                "moved to where the null holds: as many prompts as the study has, as skewed, with the same outliers, "
                "and as dependent between pairs. It shows the test, not the bias of an estimate."
            ),
            hypotheses=hypotheses,
            measures=(),
            family=family,
        )

    def _sign_flipped(self, planting: Planting, sets: DataSets, series: Sequence[Series]) -> Scenario:
        """Scores with planted means and the study's own noise, the sign of each prompt's deviation drawn at random."""
        repeated = Repeated(sets.spec)
        for evidence, covered in self._each(sets, series, planting.measures):
            repeated.add(with_derived(evidence, sets.spec), covered)
        known = [Known.at(one, planting.truth(self.material.plan.spec, one)) for one in sets.spec.hypotheses]
        hypotheses, family = repeated.decided(known, power=False).calibrated(())
        return Scenario(
            name=planting.name,
            description=f"{planting.description} {PLANTED}",
            hypotheses=hypotheses,
            measures=repeated.coverage(planting.measures),
            family=family,
        )

    def _say(self, what: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(what, done, total)


def _seen(*of: Sequence[HypothesisCalibration]) -> list[str]:
    return [one.measure for hypotheses in of for one in hypotheses if one.false_positives]
