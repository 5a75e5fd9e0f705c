"""What the analysis of a run needs: its samples and statistics, at every inference budget and under every choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from mechshift_core.analysis.derived import derived_of, prepared
from mechshift_core.analysis.samples import Sample, Samples, collect
from mechshift_core.analysis.statistic import Statistic, statistics_of
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.reading import Reading, readings
from mechshift_core.execution.store import RunFolder
from mechshift_core.spec.sensitivity import Choice

Key = tuple[str, str]
"""Pair and task."""


@dataclass(frozen=True, eq=False, slots=True)
class Listed:
    """What is needed at one inference budget, or under one choice.

    Attributes:
        plan: The plan, or that under the choice.
        reading: The inference budget.
        samples: The samples, as the declared measures take them.
        statistics: Pair and task -> what is computed of it; under a choice only what that can change.
        choice: The choice; None at a budget.
    """

    plan: Plan
    reading: Reading
    samples: Samples
    statistics: Mapping[Key, tuple[Statistic, ...]]
    choice: Choice | None = None


def listed(plan: Plan, folder: RunFolder, failures: Mapping[str, str]) -> tuple[list[Listed], list[Listed]]:
    """What a run's analysis needs: at its budgets, and under its choices.

    Args:
        plan: The plan that was executed.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
    """

    def needed(plan: Plan, reading: Reading, samples: Samples, choice: Choice | None, only: Set[str] | None) -> Listed:
        skipped = only is not None and not only
        statistics = {
            key: tuple(statistics_of(plan, folder, failures, sample, only=only))
            for key, sample in samples.by_pair_and_task.items()
            if not skipped
        }
        return Listed(plan, reading, samples, statistics, choice)

    def collected(plan: Plan, reading: Reading) -> Samples:
        samples = collect(plan, folder, failures, reading, along=True)
        found: dict[Key, Sample] = {}
        for steps in (False, True):  # a trajectory may leave fewer prompts than the pairs, which are as without it
            own = {key: one for key, one in samples.by_pair_and_task.items() if bool(one.pair.along) is steps}
            found |= prepared(own, plan.spec)
        return Samples(found, samples.missing)

    budgets = [needed(plan, reading, collected(plan, reading), None, None) for reading in readings(plan.spec.denoising)]
    choices = []
    for choice, under in plan.alternatives:
        primary = readings(under.spec.denoising)[0]
        samples = collected(under, primary) if choice.rescored else budgets[0].samples
        choices.append(needed(under, primary, samples, choice, changed(under, choice)))
    return budgets, choices


def every_statistic(plan: Plan, folder: RunFolder, failures: Mapping[str, str]) -> Iterator[Statistic]:
    """All statistics that the analysis of a run needs; see :func:`listed`."""
    for parts in listed(plan, folder, failures):
        for part in parts:
            for statistics in part.statistics.values():
                yield from statistics


def changed(plan: Plan, choice: Choice) -> frozenset[str]:
    """The measures of hypotheses that are measured again under an alternative."""
    tested: set[str] = {hypothesis.measure for hypothesis in plan.spec.hypotheses}
    tested |= {derived.of for derived in derived_of(plan.spec) if derived.measure in tested}
    if choice.name == "interval":
        return frozenset()
    return frozenset(tested if choice.measures is None else tested & choice.measures)
