"""Whether joint knock-outs are such that their indices can be computed: enough, not too many, and by one ablation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from mechshift_core.spec.draft import Draft
from mechshift_core.spec.interventions import MOST_COMBINED, Ablation, Shapley
from mechshift_core.spec.measures import JOINT_INDICES
from mechshift_core.spec.problems import listing
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path

_PAIRS, _COMBINATIONS = ("pairwise", "in pairs"), ("shapley", "in combinations")
_FIELDS = {
    "interaction_share": _PAIRS,
    "shapley_share": _COMBINATIONS,
    "interaction": _PAIRS,
    "shapley": _COMBINATIONS,
}
"""Index -> the field of an ablation that it needs, and how components are knocked out by it."""


def check_integration(draft: Draft) -> Iterator[Complaint]:
    """One ablation at most has the joint knock-outs of an index, and one does where the index needs them."""
    measure, path = draft.spec.measures.integration, ("measures", "integration")
    ablations = [one for one in draft.spec.interventions if isinstance(one, Ablation)]
    for index, served in JOINT_INDICES.items():
        names = [one.name for one in ablations if served(one)]
        field, what = _FIELDS[index]
        if not names and measure is not None and measure.index == index:
            message = (
                f"measure 'integration' needs an intervention of kind ablation with `{field}` "
                "(its indices participation, modularity and efficiency do without)"
            )
            yield Complaint(path, message, on_key=True)
        elif len(names) > 1 and index.endswith("_share"):  # once for each kind of knock-outs
            both = listing(names, conjunction="and")
            message = f"measure 'integration' is of one intervention, but {both} knock out components {what}"
            yield Complaint(path, message, on_key=True)
        if not names and index in draft.spec.sensitivity.integration:
            position = draft.spec.sensitivity.integration.index(index)
            message = f"the index {index!r} needs an intervention of kind ablation with `{field}`"
            yield Complaint(("sensitivity", "integration", position), message)


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
