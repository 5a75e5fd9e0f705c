"""Neurons: attribution of the neurons of all MLPs, what drives the strongest, and how selective they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mechshift_core.interventions.neurons.section import Neurons
from mechshift_core.interventions.neurons.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.testable import Least
from mechshift_core.spec.translate import Complaint
from stats.minimums import FEWEST_IN_HALF

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.tree import Path


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, _: Neurons) -> None:
    from mechshift_core.interventions.neurons.cells import execute_neurons

    execute_neurons(plan, cell, model, folder)


def _results(sample: Sample, spec: Spec, own: Neurons, results: Results) -> Measured:
    from mechshift_core.interventions.neurons.results import measure_neurons

    return measure_neurons(sample, spec, own, results)


def _settings(own: Neurons, _: Spec) -> dict[str, Any]:
    return own.model_dump(mode="json", exclude={"name", "strongest"})


def _cost(reads: Reads, _: Neurons) -> Cost:
    return Cost(2 * reads.inputs, reads.inputs)


def _check_models(own: Neurons, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    from mechshift_core.models import sources

    for name, facts in models.items():
        width = sources.neurons_per_layer(sources.read_config(facts.folder))
        every = None if width is None else width * facts.shape.layers
        if every is not None and own.strongest > every:
            message = f"{own.name!r} lists {own.strongest} neurons, but model {name!r} has {every}"
            yield Complaint((*path, "strongest"), message)
            return


NEURONS = InterventionKind(
    section=Neurons,
    compute=_compute,
    cost=_cost,
    cells=Cells(settings=_settings, pads=lambda _: True),
    least=Least(2 * FEWEST_IN_HALF, f"for {FEWEST_IN_HALF} of them in each half"),
    results=_results,
    tables=TABLES,
    checks_models=_check_models,
)
