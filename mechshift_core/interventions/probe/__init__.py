"""Probes: what a linear probe reads off the residual stream, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mechshift_core.interventions.probe.section import OF_STATES, Probe
from mechshift_core.interventions.probe.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
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
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.tree import Path
    from mechshift_core.tasks.counterfactual import Dataset


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Probe) -> None:
    from mechshift_core.interventions.probe.cells import execute_probe

    execute_probe(plan, cell, model, folder, own)


def _results(sample: Sample, spec: Spec, own: Probe, results: Results) -> Measured:
    from mechshift_core.interventions.probe.results import measure_probes

    return measure_probes(sample, spec, own, results)


def _check(draft: Draft, own: Probe, path: Path) -> Iterator[Complaint]:
    """Variables of the denoising need several states of each example."""
    single = draft.spec.denoising.one_step
    for position, name in enumerate(own.variables or ()):
        if name in OF_STATES and single and "denoising" not in draft.broken:
            message = (
                f"{name!r} is the same in all states of an example, since {single} reads every answer in one: give "
                "`denoising` a number of `steps`"
            )
            yield Complaint((*path, "variables", position), message)


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
    checks=_check,
)
