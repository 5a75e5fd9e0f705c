"""Hypotheses that compare inference budgets: each pair and task at one minus the same at the other.

Both are taken on the same prompts: those that are selected at both. Otherwise a difference between two denoising steps
would also be one between prompts: those whose answer comes late are the only ones that have late steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mechshift_core.analysis.derived import prepared
from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.analysis.listing import Listed
from mechshift_core.analysis.measured import Measured
from mechshift_core.analysis.samples import Sample
from mechshift_core.analysis.statistic import Statistic, statistics_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds import INTERVENTIONS, server, testable
from mechshift_core.spec import Spec
from stats.replicates import paired_difference

Budgets = tuple[str, str]
Key = tuple[str, str]
"""Pair and task."""


@dataclass(frozen=True, eq=False, slots=True)
class AtBudget:
    """What there is of a run at one inference budget: what is needed, and the evidence that it came to."""

    needed: Listed
    evidence: Evidence


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """Compares budgets.

    Attributes:
        folder: The run directory.
        failures: Key of a failed cell -> why it failed.
        at: Budget -> what there is at it.
        measure: Computes a statistic.
        statistics: Receives what is computed on fewer prompts than the study's own.
    """

    folder: RunFolder
    failures: Mapping[str, str]
    at: Mapping[str, AtBudget]
    measure: Callable[[Statistic], Measured]
    statistics: list[Statistic] = field(default_factory=list)

    def differences(self, spec: Spec) -> dict[Budgets, Evidence]:
        """The evidence of each two budgets that hypotheses compare."""
        wanted: dict[Budgets, list[str]] = {}
        for hypothesis in spec.hypotheses:
            if hypothesis.budgets is not None:
                wanted.setdefault(hypothesis.budgets, []).append(hypothesis.measure)
        return {budgets: self._difference(budgets, list(dict.fromkeys(names))) for budgets, names in wanted.items()}

    def _difference(self, budgets: Budgets, measures: Sequence[str]) -> Evidence:
        first, second = (self.at[name] for name in budgets)
        keys = [key for key in first.evidence.samples if key in second.evidence.samples]
        common = {key: shared(first.evidence.samples[key], second.evidence.samples[key]) for key in keys}
        known = [
            self._on(one, {key: both[place] for key, both in common.items() if not isinstance(both, str)}, measures)
            for place, one in enumerate((first, second))
        ]
        sides = tuple(one.replicated for one in known)
        found = replace(known[0], replicated={}, problems={}, at_budgets=sides)
        for key, measure in ((key, measure) for key in keys for measure in measures):
            name, both = (measure, *key), common[key]
            lacking = both if isinstance(both, str) else _lacking(budgets, known, name)
            if lacking:
                found = replace(found, problems={**found.problems, name: lacking})
            else:
                made = paired_difference(known[0].replicated[name], known[1].replicated[name])
                found = replace(found, replicated={**found.replicated, name: made})
        return replace(found, failed=known[0].failed | known[1].failed)

    def _on(self, one: AtBudget, samples: Mapping[Key, Sample], measures: Sequence[str]) -> Evidence:
        """The evidence on some of the prompts, where these are not all that the study has at the budget."""
        same = {key for key, sample in samples.items() if sample.n == one.evidence.samples[key].n}
        plan = one.needed.plan
        fewer = {key: sample for key, sample in samples.items() if key not in same}
        fewer = prepared(fewer, plan.spec, at_most=True) if fewer else fewer
        found = replace(one.evidence, samples={**one.evidence.samples, **samples, **fewer})
        for key, sample in fewer.items():
            apart = {name: reason for name in measures if (reason := _unmeasurable(plan.spec, name))}
            own = set(measures) - apart.keys()
            found = replace(found, replicated={n: v for n, v in found.replicated.items() if n[1:] != key})
            found = found.with_measured(key, Measured(problems=apart))
            for statistic in statistics_of(plan, self.folder, self.failures, sample, only=own) if own else ():
                self.statistics.append(statistic)
                found = found.with_measured(key, self.measure(statistic))
        return found


def shared(first: Sample, second: Sample) -> tuple[Sample, Sample] | str:
    """The samples at two budgets on the prompts that both have; why there is none."""
    if first.selected_after is not None or second.selected_after is not None:
        same = all(np.array_equal(first.ids(side), second.ids(side)) for side in ("before", "after"))
        return (first, second) if same else "halves of the prompts are drawn anew at each budget: they are not the same"
    common = np.intersect1d(first.selected, second.selected)
    return tuple(  # type: ignore[return-value]
        one if len(common) == one.n else replace(one, selected=common, known={}) for one in (first, second)
    )


def _lacking(budgets: Iterable[str], known: Sequence[Evidence], name: tuple[str, str, str]) -> str:
    return "; ".join(
        f"at {budget!r}: {one.problems.get(name, 'no estimate')}"
        for budget, one in zip(budgets, known, strict=True)
        if name not in one.replicated
    )


def _unmeasurable(spec: Spec, measure: str) -> str:
    """Why a measure can't be taken of fewer prompts than its cells are of; empty where it can."""
    intervention = server(spec, measure)
    if intervention is not None and INTERVENTIONS[intervention.kind].cells.per_pair:
        return (
            f"the prompts at the two budgets are not the same, and {intervention.name!r} was run on those of each: "
            "compare budgets that all prompts have, with `select: {correct: none}`"
        )
    if testable(measure).derived:
        return "it is computed of all pairs together, on the prompts of one budget"
    return ""
