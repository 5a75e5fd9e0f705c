"""From stored cells to tables and findings; needs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import polars as pl

from mechshift_core.analysis.budgets import AtBudget, Comparison
from mechshift_core.analysis.derived import derived_of, with_derived
from mechshift_core.analysis.elsewhere import share_out
from mechshift_core.analysis.hypotheses import Evidence, test_hypotheses
from mechshift_core.analysis.kept import Kept
from mechshift_core.analysis.listing import Listed, listed
from mechshift_core.analysis.measured import Measured, Rows
from mechshift_core.analysis.mixed import fit_shift_models
from mechshift_core.analysis.needs import described
from mechshift_core.analysis.samples import Sample, Samples
from mechshift_core.analysis.steps import Steps
from mechshift_core.analysis.trajectories import trajectory_rows
from mechshift_core.errors import ExecutionError
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.profiles import Profile
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds import INTERVENTIONS, MEASURES, Derived, testables
from mechshift_core.kinds.measure import Together
from mechshift_core.progress import Progress
from mechshift_core.spec import Spec
from mechshift_core.spec.sensitivity import Choice
from mechshift_core.tables import SHARED, frame, tables
from stats.findings import Alternative, Declaration, Estimate, Finding, Findings

T = TypeVar("T")
NO_ROWS: Mapping[str, Any] = {}
"""By table, of what broke."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that the statistics make of a run; `failures` says what of it broke, one line each."""

    findings: Findings
    tables: Mapping[str, pl.DataFrame]
    samples: Samples
    failures: tuple[str, ...] = ()


def analyse(
    plan: Plan,
    folder: RunFolder,
    failures: Mapping[str, str],
    *,
    declaration: Declaration | None = None,
    profile: Profile | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Compute every declared measure for every pair and task, and test the hypotheses.

    Args:
        plan: The plan that was executed.
        folder: Its run directory.
        failures: Key of a failed cell -> why it failed.
        declaration: When the hypotheses were declared.
        profile: How to run; in this process alone unless given.
        progress: Called with (what is being computed, steps done, steps in all).
    """
    spec, declared = plan.spec, declaration or Declaration()
    dropped = len(declared.dropped)
    broken: dict[str, None] = {}
    kept = Kept(folder)
    at_budgets, under_choices = listed(plan, folder, failures)
    statistics = [
        one for each in (*at_budgets, *under_choices) for of_sample in each.statistics.values() for one in of_sample
    ]
    if profile is not None and not profile.alone:
        with suppress(ExecutionError):  # workers that are lost: what is missing is computed here
            share_out(statistics, kept, profile, progress=progress)
    steps = Steps(progress, _step_count(at_budgets, under_choices))
    undecided = [_analyse_budget(needed, folder, kept, steps, broken) for needed in at_budgets]
    found_at = {
        part.budget: AtBudget(needed, part.evidence) for needed, part in zip(at_budgets, undecided, strict=True)
    }
    comparison = Comparison(folder, failures, found_at, kept.of)
    none: dict[tuple[str, str], Evidence] = {}
    differences = _kept(broken, "comparison of budgets", partial(comparison.differences, spec), none)
    statistics += comparison.statistics
    parts = [_decided(part, spec, differences, broken, dropped) for part in undecided]
    primary, *others = parts
    budgets = [
        Alternative(choice="denoising", value=part.budget, hypotheses=part.hypotheses, estimates=part.estimates)
        for part in others
    ]
    chosen = []
    for needed in under_choices:
        assert needed.choice is not None
        steps.begin(f"hypotheses under {needed.choice.name} {needed.choice.value}")
        chosen.append(_reconsidered(needed, needed.choice, folder, primary, kept, broken, dropped))
    findings = Findings(
        name=spec.name,
        hypotheses=primary.hypotheses,
        estimates=primary.estimates,
        alternatives=(*budgets, *chosen),
        declaration=declared,
    )
    found = {name: pl.concat([frame(name, []), *(part.tables[name] for part in parts)]) for name in tables()}
    for intervention in spec.interventions:
        rows_of = INTERVENTIONS[intervention.kind].listed
        if rows_of is not None:
            make = partial(rows_of, plan, folder, failures, intervention)
            rows = _kept(broken, f"cells of {intervention.name}", make, NO_ROWS)
            found |= {name: frame(name, of_table) for name, of_table in rows.items()}
    kept.forget(but=frozenset(one.key for one in statistics))
    return Analysis(findings, found, primary.samples.declared, tuple(broken))


@dataclass(frozen=True, eq=False)
class _Part:
    """What the statistics make of one inference budget."""

    budget: str
    hypotheses: tuple[Finding, ...]
    estimates: tuple[Estimate, ...]
    tables: Mapping[str, pl.DataFrame]
    samples: Samples
    evidence: Evidence


def _step_count(at_budgets: Sequence[Listed], under_choices: Sequence[Listed]) -> int:
    """Statistics at every budget, trajectories and hypotheses at each, and alternatives."""
    return sum(2 + sum(map(len, needed.statistics.values())) for needed in at_budgets) + len(under_choices)


def _analyse_budget(needed: Listed, folder: RunFolder, kept: Kept, steps: Steps, broken: dict[str, None]) -> _Part:
    """All but the hypotheses, some of which compare budgets."""
    spec, samples, reading = needed.plan.spec, needed.samples, needed.reading
    names = tables()
    rows: dict[str, Rows] = {name: [] for name in names}
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in names}
    estimates: list[Estimate] = []
    evidence = Evidence({}, {}, samples.by_pair_and_task)
    for key, sample in samples.by_pair_and_task.items():
        rows["examples"] += [] if sample.pair.along else _example_rows(sample)
        for name, make in () if sample.pair.along else _frames(spec):
            drawn = _kept(broken, f"{name} of {key[0]} on {key[1]}", partial(make, sample), NO_ROWS)
            for table, parts in drawn.items():
                frames[table] += parts
        for one in needed.statistics[key]:
            steps.begin(str(one))
            measured = kept.of(one)
            _note(broken, folder, measured)
            if not sample.pair.along:
                for table, more in measured.rows.items():
                    rows[table] += more
                estimates += measured.estimates
            evidence = evidence.with_measured(key, measured)
    evidence = _with_missing(evidence, samples)
    for derived in derived_of(spec):
        made = _kept(broken, derived.measure, partial(_together, derived, evidence, spec, rows), Together(evidence))
        rows |= made.rows
        estimates += made.estimates
        evidence = made.evidence
    steps.begin("trajectories")
    rows |= _kept(broken, "trajectories", lambda: trajectory_rows(spec, evidence), NO_ROWS)
    steps.begin("hypotheses")
    for table, more in _kept(
        broken, "mixed models", lambda: fit_shift_models(_related(samples.declared), spec), NO_ROWS
    ).items():
        rows[table] = [{"budget": reading.budget, **row} for row in more]
    for name in spec.measures.declared:
        tabled = MEASURES[name].tabled
        if tabled is not None:
            rows |= _kept(broken, f"{name} of all tasks", partial(tabled, samples.declared, spec), NO_ROWS)
    whole = {name: pl.concat([frame(name, rows[name]), *frames[name]]) for name in names}
    return _Part(reading.budget, (), tuple(estimates), whole, samples, evidence)


def _decided(
    part: _Part,
    spec: Spec,
    differences: Mapping[tuple[str, str], Evidence],
    broken: dict[str, None],
    dropped: int,
) -> _Part:
    """The part with its hypotheses, given the evidence of each two budgets that some of them compare."""
    hypotheses = _tested(spec, part.evidence, broken, dropped, differences)
    columns = SHARED["findings"]
    rows: Rows = [
        {name: value for name, value in asdict(finding).items() if name in columns} | {"budget": part.budget}
        for finding in hypotheses
    ]
    return replace(part, hypotheses=hypotheses, tables={**part.tables, "findings": frame("findings", rows)})


def _frames(spec: Spec) -> Iterator[tuple[str, Callable[[Sample], Mapping[str, Sequence[pl.DataFrame]]]]]:
    """What draws up tables of a sample's own scores, by the name of its intervention."""
    for intervention in spec.interventions:
        frames = INTERVENTIONS[intervention.kind].frames
        if frames is not None:
            yield intervention.name, frames


def _related(samples: Samples) -> Samples:
    """The samples without those of unrelated pairs, which are no shift of a model."""
    related = {key: one for key, one in samples.by_pair_and_task.items() if not one.pair.unrelated}
    return Samples(related, samples.missing)


def _with_missing(evidence: Evidence, samples: Samples) -> Evidence:
    """Why the pairs and tasks without a sample have no measure."""
    names = [one.name for one, _ in testables() if not one.derived]
    lacking = {(name, *key): reason for key, reason in samples.missing.items() for name in names}
    return replace(evidence, problems={**evidence.problems, **lacking})


def _reconsidered(
    needed: Listed,
    choice: Choice,
    folder: RunFolder,
    primary: _Part,
    kept: Kept,
    broken: dict[str, None],
    dropped: int,
) -> Alternative:
    """The hypotheses under another choice: what it can change is measured again, the rest is the study's own."""
    spec, samples, evidence = needed.plan.spec, needed.samples, primary.evidence
    if choice.rescored:
        evidence = _with_missing(Evidence({}, {}, samples.by_pair_and_task), samples)
    estimates: list[Estimate] = []
    for key, statistics in needed.statistics.items():
        for measured in map(kept.of, statistics):
            _note(broken, folder, measured, f"{choice.name} {choice.value}: ")
            estimates += () if samples.by_pair_and_task[key].pair.along else measured.estimates
            evidence = evidence.with_measured(key, measured)
    hypotheses = _tested(spec, with_derived(evidence, spec), broken, dropped)
    return Alternative(choice=choice.name, value=choice.value, hypotheses=hypotheses, estimates=tuple(estimates))


def _note(broken: dict[str, None], folder: RunFolder, measured: Measured, before: str = "") -> None:
    """Keep what failed, once."""
    if measured.failed and f"{before}{measured.failed}" not in broken:
        broken[f"{before}{measured.failed}"] = None
        folder.log("failed", what=f"{before}{measured.failed}")


def _kept(broken: dict[str, None], what: str, make: Callable[[], T], instead: T) -> T:
    """What is made; something else where that breaks, which is kept."""
    try:
        return make()
    except Exception as error:
        broken[f"{what}: {described(error)}"] = None
        return instead


def _together(derived: Derived, evidence: Evidence, spec: Spec, rows: Mapping[str, Rows]) -> Together:
    """What a derived measure comes to, with its estimates made."""
    found = derived.compute(evidence, spec, rows)
    return replace(found, estimates=tuple(found.estimates))


def _tested(
    spec: Spec,
    evidence: Evidence,
    broken: dict[str, None],
    dropped: int,
    differences: Mapping[tuple[str, str], Evidence] | None = None,
) -> tuple[Finding, ...]:
    """The findings; a test that breaks is kept as a failure, as the finding says too."""
    found = test_hypotheses(spec, evidence, dropped=dropped, differences=differences)
    for finding in found:
        if finding.status == "failed" and not finding.terms:
            broken[f"hypothesis {finding.id}: {finding.message}"] = None
    return found


def _example_rows(sample: Sample) -> Rows:
    rows: Rows = []
    for name, side in sample.sides:
        selected = np.isin(np.arange(sample.total), sample.ids(name))
        preferred = side.answers.metric
        for number, example in enumerate(sample.dataset.examples):
            rows.append(
                {
                    **sample.labels(),
                    "model": side.model,
                    "side": name,
                    "template": example.template,
                    "example": number,
                    "clean": example.clean,
                    "corrupt": example.corrupt,
                    "answer": example.answer,
                    "foil": example.foil,
                    "masks": int(side.answers.masks[number]),
                    "states": int(side.answers.states[number]),
                    "clean_metric": float(side.answers.clean_metric[number]),
                    "corrupt_metric": float(side.answers.corrupt_metric[number]),
                    "correct": bool(side.answers.correct[number]),
                    "correct_by_metric": None if preferred is None else bool(preferred[number]),
                    "correct_by_argmax": bool(side.answers.argmax[number]),
                    "selected": bool(selected[number]),
                }
            )
    return rows
