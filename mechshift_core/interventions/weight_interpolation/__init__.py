"""The straight line between the weights of two models: is there a barrier of the loss on it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.interventions.weight_interpolation.section import WeightInterpolation
from mechshift_core.interventions.weight_interpolation.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.testable import Least, Testable
from stats.minimums import FEWEST_FOR_FOLDS

if TYPE_CHECKING:
    from typing import Any

    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.schema import Spec


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: WeightInterpolation) -> None:
    from mechshift_core.interventions.weight_interpolation.cells import execute_path

    execute_path(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: WeightInterpolation, results: Results) -> Measured:
    from mechshift_core.interventions.weight_interpolation.results import measure_path

    return measure_path(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, own: WeightInterpolation, results: Results) -> Measured:
    from mechshift_core.interventions.weight_interpolation.results import measure_barrier

    return measure_barrier(sample, spec, own, results)


def _settings(own: WeightInterpolation, _: Spec) -> dict[str, Any]:
    return own.model_dump(mode="json", exclude={"name", "read_as"})


def _cost(reads: Reads, own: WeightInterpolation) -> Cost:
    return Cost(own.points * reads.inputs)


def _check_pair(before: ModelFacts, after: ModelFacts) -> str:
    from mechshift_core.models.sources import read_config

    kinds = [str(read_config(facts.folder).get("model_type")) for facts in (before, after)]
    if kinds[0] != kinds[1]:
        return f"no straight line leads from the weights of a {kinds[0]} model to those of a {kinds[1]} model"
    if before.vocabulary != after.vocabulary:
        return (
            f"no straight line leads from {before.vocabulary} token embeddings ({before.name!r}) to "
            f"{after.vocabulary} ({after.name!r}); give both models the same vocabulary"
        )
    return ""


WEIGHT_INTERPOLATION = InterventionKind(
    section=WeightInterpolation,
    compute=_compute,
    cost=_cost,
    cells=Cells(per_pair=True, both=True, settings=_settings, pads=lambda _: True),
    least=Least(FEWEST_FOR_FOLDS, "for two of them in each half"),
    results=_results,
    shifts=_shifts,
    testables=(
        Testable(
            name="interpolation_barrier",
            words="barrier between the weights",
            estimand="how far the loss on the straight line between the two models' weights rises above that of its "
            "ends",
            reading="0 or below: the two models are linearly connected, higher: they are in different basins",
            scale="nats; no bounds",
            lower="lower barrier",
            higher="higher barrier",
            between=True,
            ceiling=0.0,
            unrelated=True,
        ),
    ),
    apart="a model has no path to itself",
    tables=TABLES,
    checks_pair=_check_pair,
)
