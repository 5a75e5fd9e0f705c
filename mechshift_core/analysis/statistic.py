"""The statistics of one measure on one pair and task: what they depend on, and how they are computed.

A measure of a spec, or what an intervention left, comes to something on every pair and task, at every inference budget
and under every alternative. Each is computed, kept and shared out by itself; so a changed hypothesis, or one choice
more, computes no other anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from mechshift_core.analysis.measured import Measured, Results
from mechshift_core.analysis.needs import nothing, taken
from mechshift_core.analysis.samples import Sample, read_results
from mechshift_core.execution.cells import content_hash
from mechshift_core.execution.code_version import code_version
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.provenance import package_versions
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds import INTERVENTIONS, MEASURES, Intervention, MeasureKind
from mechshift_core.kinds.checks import RANKS_HAVE_NO_MASS

UNREAD = {
    "name", "title", "seed", "extensions", "models", "pairs", "trajectories", "tasks", "interventions", "hypotheses",
    "sensitivity", "execution", "report",
}  # fmt: skip
"""What of a spec no statistic of one pair and task reads; of the other sections any may be read."""


@dataclass(frozen=True, eq=False)
class Statistic:
    """A measure, or an intervention's results, of one pair and task.

    Attributes:
        plan: The plan, or that of the alternative under which it is computed.
        folder: The run directory.
        failures: Key of a failed cell -> why it failed.
        sample: The pair on the task.
        name: The measure, as in `measures`, or the name of the intervention.
        intervention: The intervention; None of a measure.
        alone: Whether only what hypotheses are tested with is wanted.
    """

    plan: Plan
    folder: RunFolder
    failures: Mapping[str, str]
    sample: Sample
    name: str
    intervention: Intervention | None = None
    alone: bool = False

    def __str__(self) -> str:
        return f"{self.name} of {self.sample.pair.name} on {self.sample.task.name}"

    @property
    def holds(self) -> str:
        """What takes long to read, and others of it need as well: the scores of the pair on the task."""
        return f"{self.sample.pair.name} on {self.sample.task.name} at {self.sample.reading.budget}"

    @cached_property
    def key(self) -> str:
        """Hash of all that it depends on, and of the code that computes it."""
        sample, spec = self.sample, self.plan.spec
        marks, prepared_by = self._marks(), self._prepared_by()
        read = spec.model_dump(mode="json", exclude=None if marks else UNREAD, by_alias=True)
        for unread in ("correction", "mixed_model"):
            read["statistics"].pop(unread, None)
        interventions = list(spec.interventions)
        if not marks:
            read.pop("denoising", None)
        if self.intervention is None and not marks:  # a kind of this package reads its own section
            read["measures"] = {self.name: read["measures"].get(self.name)}
            interventions = [one for one in interventions if one is spec.edge_attribution]
        cells = [
            (cell.key, self.failures.get(cell.key, ""))
            for cell in self.plan.cells
            if prepared_by
            or (
                (cell.of_weights or (cell.task == sample.task.name and cell.budget == sample.reading.budget))
                and cell.model in (sample.pair.before, sample.pair.after)
                and cell.pair in (None, sample.pair.name)
                and self._reads(cell.intervention)
            )
        ]
        content: list[object] = [
            *code_version(),
            _versions(),
            self.name,
            self.alone,
            None if self.intervention is None else self.intervention.model_dump(mode="json"),
            [one.model_dump(mode="json") for one in interventions],
            sorted(self._tested()),
            self.intervention is None and MEASURES[self.name].computes(spec),
            read,
            spec.seed,
            sample.labels(),
            sample.pair.model_dump(mode="json"),
            sample.task.model_dump(mode="json"),
            self.plan.dataset_keys[sample.task.name],
            sample.by,
            [int(side.answers.correct.sum()) for _, side in sample.sides],
            [example.template for example in sample.dataset.examples],
            sample.half_size,
            [sample.ids(side).tolist() for side, _ in sample.sides],
            cells,
            marks,
        ]
        return content_hash(content)[:32]

    def compute(self) -> Measured:
        """Compute it; what breaks is a reason, never an error."""
        if self.intervention is None:
            return _of_scores(MEASURES[self.name], self)
        return _of_results(self.intervention, self)

    def _reads(self, intervention: str) -> bool:
        """Whether it may read the cells of an intervention: the scores of edges, and its own."""
        attribution = self.plan.spec.edge_attribution
        return intervention in (self.name, "" if attribution is None else attribution.name)

    def _tested(self) -> set[str]:
        """Its measures that hypotheses name, where it is computed otherwise for that."""
        if self.intervention is None:
            kind = MEASURES[self.name]
            served = {one.name for one in kind.testables} if kind.asked or self._marks() else set()
        else:
            served = set(INTERVENTIONS[self.intervention.kind].served) if self._marks() else set()
        return served & {str(hypothesis.measure) for hypothesis in self.plan.spec.hypotheses}

    def _marks(self) -> list[str]:
        """Where the kinds come from that decide it and are not of this package."""
        own = MEASURES.marks(self.name) if self.intervention is None else INTERVENTIONS.marks(self.intervention.kind)
        return list(dict.fromkeys([*own, *self._prepared_by()]))

    def _prepared_by(self) -> list[str]:
        """Where the measures come from that prepare samples, all of them together, and are not of this package."""
        preparing = [name for name in self.plan.spec.measures.declared if MEASURES[name].prepared is not None]
        return [mark for name in preparing for mark in MEASURES.marks(name)]


def statistics_of(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    sample: Sample,
    *,
    only: Set[str] | None = None,
) -> Iterator[Statistic]:
    """Every declared measure and intervention of one pair and task; of unrelated models what is measured of these.

    Of a step of a trajectory only what hypotheses can be tested with.

    Args:
        only: Measures of hypotheses; what gives none of them is left out.
    """
    spec = plan.spec
    unrelated, alone = sample.pair.unrelated, only is not None or bool(sample.pair.along)
    for name in spec.measures.declared:
        kind = MEASURES[name]
        if kind.measure is None or (unrelated and not of_unrelated(kind)):
            continue
        if only is None or not only.isdisjoint(one.name for one in kind.testables):
            yield Statistic(plan, folder, failures, sample, name, alone=alone)
    for intervention in spec.interventions:
        of = INTERVENTIONS[intervention.kind]
        if unrelated and not of.of_unrelated:
            continue
        if of.results is not None and (only is None or not only.isdisjoint(of.served)):
            yield Statistic(plan, folder, failures, sample, intervention.name, intervention, alone=alone)


def of_unrelated(kind: MeasureKind[Any]) -> bool:
    """Whether anything of a measure is taken of unrelated pairs."""
    return any(one.unrelated for one in kind.testables)


@cache
def _versions() -> dict[str, str]:
    return package_versions()


def _of_scores(kind: MeasureKind[Any], one: Statistic) -> Measured:
    """What a measure comes to; `alone`: only what hypotheses are tested with."""
    sample, spec = one.sample, one.plan.spec
    names = [each.name for each in kind.testables if not each.derived] if kind.computes(spec) else []
    measure = kind.shifts if one.alone and not kind.thorough and kind.shifts is not None else kind.measure
    assert measure is not None
    ranked = spec.ranks_edges and any(each.of_mass for each in kind.testables)

    def take(few: str) -> Measured:
        reason = few or (RANKS_HAVE_NO_MASS if ranked else "")
        return nothing(sample, spec, names, reason) if reason else measure(sample, spec)

    return taken(kind.name, kind.least, names, sample, spec, take)


def _of_results(intervention: Intervention, one: Statistic) -> Measured:
    sample, spec, kind = one.sample, one.plan.spec, INTERVENTIONS[intervention.kind]
    measure = kind.results
    assert measure is not None

    def take(few: str) -> Measured:
        if few:
            results: Results = {side: few for side, _ in sample.sides}
        else:
            results = read_results(one.plan, one.folder, one.failures, sample, intervention.name)
        return measure(sample, spec, intervention, results)

    names = [name for name in kind.served if kind.computes(name, spec, intervention)]
    return taken(kind.name, kind.least, names, sample, spec, take)
