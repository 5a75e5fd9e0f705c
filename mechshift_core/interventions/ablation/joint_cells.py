"""Second-stage cells of an ablation: a model's strongest components knocked out together, in pairs or in combinations.

The strongest are those whose single knock-out changes the metric most on average over all aligned examples of the task,
or those with the largest attribution, found for each model, task and inference budget by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.node_cells import patched_metric
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.ranking import by_attribution, by_knock_out
from mechshift_core.execution.scores import read_stored, task_seed
from mechshift_core.execution.selected import scores_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.ablation.section import Ablation
from stats.shapley import all_combinations
from stats.shapley_sampling import sampled_combinations

if TYPE_CHECKING:
    from mechshift_core.models import Model


def execute_joint(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: Ablation) -> None:
    """Compute and store the metric with several of the strongest components knocked out: `metric` [sets, examples].

    The sets are all pairs, or, for the part `shapley`, all combinations (nothing first) or a sample of them.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    singles = read_stored(folder, plan.cells_of(cell.intervention, cell.model, cell.task, budget=cell.budget))
    components: list[str] = singles.description["components"]
    size = intervention.pairwise
    if cell.part == "shapley":
        assert intervention.shapley is not None
        size = intervention.shapley.components
    if intervention.strongest_by == "attribution":
        assert plan.spec.edge_attribution is not None  # a spec without one is refused
        store = scores_of(plan, folder, plan.spec.edge_attribution.name, cell.model, cell)
        order = by_attribution(model.shape, store.mean(np.arange(store.shape[0])))
    else:
        order = by_knock_out(singles)
    chosen = sorted([components.index(name) for name in order if name in components][:size])
    members = list(combinations(chosen, 2)) if cell.part == "pairs" else _combinations(plan, cell, chosen, intervention)
    halvings: list[int] = []
    runs = [[components[one] for one in together] for together in members]
    examples = range(cell.start, cell.stop)
    metric = patched_metric(plan, cell, model, runs, intervention.ablation, examples=examples, halvings=halvings)
    description = {
        **describe_cell(plan, cell, model),
        "strongest": [components[number] for number in chosen],
        "members": members,
        "halvings": halvings,
    }
    folder.write_cell(cell.key, description, {"metric": metric})
    folder.log_halvings(cell, halvings)


def _combinations(plan: Plan, cell: Cell, chosen: Sequence[int], intervention: Ablation) -> list[tuple[int, ...]]:
    """The components of each combination, by number: all of them, or as many as the budget allows."""
    settings = intervention.shapley
    assert settings is not None
    if settings.budget is None or settings.budget >= 2 ** len(chosen):
        masks = all_combinations(len(chosen))
    else:
        seed = task_seed(plan.spec.seed, cell.task)
        masks = sampled_combinations(len(chosen), order=settings.order, budget=settings.budget, seed=seed)
    numbers = np.array(chosen)
    return [tuple(numbers[mask].tolist()) for mask in masks]
