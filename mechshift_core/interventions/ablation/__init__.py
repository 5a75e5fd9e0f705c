"""Knock-outs: losing components alone, in pairs and in combinations; and the measure of how much they act together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mechshift_core.graph import component_names
from mechshift_core.interventions.ablation.checks import check_ablation, check_integration, check_sizes
from mechshift_core.interventions.ablation.integration_section import (
    GRAPH_INDICES,
    INDICES,
    NOISY_INDICES,
    Integration,
    IntegrationIndex,
)
from mechshift_core.interventions.ablation.section import Ablation
from mechshift_core.interventions.ablation.tables import TABLES
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.measure import MeasureKind, Otherwise
from mechshift_core.kinds.testable import Least, Testable
from stats.minimums import FEWEST_FOR_SPREAD

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Results
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.schema import Spec

_LATER = {"pairwise", "shapley", "strongest_by"}
"""Fields that single knock-outs do not depend on."""


def _compute(plan: Plan, cell: Cell, model: Model, folder: RunFolder, own: Ablation) -> None:
    from mechshift_core.execution.node_cells import execute_nodes
    from mechshift_core.interventions.ablation.joint_cells import execute_joint

    if cell.part:
        execute_joint(plan, cell, model, folder, own)
    else:
        execute_nodes(plan, cell, model, folder, own.components, own.ablation)


def _results(sample: Sample, spec: Spec, own: Ablation, results: Results) -> Measured:
    from mechshift_core.interventions.ablation.integration import measure_ablation

    return measure_ablation(sample, spec, own, results)


def _shifts(sample: Sample, spec: Spec, own: Ablation, results: Results) -> Measured:
    from mechshift_core.interventions.ablation.integration import measure_interaction_shift

    return measure_interaction_shift(sample, spec, own, results)


def _settings(own: Ablation, _: Spec) -> dict[str, Any]:
    return own.model_dump(mode="json", exclude={"name", *_LATER})


def _parts(own: Ablation, _: Spec) -> dict[str, list[object]]:
    parts: dict[str, list[object]] = {}
    if own.pairwise:
        parts["pairs"] = [own.pairwise]
    if own.shapley is not None:
        sampled = own.shapley.budget is not None
        parts["shapley"] = [own.shapley.model_dump() if sampled else own.shapley.components]
    return parts


def _draws(own: Ablation, part: str) -> bool:
    """Prompts that values are taken from, or combinations of components; parts have the seed of the first cells."""
    if part == "shapley":
        return own.shapley is not None and own.shapley.budget is not None
    return not part and own.ablation == "resample"


def _cost(reads: Reads, own: Ablation) -> Cost:
    components = len(component_names(reads.shape, own.components))
    if reads.part == "pairs":
        strongest = min(own.pairwise, components)
        return Cost(0, 0, reads.inputs * strongest * (strongest - 1) // 2)
    if reads.part == "shapley":
        assert own.shapley is not None
        every = 2 ** min(own.shapley.components, components)
        return Cost(0, 0, reads.inputs * min(every, own.shapley.budget or every))
    return Cost(reads.inputs, 0, reads.inputs * (1 + components))


def _gives(spec: Spec, own: Ablation) -> bool:
    declared = spec.measures.of(Integration)
    return declared is not None and own.gives(declared.index)


def _graph(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.interventions.ablation.graph import measure_component_graph

    return measure_component_graph(sample, spec)


def _graph_shift(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.interventions.ablation.graph import measure_graph_shift

    return measure_graph_shift(sample, spec)


def _of_the_graph(spec: Spec) -> bool:
    declared = spec.measures.of(Integration)
    return declared is not None and declared.index in GRAPH_INDICES


ABLATION = InterventionKind(
    section=Ablation,
    compute=_compute,
    cost=_cost,
    cells=Cells(
        settings=_settings,
        parts=_parts,
        parts_ranked=lambda own: own.strongest_by == "attribution",
        draws=_draws,
        pads=lambda own: not own.mixes_prompts,
    ),
    results=_results,
    shifts=_shifts,
    serves={"integration": _gives},
    tables=TABLES,
    checks=check_ablation,
    checks_models=check_sizes,
)
INTEGRATION = MeasureKind(
    name="integration",
    section=Integration,
    least=Least(FEWEST_FOR_SPREAD, "for a spread over prompts"),
    measure=_graph,
    shifts=_graph_shift,
    thorough=True,
    testables=(
        Testable(
            name="integration",
            words="integration",
            estimand="after-minus-before shift of the {index}",
            reading="higher: the effects of components depend more on each other",
            scale="shift of a share between 0 and 1 (estimates can lie beyond), or of the index of the graph",
            lower="components act more alone",
            higher="components act more together",
            choices=frozenset({"integration", "ablation"}),
            noisy=NOISY_INDICES,
            indices=INDICES,
            of_mass=True,
            truth=0.0,
        ),
    ),
    computes=_of_the_graph,
    otherwise=(
        Otherwise(
            field="integration",
            type=IntegrationIndex,
            text="Indices in place of `measures.integration.index`.",
            update=lambda index: {"index": index},
            own=lambda section: (section.index,),
        ),
    ),
    checks=check_integration,
    facts=lambda own: {"integration": own.index},
)
