"""Attention: where every head looks, before and after, by token role and direction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mechshift_core.interventions.attention.section import Attention
from mechshift_core.interventions.attention.tables import TABLES
from mechshift_core.kinds.checks import check_read_alike
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


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Attention) -> None:
    from mechshift_core.interventions.attention.cells import execute_attention

    execute_attention(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: Attention, results: Results) -> Measured:
    from mechshift_core.analysis.measured import joined
    from mechshift_core.interventions.attention.results import measure_attention
    from mechshift_core.interventions.attention.revealed import measure_revealed

    found = measure_attention(sample, spec, own, results)
    return joined([found, measure_revealed(sample, spec, own, results)]) if own.completion else found


def _shifts(sample: Sample, spec: Spec, own: Attention, results: Results) -> Measured:
    from mechshift_core.analysis.measured import joined
    from mechshift_core.interventions.attention.revealed import measure_revealed
    from mechshift_core.interventions.attention.right_context import measure_right_context

    found = measure_right_context(sample, spec, "", results)
    return joined([found, measure_revealed(sample, spec, own, results)]) if own.completion else found


def _cost(reads: Reads, own: Attention) -> Cost:
    return Cost(reads.inputs * (1 + own.completion))


def _settings(own: Attention, _: Spec) -> dict[str, Any]:
    """Without the parts of the input there is nothing that the cells depend on."""
    return own.model_dump(mode="json", exclude={"name"} if own.completion else {"name", "completion"})


def _with_completion(draft: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    yield from check_read_alike(draft, hypothesis, place)
    own = next((one for one in draft.spec.interventions if isinstance(one, Attention)), None)
    if own is not None and not own.completion and "interventions" not in draft.broken:
        message = f"measure 'revealed_share' needs `completion: true` of the attention {own.name!r}"
        yield Complaint(place, message)
    first = draft.spec.denoising.budgets[0]
    if "denoising" not in draft.broken and first in ("all_masked", "1"):
        message = f"measure 'revealed_share' is exactly 0 at {first}: nothing of an answer is revealed"
        yield Complaint(place, message)


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
    cells=Cells(settings=_settings, pads=lambda _: True),
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
        Testable(
            name="revealed_share",
            words="attention to what is revealed",
            estimand="after-minus-before shift of the attention from the position read to the revealed tokens of the "
            "answer",
            reading="higher: the model after looks more at what it has revealed of the answer",
            scale="shift of a share of the attention; -1 to 1",
            lower="less attention to what is revealed",
            higher="more attention to what is revealed",
            per_prompt=True,
            choices=frozenset({"location"}),
            truth=0.0,
            checks=_with_completion,
        ),
    ),
    tables=TABLES,
)
