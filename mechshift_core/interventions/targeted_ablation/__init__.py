"""Targeted ablation: losing the components of some layers that a model's circuit uses most, beside random groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mechshift_core.graph import components_by_depth
from mechshift_core.interventions.targeted_ablation.section import TargetedAblation
from mechshift_core.interventions.targeted_ablation.tables import TABLES
from mechshift_core.kinds.checks import check_of
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.testable import Least, Testable
from mechshift_core.spec.translate import Complaint
from stats.minimums import FEWEST_FOR_FOLDS

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.hypotheses import Hypothesis
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.tree import Path


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: TargetedAblation) -> None:
    from mechshift_core.interventions.targeted_ablation.cells import execute_targeted

    execute_targeted(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: TargetedAblation, results: Results) -> Measured:
    from mechshift_core.interventions.targeted_ablation.results import measure_targeted

    return measure_targeted(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, own: TargetedAblation, results: Results) -> Measured:
    from mechshift_core.interventions.targeted_ablation.results import measure_targeted_shift

    return measure_targeted_shift(sample, spec, own, results)


def _cost(reads: Reads, own: TargetedAblation) -> Cost:
    sizes = [len(found) for found in components_by_depth(reads.shape).values()]
    groups = sum(size >= own.size for size in sizes) + own.random
    return Cost(reads.inputs, 0, reads.inputs * (1 + groups))


def _check(draft: Draft, own: TargetedAblation, path: Path) -> Iterator[Complaint]:
    return check_of(draft, own.of, (*path, "of"))


def _check_models(own: TargetedAblation, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    counts = {name: len(components_by_depth(one.shape).get(own.layers, ())) for name, one in models.items()}
    name = min(counts, key=lambda one: counts[one])
    if own.size > counts[name]:
        message = (
            f"{own.name!r} knocks out {own.size} components of the {own.layers} layers, but {name!r} has "
            f"{counts[name]}; use a smaller `size`"
        )
        yield Complaint((*path, "size"), message)


def _without_random(draft: Draft, _: Hypothesis, place: Path) -> Iterator[Complaint]:
    for one in draft.spec.interventions:
        if isinstance(one, TargetedAblation) and not one.random:
            message = f"measure 'targeted' compares with random groups, but {one.name!r} has none (`random: 0`)"
            yield Complaint(place, message)


TARGETED_ABLATION = InterventionKind(
    section=TargetedAblation,
    compute=_compute,
    cost=_cost,
    cells=Cells(
        per_pair=True,
        ranks=True,
        of=lambda own: own.of,
        templates=lambda own: own.held_out,
        pads=lambda own: not own.mixes_prompts,
    ),
    least=Least(FEWEST_FOR_FOLDS, "for two of them in each half"),
    results=_results,
    shifts=_shifts,
    testables=(
        Testable(
            name="targeted",
            words="effect of the components aimed at beyond random groups",
            estimand="after-minus-before shift of the metric that the components aimed at cost, beyond random ones",
            reading="higher: the model after depends more on the components aimed at, beyond any group of that size",
            scale="shift in the units of the task's metric; no bounds",
            lower="depends on them less",
            higher="depends on them more",
            per_prompt=True,
            choices=frozenset({"location", "ablation"}),
            truth=0.0,
            checks=_without_random,
        ),
    ),
    tables=TABLES,
    checks=_check,
    checks_models=_check_models,
)
