"""Edge attribution: a score for every edge and example, from which all measures of circuits are computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mechshift_core.graph import Graph
from mechshift_core.interventions.edge_attribution.section import EdgeAttribution
from mechshift_core.interventions.edge_attribution.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.spec.translate import Complaint

if TYPE_CHECKING:
    import polars as pl

    from mechshift_core.analysis.measured import Rows
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.tree import Path


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: EdgeAttribution) -> None:
    from mechshift_core.interventions.edge_attribution.cells import execute_edges

    execute_edges(plan, cell, model, folder, own)


def _frames(sample: Sample) -> Mapping[str, Sequence[pl.DataFrame]]:
    from mechshift_core.interventions.edge_attribution.results import edge_tables

    return edge_tables(sample)


def _listed(plan: Plan, folder: RunFolder, failures: Mapping[str, str], own: EdgeAttribution) -> Mapping[str, Rows]:
    from mechshift_core.interventions.edge_attribution.results import score_rows

    return {"edge_scores": score_rows(plan, folder, failures, own)}


def _settings(own: EdgeAttribution, _: Spec) -> dict[str, Any]:
    settings: dict[str, Any] = own.model_dump(mode="json", exclude={"name"})
    return settings if own.on_path else {key: settings[key] for key in ("kind", "method", "by_role")}


def _cost(reads: Reads, own: EdgeAttribution) -> Cost:
    if own.method == "exact":
        return Cost(2 * reads.inputs, 0, reads.inputs * len(Graph.of(reads.shape).edges))
    steps = {"eap": 1, "clean-corrupted": 2}.get(own.method, own.steps)
    return Cost(reads.inputs * (2 + steps), reads.inputs * steps)


def _check(_: Draft, own: EdgeAttribution, path: Path) -> Iterator[Complaint]:
    if not own.on_path:
        for key in ("steps", "quadrature"):
            if key in own.model_fields_set:
                message = f"the method {own.method!r} has no {key!r} (only eap-ig has)"
                yield Complaint((*path, key), message, on_key=True)
    if own.method == "exact" and own.by_role:
        message = "the method 'exact' patches an edge at all positions, so it has no scores by token role"
        yield Complaint((*path, "by_role"), message, on_key=True)


def _facts(own: EdgeAttribution) -> Mapping[str, object]:
    path = {"steps": own.steps, "quadrature": own.quadrature} if own.on_path else {}
    return {"attribution": own.method, **path}


EDGE_ATTRIBUTION = InterventionKind(
    section=EdgeAttribution,
    compute=_compute,
    cost=_cost,
    cells=Cells(settings=_settings, pads=lambda _: True),
    attributes=True,
    frames=_frames,
    listed=_listed,
    single="only one edge_attribution a spec is implemented in this version",
    tables=TABLES,
    checks=_check,
    facts=_facts,
)
