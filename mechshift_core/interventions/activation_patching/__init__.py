"""Activation patching: what a component's output from the corrupted run costs in the clean one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.graph import component_names
from mechshift_core.interventions.activation_patching.section import ActivationPatching
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


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: ActivationPatching) -> None:
    from mechshift_core.execution.node_cells import execute_nodes

    execute_nodes(plan, cell, model, folder, own.components, by_role=own.positions == "roles")


def _results(sample: Sample, spec: Spec, own: ActivationPatching, results: Results) -> Measured:
    from mechshift_core.analysis.nodes import measure_nodes

    return measure_nodes(sample, spec, own.name, "activation patching", results)


def _cost(reads: Reads, own: ActivationPatching) -> Cost:
    times = reads.roles if own.positions == "roles" else 1
    runs = times * (1 + len(component_names(reads.shape, own.components)))
    return Cost(times * reads.inputs, 0, reads.inputs * runs)


ACTIVATION_PATCHING = InterventionKind(
    section=ActivationPatching,
    compute=_compute,
    cost=_cost,
    cells=Cells(pads=lambda _: True),
    results=_results,
)
