"""From hypotheses to findings: contrasts of measures over pairs and tasks, tests, the family, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mechshift_core.analysis.estimands import estimand, location
from mechshift_core.analysis.groups import groups_of
from mechshift_core.analysis.halfway import changes_of_noise
from mechshift_core.analysis.measured import Measured, distrust
from mechshift_core.analysis.parts import described, disagreement, intersection_union, split
from mechshift_core.analysis.samples import Sample
from mechshift_core.analysis.step_weights import step_weights
from mechshift_core.analysis.weights import cell_weights, trajectory_weights
from mechshift_core.kinds import TESTS, is_two_sided, testable
from mechshift_core.spec import Hypothesis, PairSpec, Spec, TaskSpec
from mechshift_core.spec.statistics import Statistics
from stats.findings import Finding, Status, Term
from stats.hypothesis_tests import TestResult
from stats.minimums import smallest_p
from stats.multiplicity import benjamini_hochberg, holm
from stats.replicates import Contrast, Replicated, combined, linear_contrast
from stats.verdicts import claim_verdict

CORRECTIONS: dict[str, Callable[[list[float | None]], list[float | None]]] = {
    "holm": holm,
    "benjamini-hochberg": benjamini_hochberg,
    "none": list,
}
"""Correction within the family -> what adjusts its p-values."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of pairs and tasks.

    Attributes:
        replicated: Every measured quantity by (measure, pair, task).
        problems: Why others have none.
        samples: The prompts by (pair, task).
        failed: Those that broke.
        at_budgets: The quantities at either of two inference budgets, where `replicated` are their differences.
    """

    replicated: Mapping[tuple[str, str, str], Replicated]
    problems: Mapping[tuple[str, str, str], str]
    samples: Mapping[tuple[str, str], Sample]
    failed: frozenset[tuple[str, str, str]] = frozenset()
    at_budgets: tuple[Mapping[tuple[str, str, str], Replicated], ...] = ()

    def with_measured(self, key: tuple[str, str], measured: Measured) -> Evidence:
        """This evidence and what was measured of a pair and task, which takes the place of what there is of it."""
        found = {(name, *key): value for name, value in measured.replicated.items()}
        lacking = {(name, *key): reason for name, reason in measured.problems.items()}
        kept = {name: value for name, value in self.replicated.items() if name not in lacking}
        failed = self.failed - found.keys() - lacking.keys() | (lacking.keys() if measured.failed else set())
        return replace(
            self, replicated={**kept, **found}, problems={**self.problems, **lacking}, failed=frozenset(failed)
        )


def test_hypotheses(
    spec: Spec, evidence: Evidence, *, dropped: int = 0, differences: Mapping[tuple[str, str], Evidence] | None = None
) -> tuple[Finding, ...]:
    """One finding per hypothesis; p-values are corrected within the family of all that could be tested.

    So are those of the opposite claims, by which hypotheses are refuted: they are a family of their own.

    Args:
        dropped: Hypotheses that were declared once and are no more: they stay in both families, as if p were 1.
        differences: The evidence of each two inference budgets that hypotheses compare.
    """
    drafts = [
        _drafted(spec, hypothesis, _evidence(hypothesis, evidence, differences or {})) for hypothesis in spec.hypotheses
    ]
    correct = CORRECTIONS[spec.statistics.correction]
    own, opposite = (
        correct([*raw, *[1.0] * dropped])[: len(drafts)]
        for raw in ([draft.p for draft in drafts], [draft.p_opposite for draft in drafts])
    )
    family = sum(draft.p is not None for draft in drafts) + dropped
    corrected = [
        replace(draft, p_corrected=p, p_opposite_corrected=other, family_size=family)
        for draft, p, other in zip(drafts, own, opposite, strict=True)
    ]
    return tuple(_judge(spec, _out_of_reach(spec, finding)) for finding in corrected)


test_hypotheses.__test__ = False  # type: ignore[attr-defined]  # no test case of pytest


def _evidence(hypothesis: Hypothesis, evidence: Evidence, differences: Mapping[tuple[str, str], Evidence]) -> Evidence:
    """What a hypothesis is decided on: the evidence of a difference, where it compares inference budgets."""
    if hypothesis.budgets is None:
        return evidence
    if hypothesis.budgets in differences:
        return differences[hypothesis.budgets]
    reason = "inference budgets are compared on the study's own results and choices alone"
    problems = {(str(hypothesis.measure), *key): reason for key in evidence.samples}
    return replace(evidence, replicated={}, problems=problems, failed=frozenset())


def _drafted(spec: Spec, hypothesis: Hypothesis, evidence: Evidence) -> Finding:
    """The draft of a finding; one whose test breaks has failed and leaves the others as they are."""
    try:
        return _draft(spec, hypothesis, evidence)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _finding(spec, hypothesis, (), None, status="failed", message=reason)


def _draft(spec: Spec, hypothesis: Hypothesis, evidence: Evidence) -> Finding:
    weights = cell_weights(spec, hypothesis)
    measure = hypothesis.measure
    keys = [(measure, pair.name, task.name) for pair, task in weights]
    parts = [evidence.replicated.get(key) for key in keys]
    terms = tuple(
        Term(
            pair=pair.name,
            role=pair.role,
            seed=pair.seed,
            task=task.name,
            regime=task.regime,
            weight=weight,
            estimate=None if part is None else part.estimate,
            n=0 if part is None else evidence.samples[pair.name, task.name].n,
        )
        for ((pair, task), weight), part in zip(weights.items(), parts, strict=True)
    )
    groups = groups_of(spec, hypothesis, evidence.replicated, evidence.at_budgets)
    contrast, templates = contrast_of(spec, hypothesis, evidence), _templates(evidence, list(weights))
    if contrast is None:
        reasons = [
            f"{pair} on {task}: {evidence.problems.get((measure, pair, task), 'no estimate')}"
            for (_, pair, task), part in zip(keys, parts, strict=True)
            if part is None
        ]
        broken = any(key in evidence.failed or key[1:] not in evidence.samples for key in keys)
        status: Status = "failed" if broken else "undefined"
        message = "; ".join(reasons)
        drafted = _finding(spec, hypothesis, terms, None, status=status, message=message, templates=templates)
        return replace(drafted, groups=groups)
    noise = changes_of_noise(spec, hypothesis, evidence)
    if noise:
        drafted = _finding(
            spec, hypothesis, terms, None, status="undefined", message="; ".join(noise), templates=templates
        )
        return replace(drafted, groups=groups)
    result = apply_test(hypothesis, contrast, spec.statistics)
    results = _parts(spec, hypothesis, evidence)
    if hypothesis.every is not None:
        result = intersection_union(result, results)
    alone = described(hypothesis.every or "task", results)
    warning = disagreement(hypothesis, alone, null_value(hypothesis))
    untrusted = _untrusted(spec, hypothesis, contrast, evidence)
    message = "; ".join(filter(None, (contrast.message or result.message, warning, *untrusted)))
    drafted = _finding(spec, hypothesis, terms, result, status=result.status, message=message, templates=templates)
    return replace(drafted, parts=alone, groups=groups)


def _templates(evidence: Evidence, members: Sequence[tuple[PairSpec, TaskSpec]]) -> int:
    """Templates of all tasks, of the pair with the fewest on each; 0 where no data set has several."""
    counts: dict[str, list[int | None]] = {}
    for pair, task in members:
        if (pair.name, task.name) in evidence.samples:
            counts.setdefault(task.name, []).append(evidence.samples[pair.name, task.name].template_count)
    if all(count is None for found in counts.values() for count in found):
        return 0
    return sum(min(1 if count is None else count for count in found) for found in counts.values())


def _untrusted(spec: Spec, hypothesis: Hypothesis, contrast: Contrast, evidence: Evidence) -> list[str]:
    """What speaks against the intervals that decide a hypothesis on a mean of per-prompt values."""
    if not testable(hypothesis.measure).per_prompt:
        return []
    by_template = spec.statistics.units.template == "random"
    if hypothesis.every is None:
        return [distrust(by_template, contrast)]
    parts = {level: contrast_of(spec, part, evidence) for level, part in split(spec, hypothesis).items()}
    said = {level: distrust(by_template, part) for level, part in parts.items() if part is not None}
    return [f"{hypothesis.every} {level}: {words}" for level, words in said.items() if words]


def _parts(spec: Spec, hypothesis: Hypothesis, evidence: Evidence) -> dict[str, TestResult]:
    """The test on each task or regime alone, where there are several; all of them have what the whole has."""
    found = {}
    for level, part in split(spec, hypothesis).items():
        contrast = contrast_of(spec, part, evidence)
        if contrast is not None:
            found[level] = apply_test(part, contrast, spec.statistics)
    return found


def decided_on(spec: Spec, hypothesis: Hypothesis, evidence: Evidence) -> tuple[Contrast, ...] | None:
    """The contrasts that decide a hypothesis: one, or that of each part; None where one has no estimate."""
    parts = split(spec, hypothesis).values() if hypothesis.every is not None else [hypothesis]
    found = [contrast_of(spec, part, evidence) for part in parts]
    known = tuple(one for one in found if one is not None)
    return known if len(known) == len(found) else None


def contrast_of(spec: Spec, hypothesis: Hypothesis, evidence: Evidence) -> Contrast | None:
    """What a hypothesis is decided on; None where a pair and task that it needs has no estimate."""
    weights = cell_weights(spec, hypothesis)
    parts = [evidence.replicated.get((hypothesis.measure, pair.name, task.name)) for pair, task in weights]
    present = [part for part in parts if part is not None]
    if len(present) < len(parts):
        return None
    over_seeds = spec.statistics.units.seed == "random"
    if over_seeds and hypothesis.along is not None:
        return _below(_over_trajectories(spec, hypothesis, evidence), hypothesis.ceiling)
    contrast = linear_contrast(
        present,
        list(weights.values()),
        [task.name for _, task in weights],
        seeds=[pair.seed for pair, _ in weights] if over_seeds else None,
        cells=[pair.role for pair, _ in weights],
    )
    return _below(contrast, hypothesis.ceiling)


def _over_trajectories(spec: Spec, hypothesis: Hypothesis, evidence: Evidence) -> Contrast:
    """The contrast over prompts and seeds: a trajectory is one observation over seeds, wherever its steps are."""
    weights = trajectory_weights(spec, hypothesis)
    parts = []
    for trajectory, task in weights:
        steps = step_weights(hypothesis, trajectory)
        found = [evidence.replicated[hypothesis.measure, step.name, task.name] for step in steps]
        label = f"{hypothesis.measure} along {trajectory.name} on {task.name}"
        parts.append(combined(found, list(steps.values()), label=label))
    return linear_contrast(
        parts,
        list(weights.values()),
        [task.name for _, task in weights],
        seeds=[trajectory.seed for trajectory, _ in weights],
        cells=[trajectory.role for trajectory, _ in weights],
    )


def _below(contrast: Contrast, ceiling: float) -> Contrast:
    """The contrast with the ceiling subtracted."""
    if not ceiling:
        return contrast
    drawn = None if contrast.replicates is None else contrast.replicates - ceiling
    return replace(contrast, estimate=contrast.estimate - ceiling, replicates=drawn)


def apply_test(hypothesis: Hypothesis, contrast: Contrast, statistics: Statistics) -> TestResult:
    """The test that a hypothesis declares, of a contrast."""
    return TESTS[hypothesis.test.kind].decide(hypothesis.test, contrast, statistics)


def _out_of_reach(spec: Spec, finding: Finding) -> Finding:
    """The finding; with a message where so few replicates can't give a p-value at the level."""
    statistics = spec.statistics
    if not statistics.by_quantiles or finding.p is None:
        return finding
    smallest = smallest_p(
        statistics.bootstrap.replicates,
        two_sided=is_two_sided(finding.test, finding.alternative),
        family=finding.family_size if statistics.correction == "holm" else 1,
    )
    level = 1 - statistics.confidence
    if smallest <= level + 1e-12:
        return finding
    reason = (
        f"the level {level:.3g} can't be reached with {statistics.bootstrap.replicates} replicates: the smallest p is "
        f"{smallest:.3g} after the correction"
    )
    return replace(finding, message="; ".join(filter(None, (finding.message, reason))))


def _finding(
    spec: Spec,
    hypothesis: Hypothesis,
    terms: tuple[Term, ...],
    result: TestResult | None,
    *,
    status: Status,
    message: str,
    templates: int = 0,
) -> Finding:
    units = spec.statistics.units
    by_template, over_seeds = units.template == "random", units.seed == "random"
    drawn = ("templates with all of their prompts" if by_template else "prompts") + " and training seeds" * over_seeds
    prompts = {term.task: min(other.n for other in terms if other.task == term.task) for term in terms}
    seeds = {term.seed for term in terms}
    found = f"{location(spec, hypothesis.measure)}s" if location(spec, hypothesis.measure) else ""
    return Finding(
        id=hypothesis.id,
        claim=hypothesis.claim,
        measure=hypothesis.measure,
        estimand=estimand(spec, hypothesis),
        test=hypothesis.test.kind,
        alternative=TESTS[hypothesis.test.kind].claim or hypothesis.test.alternative,
        margin=hypothesis.test.margin,
        estimate=None if result is None else result.estimate,
        se=None if result is None else result.se,
        low=None if result is None else result.low,
        high=None if result is None else result.high,
        confidence=spec.statistics.confidence,
        statistic=None if result is None else result.statistic,
        df=None if result is None else result.df,
        p=None if result is None else result.p,
        p_corrected=None,
        correction=spec.statistics.correction,
        family_size=0,
        n={
            "prompt": sum(prompts.values()),
            **({"template": templates} if templates else {}),
            "task": len(prompts),
            "seed": len(seeds),
        },
        method=f"contrast of {found or 'replicates'} over {drawn}; " + ("no test" if result is None else result.method),
        seed=spec.seed,
        verdict="not estimable",
        status=status,
        message=message,
        terms=terms,
        null=null_value(hypothesis),
        p_opposite=None if result is None else result.p_opposite,
        inner_low=None if result is None else result.inner_low,
        inner_high=None if result is None else result.inner_high,
        every=hypothesis.every or "",
        along=_along(hypothesis),
        witness_of=hypothesis.witness_of or "",
        location=location(spec, hypothesis.measure),
    )


def _along(hypothesis: Hypothesis) -> str:
    """What of a trajectory is estimated, in words before "of the measure"; empty where it is about pairs."""
    if hypothesis.along is None:
        return ""
    at = 0.0 if hypothesis.along.at is None else hypothesis.along.at
    return {"trend": "trend", "value": f"value at {at:g}", "halfway": f"value at {at:g}, less the mean of both ends,"}[
        hypothesis.along.quantity
    ]


def null_value(hypothesis: Hypothesis) -> float:
    """The value that the estimate is tested against; zero where that is a range around it."""
    nulls = TESTS[hypothesis.test.kind].nulls(hypothesis.test)
    return nulls[0] if len(nulls) == 1 else 0.0


def _judge(spec: Spec, finding: Finding) -> Finding:
    alpha = 1 - spec.statistics.confidence
    verdict = claim_verdict(
        p=finding.p_corrected, p_opposite=finding.p_opposite_corrected, alpha=alpha, status=finding.status
    )
    return replace(finding, verdict=verdict)
