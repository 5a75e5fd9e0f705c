"""Denoising paths: what a model would answer in each step, which answers are overwritten, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mechshift_core.interventions.denoising_path.section import DenoisingPath
from mechshift_core.interventions.denoising_path.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.testable import Testable
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


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: DenoisingPath) -> None:
    from mechshift_core.interventions.denoising_path.cells import execute_path

    execute_path(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: DenoisingPath, results: Results) -> Measured:
    from mechshift_core.interventions.denoising_path.results import measure_paths

    return measure_paths(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, own: DenoisingPath, results: Results) -> Measured:
    from mechshift_core.interventions.denoising_path.results import measure_path_shifts

    return measure_path_shifts(sample, spec, own, results)


def _settings(own: DenoisingPath, _: Spec) -> dict[str, Any]:
    return own.model_dump(mode="json", include={"kind", "tokens"})


def _cost(reads: Reads, own: DenoisingPath) -> Cost:
    """A model that reveals its own tokens one by one is read in every step up to the answer, not in the last alone."""
    if own.tokens == "solution" or reads.reading.steps != "per_token":
        return Cost(reads.inputs)
    examples = reads.dataset.examples
    return Cost(round(reads.inputs * sum(1 + one.revealed for one in examples) / len(examples)))


def _of_all_prompts(draft: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    rule = draft.spec.select.correct
    if "select" not in draft.broken and rule != "none":
        message = (
            f"measure {hypothesis.measure!r} is of right and wrong answers, but `select: {{correct: {rule}}}` keeps "
            "prompts by whether they are answered correctly: a hypothesis on it needs `select: {correct: none}`"
        )
        yield Complaint(place, message)


def _of_several_steps(draft: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    yield from _of_all_prompts(draft, hypothesis, place)
    own = next((one for one in draft.spec.interventions if isinstance(one, DenoisingPath)), None)
    if own is None or {"denoising", "interventions"} & draft.broken:
        return
    denoising = draft.spec.denoising
    single = denoising.one_step if own.tokens == "solution" or denoising.one_step != "per_token" else ""
    if single:
        message = (
            f"measure 'overwritten' needs several denoising steps, but {single} reads every answer in one: give "
            "`denoising` a number of `steps` (hypotheses are decided at the first of several)"
        )
        yield Complaint(place, message)


DENOISING_PATH = InterventionKind(
    section=DenoisingPath,
    compute=_compute,
    cost=_cost,
    cells=Cells(settings=_settings, pads=lambda own: own.tokens == "solution"),
    results=_results,
    shifts=_shifts,
    testables=(
        Testable(
            name="overwritten",
            words="overwritten answers",
            estimand="after-minus-before shift of the share of prompts whose answer is right at some denoising step "
            "and wrong at the last",
            reading="higher: the model after loses more answers that it had",
            scale="shift of a share of prompts; -1 to 1",
            lower="fewer answers overwritten",
            higher="more answers overwritten",
            per_prompt=True,
            choices=frozenset({"location"}),
            truth=0.0,
            checks=_of_several_steps,
        ),
        Testable(
            name="brier",
            words="Brier score",
            estimand="after-minus-before shift of the Brier score of the distribution at the answer's position",
            reading="higher: the probabilities of the model after are further from the answers",
            scale="shift of a squared distance of distributions; -2 to 2",
            lower="nearer to the answers",
            higher="further from the answers",
            per_prompt=True,
            choices=frozenset({"location"}),
            truth=0.0,
            checks=_of_all_prompts,
        ),
    ),
    tables=TABLES,
)
