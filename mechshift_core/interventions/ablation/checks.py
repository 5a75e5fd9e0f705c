"""Whether joint knock-outs are such that their indices can be computed: enough, not too many, and by one ablation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mechshift_core.graph import component_names
from mechshift_core.interventions.ablation.integration_section import Integration
from mechshift_core.interventions.ablation.section import JOINT_INDICES, MOST_COMBINED, Ablation, Shapley
from mechshift_core.spec.problems import listing
from mechshift_core.spec.translate import Complaint

if TYPE_CHECKING:
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.tree import Path

_FIELDS = {"pairs": ("pairwise", "in pairs"), "combinations": ("shapley", "in combinations")}
"""Joint knock-outs -> the field of an ablation that asks for them, and how components are knocked out by it."""


def check_integration(draft: Draft, measure: Integration, path: Path) -> Iterator[Complaint]:
    """One ablation at most has the joint knock-outs of an index, and one does where the index needs them."""
    if "interventions" in draft.broken:
        return
    ablations = [one for one in draft.spec.interventions if isinstance(one, Ablation)]
    for index, joint in JOINT_INDICES.items():
        names = [one.name for one in ablations if one.gives(index)]
        field, what = _FIELDS[joint]
        if not names and measure.index == index:
            message = (
                f"measure 'integration' needs an intervention of kind ablation with `{field}` "
                "(its indices participation, modularity and efficiency do without)"
            )
            yield Complaint(path, message, on_key=True)
        elif len(names) > 1 and index.endswith("_share"):  # once for each kind of knock-outs
            both = listing(names, conjunction="and")
            message = f"measure 'integration' is of one intervention, but {both} knock out components {what}"
            yield Complaint(path, message, on_key=True)
        others = draft.spec.sensitivity.values("integration")
        if not names and index in others:
            message = (
                f"sensitivity.integration: the index {index!r} needs an intervention of kind ablation with `{field}`"
            )
            yield Complaint(("sensitivity", "integration", others.index(index)), message)


def check_ablation(_: Draft, own: Ablation, path: Path) -> Iterator[Complaint]:
    """Combinations can be run, and sampled where that is asked for."""
    if own.shapley is not None:
        yield from check_combinations(own.shapley, (*path, "shapley"))


def check_sizes(own: Ablation, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    """No more components are knocked out together than a model has; what samples combinations is installed."""
    counts = {name: len(component_names(facts.shape, own.components)) for name, facts in models.items()}
    name = min(counts, key=lambda one: counts[one])
    shapley = 0 if own.shapley is None else own.shapley.components
    what = f"of the kinds {' and '.join(own.components)}"
    for asked, place in ((own.pairwise, ("pairwise",)), (shapley, ("shapley", "components"))):
        if asked > counts[name]:
            message = (
                f"{own.name!r} knocks out {asked} components together, but model {name!r} has {counts[name]} {what}"
            )
            yield Complaint((*path, *place), message)
    if own.shapley is not None and own.shapley.budget and find_spec("shapiq") is None:
        message = (
            f"the ablation {own.name!r} samples combinations (`shapley.budget`), which needs shapiq: "
            "pip install 'shapiq>=1.4'; or leave `budget` out"
        )
        yield Complaint((*path, "shapley", "budget"), message)


def check_combinations(settings: Shapley, path: Path) -> Iterator[Complaint]:
    """There are not too many combinations, and a sample has as many as there is to estimate, but not all."""
    components, budget = settings.components, settings.budget
    if settings.order > components:
        message = f"expected at most {components}, the number of components, got {settings.order}"
        yield Complaint((*path, "order"), message)
        return
    estimated = sum(math.comb(components, size) for size in range(1, settings.order + 1))
    if budget is None and components > MOST_COMBINED:
        message = (
            f"{components} components have {2**components} combinations; without a `budget` expected at most "
            f"{MOST_COMBINED} components"
        )
        yield Complaint((*path, "components"), message)
    elif budget is not None and budget >= 2**components:
        message = f"{components} components have only {2**components} combinations: without `budget` all are run"
        yield Complaint((*path, "budget"), message)
    elif budget is not None and budget < estimated + 2:
        message = (
            f"expected at least {estimated + 2}: up to order {settings.order} there are {estimated} interactions of "
            f"{components} components to estimate, got {budget}"
        )
        yield Complaint((*path, "budget"), message)
