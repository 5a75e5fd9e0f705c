"""The logit lens: what each component's output says about the answer; and the measure of how sharply it says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mechshift_core.interventions.logit_lens.alignment_section import Alignment
from mechshift_core.interventions.logit_lens.section import LogitLens
from mechshift_core.interventions.logit_lens.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.measure import MeasureKind
from mechshift_core.kinds.testable import ONE, Testable
from mechshift_core.spec.translate import Complaint

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.hypotheses import Hypothesis
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.tree import Path


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, _: LogitLens) -> None:
    from mechshift_core.interventions.logit_lens.cells import execute_lens

    execute_lens(plan, cell, model, folder)


def _results(sample: Sample, spec: Spec, own: LogitLens, results: Results) -> Measured:
    from mechshift_core.interventions.logit_lens.results import measure_lens

    return measure_lens(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, _: LogitLens, results: Results) -> Measured:
    from mechshift_core.interventions.logit_lens.results import measure_lens_shift

    return measure_lens_shift(sample, spec, results)


def _cost(reads: Reads, _: LogitLens) -> Cost:
    return Cost(reads.inputs)


def _in_one_step(draft: Draft, _: Hypothesis, place: Path) -> Iterator[Complaint]:
    budget = draft.spec.denoising.one_step
    if budget and "denoising" not in draft.broken:
        message = (
            f"measure 'decision_time' needs several denoising steps, but {budget} reads every answer in one: give "
            "`denoising` a number of `steps` (hypotheses are decided at the first of several)"
        )
        yield Complaint(place, message)


def _declared(spec: Spec, _: LogitLens) -> bool:
    return spec.measures.of(Alignment) is not None


def _check_alignment(draft: Draft, _: Alignment, path: Path) -> Iterator[Complaint]:
    if "interventions" not in draft.broken and not any(isinstance(one, LogitLens) for one in draft.spec.interventions):
        yield Complaint(path, "measure 'alignment' needs an intervention of kind logit_lens", on_key=True)


LOGIT_LENS = InterventionKind(
    section=LogitLens,
    compute=_compute,
    cost=_cost,
    cells=Cells(pads=lambda _: True),
    single="a logit_lens has no settings: a second one would give the same",
    results=_results,
    shifts=_shifts,
    testables=(
        Testable(
            name="decision_time",
            words="decision time",
            estimand="after-minus-before shift of the share of the denoising steps before the answer stays right",
            reading="negative: answers settle earlier in the denoising steps",
            scale="shift of a share of the denoising steps; -1 to 1",
            lower="answers settle earlier",
            higher="answers settle later",
            per_prompt=True,
            choices=frozenset({"location"}),
            truth=0.0,
            checks=_in_one_step,
        ),
    ),
    serves={"alignment": _declared},
    tables=TABLES,
)
ALIGNMENT = MeasureKind(
    name="alignment",
    section=Alignment,
    least=ONE,
    testables=(
        Testable(
            name="alignment",
            words="output alignment",
            estimand="after-minus-before shift of the entropy (nats) of what components write, weighted by what they "
            "add",
            reading="higher: components that write the answer spread their output over more tokens",
            scale="shift of an entropy, in nats; no bounds",
            lower="sharper output",
            higher="more diffuse output",
            per_prompt=True,
            choices=frozenset({"location"}),
            truth=0.0,
        ),
    ),
    computes=lambda _: False,
    checks=_check_alignment,
    facts=lambda _: {"alignment": True},
)
