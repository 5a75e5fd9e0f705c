"""How far the models moved: residual streams, representations and predictions on the same prompts, and weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mechshift_core.interventions.movement.section import Movement, WeightMovement
from mechshift_core.interventions.movement.tables import MOVEMENT_TABLES, WEIGHT_TABLES
from mechshift_core.kinds.checks import check_read_alike
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.testable import Testable
from mechshift_core.spec.translate import Complaint

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Results, Rows
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


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Movement) -> None:
    from mechshift_core.interventions.movement.cells import execute_movement

    execute_movement(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: Movement, results: Results) -> Measured:
    from mechshift_core.interventions.movement.results import measure_movement

    return measure_movement(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, own: Movement, results: Results) -> Measured:
    from mechshift_core.interventions.movement.results import measure_movement_shift

    return measure_movement_shift(sample, spec, own, results)


def _cost(reads: Reads, _: Movement) -> Cost:
    return Cost(reads.prompts)


def _compute_weights(plan: Plan, cell: Cell, model: Model, folder: RunFolder, _: WeightMovement) -> None:
    from mechshift_core.interventions.movement.weights import execute_weights

    execute_weights(plan, cell, model, folder)


def _weight_results(sample: Sample, spec: Spec, own: WeightMovement, results: Results) -> Measured:
    from mechshift_core.interventions.movement.weight_results import measure_weights

    return measure_weights(sample, spec, own, results)


def _weights_listed(
    plan: Plan, folder: RunFolder, failures: Mapping[str, str], own: WeightMovement
) -> Mapping[str, Rows]:
    from mechshift_core.interventions.movement.weight_results import weight_rows

    return weight_rows(plan, folder, failures, own)


def _never_below_zero(_: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    """A distance is above 0 wherever two models differ at all: that it is shows nothing."""
    from mechshift_core.kinds import TESTS

    test, kind = hypothesis.test, TESTS[hypothesis.test.kind]
    bounded = "bound" in kind.required
    with_zero = not kind.refers and (not bounded or (test.bound is not None and test.bound <= 0))
    if hypothesis.contrast is None and with_zero:
        message = (
            f"measure {hypothesis.measure!r} is a distance: it is never below 0, and above it wherever the models "
            "differ at all; subtract a group with `contrast`, or claim a `bound` above 0"
        )
        yield Complaint(place, message)


def _distance_at_a_token(draft: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    yield from check_read_alike(draft, hypothesis, place)
    yield from _never_below_zero(draft, hypothesis, place)


def _over_seeds(draft: Draft, hypothesis: Hypothesis, place: Path) -> Iterator[Complaint]:
    """Weights are no sample of prompts: only training seeds give an error."""
    if "statistics" not in draft.broken and draft.spec.statistics.units.seed != "random":
        message = (
            f"measure {hypothesis.measure!r} is the same on all prompts, and so has no error over them: a hypothesis "
            "on it needs pairs of several training seeds and `statistics: {units: {seed: random}}` (it is tabled "
            "anyway)"
        )
        yield Complaint(place, message)
    yield from _never_below_zero(draft, hypothesis, place)


MOVEMENT = InterventionKind(
    section=Movement,
    compute=_compute,
    cost=_cost,
    cells=Cells(pads=lambda _: True),
    results=_results,
    shifts=_shifts,
    testables=(
        Testable(
            name="residual_shift",
            words="shift of the residual stream",
            estimand="1 minus the cosine of the two models' residual streams on the same prompt, at the position read, "
            "mean over layers",
            reading="0: the same direction, 1: orthogonal; higher: the model after is further from the model before",
            scale="1 - cosine; 0 to 2",
            lower="streams closer",
            higher="streams further apart",
            per_prompt=True,
            choices=frozenset({"location"}),
            distance=True,
            truth=0.0,
            checks=_distance_at_a_token,
        ),
        Testable(
            name="representation_similarity",
            words="similarity of representations",
            estimand="debiased linear CKA of the two models' residual streams over prompts, at the position read, mean "
            "over layers",
            reading="1: the same representation of the prompts but for a rotation, a factor and an offset, 0: nothing "
            "in common",
            scale="CKA; -1 to 1",
            lower="less alike",
            higher="more alike",
            between=True,
            ceiling=1.0,
            truth=1.0,
            checks=check_read_alike,
        ),
        Testable(
            name="prediction_shift",
            words="shift of the prediction",
            estimand="Kullback-Leibler divergence KL(before || after) in nats of the two models' predictions at the "
            "position read",
            reading="0: the same prediction; higher: the model after predicts other tokens",
            scale="divergence, in nats; 0 or above",
            lower="predictions closer",
            higher="predictions further apart",
            per_prompt=True,
            choices=frozenset({"location"}),
            distance=True,
            truth=0.0,
            checks=_never_below_zero,
        ),
    ),
    apart="two models are compared on the same prompts, and halves of one model's prompts are different ones",
    tables=MOVEMENT_TABLES,
)
WEIGHT_MOVEMENT = InterventionKind(
    section=WeightMovement,
    compute=_compute_weights,
    cost=lambda _, __: Cost(0),
    cells=Cells(weights=True),
    single="a weight_movement has no settings: a second one would give the same",
    results=_weight_results,
    listed=_weights_listed,
    testables=(
        Testable(
            name="weight_shift",
            words="shift of the weights",
            estimand="norm of the difference of the two models' weights, relative to the norm of those before",
            reading="0: the same weights; higher: post-training changed them more",
            scale="ratio of two norms; 0 or above",
            lower="weights closer",
            higher="weights further apart",
            distance=True,
            truth=0.0,
            checks=_over_seeds,
        ),
    ),
    apart="weights have no prompts of which halves could be taken",
    tables=WEIGHT_TABLES,
)
