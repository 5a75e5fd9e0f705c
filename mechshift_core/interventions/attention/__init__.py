"""Attention: where every head looks, before and after, by token role and direction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mechshift_core.interventions.attention.section import Attention
from mechshift_core.interventions.attention.tables import TABLES
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


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, _: Attention) -> None:
    from mechshift_core.interventions.attention.cells import execute_attention

    execute_attention(plan, cell, model, folder)


def _results(sample: Sample, spec: Spec, own: Attention, results: Results) -> Measured:
    from mechshift_core.interventions.attention.results import measure_attention

    return measure_attention(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, _: Attention, results: Results) -> Measured:
    from mechshift_core.interventions.attention.right_context import measure_right_context

    return measure_right_context(sample, spec, "", results)


def _cost(reads: Reads, _: Attention) -> Cost:
    return Cost(reads.inputs)


def _between_causal_models(draft: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    if {"models", "pairs", "tasks"} & draft.broken:
        return
    models = draft.spec.models
    causal = [
        repr(pair.name)
        for pair in draft.members(hypothesis)
        if all(name in models and models[name].paradigm == "autoregressive" for name in (pair.before, pair.after))
    ]
    if causal:
        message = (
            f"measure 'right_context' is exactly 0, without any spread, where both models are autoregressive, as "
            f"in {' and '.join(causal)}: leave such pairs out by `where`; others may be compared with zero"
        )
        yield Complaint(place, message)


ATTENTION = InterventionKind(
    section=Attention,
    compute=_compute,
    cost=_cost,
    cells=Cells(pads=lambda _: True),
    results=_results,
    shifts=_shifts,
    testables=(
        Testable(
            name="right_context",
            words="attention to the right",
            estimand="after-minus-before shift of the attention of tokens to what stands on their right",
            reading="higher: the model after looks more at what stands on the right of a token; a causal model has 0",
            scale="shift of a share of the attention; -1 to 1",
            lower="less attention to the right",
            higher="more attention to the right",
            per_prompt=True,
            choices=frozenset({"location"}),
            truth=0.0,
            checks=_between_causal_models,
        ),
    ),
    tables=TABLES,
)
