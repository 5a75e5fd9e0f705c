"""Edge attribution: a score for every edge and example, from which all measures of circuits are computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mechshift_core.graph import Graph
from mechshift_core.interventions.edge_attribution.section import ON_PATH, OPTIONS, WITHOUT_ROLES, EdgeAttribution
from mechshift_core.interventions.edge_attribution.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.options import listing
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


def _settings(own: EdgeAttribution, spec: Spec) -> dict[str, Any]:
    settings: dict[str, Any] = own.model_dump(mode="json", include={"kind", "method", "by_role", *own.options})
    return settings | {"seed": spec.seed} if own.draws_points else settings


def _cost(reads: Reads, own: EdgeAttribution) -> Cost:
    if own.method == "exact":
        return Cost(2 * reads.inputs, 0, reads.inputs * len(Graph.of(reads.shape).edges))
    steps = [_steps(reads, own, method) for method in own.run_by]
    return Cost(reads.inputs * (2 * len(steps) + sum(steps)), reads.inputs * sum(steps))


def _steps(reads: Reads, own: EdgeAttribution, method: str) -> int:
    """Gradients that a method takes of each input."""
    if method == "eap-ig":
        return own.steps
    if method in ON_PATH:
        return own.steps * (1 + 2 * reads.shape.layers)  # of the input, and the heads and the MLP of each layer
    return {"clean-corrupted": 2, "expected-gradients": own.draws}.get(method, 1)


def _check(_: Draft, own: EdgeAttribution, path: Path) -> Iterator[Complaint]:
    for key, methods in OPTIONS.items():
        if key in own.model_fields_set and own.method not in methods:
            message = f"the method {own.method!r} has no {key!r} ({listing(methods, conjunction='and')} have)"
            yield Complaint((*path, key), message, on_key=True)
    if own.method in WITHOUT_ROLES and own.by_role:
        message = f"the method {own.method!r} {WITHOUT_ROLES[own.method]}, so it has no scores by token role"
        yield Complaint((*path, "by_role"), message, on_key=True)
    if own.method == "rank-average":
        yield from _check_members(own, path)


def _check_members(own: EdgeAttribution, path: Path) -> Iterator[Complaint]:
    if len(own.methods) < 2:
        given = path if "methods" not in own.model_fields_set else (*path, "methods")
        yield Complaint(given, f"'rank-average' needs two or more `methods`, got {len(own.methods)}")
    for number, method in enumerate(own.methods):
        if method in WITHOUT_ROLES:
            message = f"the ranks of methods that take gradients are averaged; {method!r} is none"
            yield Complaint((*path, "methods", number), message)
        elif method in own.methods[:number]:
            yield Complaint((*path, "methods", number), f"duplicate value {method!r}")


def _facts(own: EdgeAttribution) -> Mapping[str, object]:
    path = {"steps": own.steps, "quadrature": own.quadrature} if own.on_path else {}
    draws = {"draws": own.draws} if own.draws_points else {}
    return {"attribution": own.method, "averaged": own.methods, **path, **draws}


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
