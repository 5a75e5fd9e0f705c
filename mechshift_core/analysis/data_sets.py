"""The data sets of a calibration, by sort: each has a number, and follows from that and the seed alone.

Nothing of them is kept but what they come to: any process draws any of them again, whichever it drew before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from mechshift_core.analysis.aa_samples import Key, Source, draw, sources
from mechshift_core.analysis.calibratable import Calibratable, needed
from mechshift_core.analysis.derived import prepared
from mechshift_core.analysis.samples import Sample, Samples, collect
from mechshift_core.analysis.sign_flips import LESS_IN_COMMON, NOISIER, Planting, SignFlips
from mechshift_core.execution.cells import content_hash
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import readings
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds import MEASURES
from mechshift_core.spec import Hypothesis, Spec
from stats.minimums import fewest_replicates

REPLICATES = 500
"""Bootstrap replicates of a repetition, unless the spec declares fewer: they are for standard errors alone. Where tests
are by the quantiles of replicates, as many as the spec declares."""


@dataclass(frozen=True, eq=False)
class Material:
    """What the data sets of a calibration are drawn from.

    Attributes:
        plan: The plan that was executed; its spec has fewer bootstrap replicates.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
        seed: Seed of the draws.
        samples: The study's own samples, as its cells give them.
        left_out: The hypotheses of the study that compare inference budgets, of which only one is calibrated.
    """

    plan: Plan
    folder: RunFolder
    failures: Mapping[str, str]
    seed: int
    samples: Samples
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan, folder: RunFolder, failures: Mapping[str, str], seed: int) -> Material:
        """That of a run."""
        decided = about(plan.spec, lambda one: one.budgets is None)
        lean = replace(plan, spec=_with_fewer_replicates(decided))
        samples = collect(lean, folder, failures, readings(lean.spec.denoising)[0])
        left_out = tuple(one.id for one in plan.spec.hypotheses if one not in decided.hypotheses)
        return cls(lean, folder, failures, seed, samples, left_out)

    @cached_property
    def own(self) -> Mapping[Key, Sample]:
        """The study's samples, as the declared measures take them."""
        return prepared(self.samples.by_pair_and_task, self.plan.spec)

    @cached_property
    def sources(self) -> Mapping[Key, Source]:
        """What halves are drawn from."""
        return sources(self.samples)

    def dependence(self, task: str) -> str:
        """A hash of what the halves of a task depend on beside its own cells: the prompts of all pairs there.

        And of all other tasks, where a declared measure prepares all samples together.
        """
        together = any(MEASURES[name].prepared is not None for name in self.plan.spec.measures.declared)
        drawn = [
            (of, source.side, source.pool.tolist(), self.plan.dataset_keys[of])
            for (_, of), source in self.sources.items()
            if together or of == task
        ]
        return content_hash(drawn)


@dataclass(frozen=True, eq=False)
class DataSets:
    """Data sets of one sort.

    Attributes:
        name: The sort.
        material: What they are drawn from.
        spec: The spec, with the hypotheses that are decided on them.
        wanted: What these need, with the pairs and tasks.
        count: How many there are; None for as many as are asked for.
        drawn: Number, pair and task -> the sample; why there is none where it can't be drawn.
        shown: Number -> the samples that findings count prompts of.
        dependence: Task -> a hash of what else a draw depends on.
        apart: Whether the two sides of a sample are halves of one model's prompts.
        planted: Whether scores are planted, so that nothing is there of what interventions leave.
    """

    name: str
    material: Material
    spec: Spec
    wanted: Mapping[tuple[str, Key], Calibratable]
    drawn: Callable[[int, Key], Sample | str]
    shown: Callable[[int], Mapping[Key, Sample]]
    dependence: Callable[[str], str] = lambda _: ""
    count: int | None = None
    apart: bool = False
    planted: bool = False

    def numbers(self, repetitions: int) -> range:
        """The numbers of those that are decided on."""
        return range(repetitions if self.count is None else self.count)

    @property
    def seed(self) -> int:
        """The seed that they follow from, with their numbers; 0 where there is nothing to draw."""
        return self.material.seed if self.count is None else 0

    def lacking(self, entry: Calibratable, key: Key) -> str:
        """Why nothing is measured of a pair and task; empty where something is."""
        return self.material.samples.missing.get(key, "") or (entry.apart if self.apart else "")


def halves(material: Material) -> DataSets:
    """A/A data: two halves of one model's prompts."""
    spec, latest = material.plan.spec, dict[int, Mapping[Key, Sample]]()

    def shown(number: int) -> Mapping[Key, Sample]:
        if number not in latest:
            latest.clear()
            both = draw(material.sources, seed=material.seed, repetition=number)
            latest[number] = prepared(both, spec, at_most=True)
        return latest[number]

    return DataSets(
        "halves",
        material,
        spec,
        needed(spec),
        lambda number, key: shown(number)[key],
        shown,
        material.dependence,
        apart=True,
    )


def as_it_is(material: Material) -> DataSets:
    """The study's own samples, as the only data set."""
    spec, own = material.plan.spec, material.own
    return DataSets("as it is", material, spec, needed(spec), lambda _, key: own[key], lambda _: own, count=1)


def sign_flipped(material: Material, planting: Planting) -> DataSets | None:
    """Scores with planted means and the study's own noise; None where no hypothesis is about them."""
    own, latest = material.own, dict[Key, SignFlips | str]()
    chosen = about(material.plan.spec, planting.concerns)
    wanted = {one: how for one, how in needed(chosen, with_unrelated=True).items() if one[1] in own}
    if not wanted:
        return None

    def drawn(number: int, key: Key) -> Sample | str:
        if key not in latest:
            latest.clear()
            latest[key] = SignFlips.of(own[key], planting)
        flips = latest[key]
        return flips if isinstance(flips, str) else flips.draw(seed=material.seed, repetition=number)

    return DataSets(planting.name, material, chosen, wanted, drawn, lambda _: own, planted=True)


def planted(material: Material) -> list[tuple[Planting, DataSets]]:
    """The sorts with planted means."""
    found = [(planting, sign_flipped(material, planting)) for planting in (NOISIER, LESS_IN_COMMON)]
    return [(planting, sets) for planting, sets in found if sets is not None]


def every_sort(material: Material) -> list[DataSets]:
    """The data sets of a calibration, of each sort."""
    return [halves(material), as_it_is(material), *(sets for _, sets in planted(material))]


def about(spec: Spec, which: Callable[[Hypothesis], bool]) -> Spec:
    """The spec with some of its hypotheses alone."""
    return spec.model_copy(update={"hypotheses": tuple(one for one in spec.hypotheses if which(one))})


def _with_fewer_replicates(spec: Spec) -> Spec:
    declared = spec.statistics.bootstrap
    enough = fewest_replicates(spec.statistics.confidence)
    if declared.method == "percentile":  # a tail has to reach the level after the correction
        enough = declared.replicates
    bootstrap = declared.model_copy(update={"replicates": min(declared.replicates, max(REPLICATES, enough))})
    return spec.model_copy(update={"statistics": spec.statistics.model_copy(update={"bootstrap": bootstrap})})
