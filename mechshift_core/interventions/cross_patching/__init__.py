"""Cross-model patching: what one model of a pair can use of the other's activations, and what these cost it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.interventions.cross_patching.section import CrossPatching
from mechshift_core.interventions.cross_patching.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.testable import Least, Testable

if TYPE_CHECKING:
    from typing import Any

    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.schema import Spec


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: CrossPatching) -> None:
    from mechshift_core.interventions.cross_patching.cells import execute_crossed

    execute_crossed(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: CrossPatching, results: Results) -> Measured:
    from mechshift_core.interventions.cross_patching.results import measure_crossed

    return measure_crossed(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, own: CrossPatching, results: Results) -> Measured:
    from mechshift_core.interventions.cross_patching.results import measure_crossed_alone

    return measure_crossed_alone(sample, spec, own, results)


def _settings(own: CrossPatching, _: Spec) -> dict[str, Any]:
    return own.model_dump(mode="json", exclude={"name", "into"})


def _cost(reads: Reads, own: CrossPatching) -> Cost:
    """The model's own clean run, three of the donor's, and four kinds of patched runs."""
    shape = reads.shape
    counts = {"heads": shape.layers * shape.heads, "residual": shape.layers + 1}
    components = sum(counts.get(kind, shape.layers) for kind in own.components)
    places = 1 + (reads.roles if own.positions == "roles" else 0)
    return Cost(4 * reads.inputs, 0, 4 * reads.inputs * (1 + places * components))


CROSS_PATCHING = InterventionKind(
    section=CrossPatching,
    compute=_compute,
    cost=_cost,
    cells=Cells(per_pair=True, settings=_settings, pads=lambda _: True),
    least=Least(2, "whose products are taken"),
    results=_results,
    shifts=_shifts,
    testables=(
        Testable(
            name="cross_patching_use",
            words="use of the other model's activations",
            estimand="share of what a model's own clean activations restore that the other model's restore in it, "
            "those of the clean prompt compared with those of the corrupted one",
            reading="1: the other model's activations serve as well as the own (above 1: better), 0: they restore "
            "nothing; unrelated models have a level, too",
            scale="slope of effects on effects; no bounds",
            lower="activations of less use",
            higher="activations of more use",
            between=True,
            ceiling=1.0,
            unrelated=True,
        ),
        Testable(
            name="cross_patching_cost",
            words="cost of the other model's activations",
            estimand="share of the effect of the corruption that is lost in the clean run with a component's output of "
            "the other model, mean over components",
            reading="0: the other model's output serves as well as the own, 1: it costs as much as corrupting the "
            "prompt",
            scale="share of the effect of the corruption; no bounds",
            lower="costs less",
            higher="costs more",
            between=True,
            ceiling=0.0,
            unrelated=True,
        ),
    ),
    apart="a model uses its own activations wholly, whatever the prompts",
    tables=TABLES,
)
