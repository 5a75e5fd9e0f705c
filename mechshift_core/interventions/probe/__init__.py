"""Probes: what a linear probe reads off the residual stream, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.interventions.probe.section import Probe
from mechshift_core.interventions.probe.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.schema import Spec
    from mechshift_core.tasks.counterfactual import Dataset


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Probe) -> None:
    from mechshift_core.interventions.probe.cells import execute_probe

    execute_probe(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: Probe, results: Results) -> Measured:
    from mechshift_core.interventions.probe.results import measure_probes

    return measure_probes(sample, spec, own, results)


def _labels(dataset: Dataset) -> list[object]:
    return [dataset.role_digest(), [example.answer for example in dataset.examples]]


def _cost(reads: Reads, _: Probe) -> Cost:
    return Cost(reads.inputs)


PROBE = InterventionKind(
    section=Probe,
    compute=_compute,
    cost=_cost,
    cells=Cells(per_pair=True, labels=_labels, pads=lambda _: True),
    results=_results,
    tables=TABLES,
)
