"""Second-stage cells of an ablation: a model's strongest components, knocked out in pairs.

The strongest are those whose single knock-out changes the metric most on average over all aligned examples of the task,
found for each model, task and inference budget by itself.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.node_cells import patched_metric
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.scores import read_stored
from mechshift_core.execution.store import RunFolder
from mechshift_core.spec.interventions import Ablation

if TYPE_CHECKING:
    from mechshift_core.models import Model


def execute_pairs(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: Ablation) -> None:
    """Compute and store the metric with each pair of the strongest components knocked out: `metric` [pairs, examples].

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    singles = read_stored(folder, plan.cells_of(cell.intervention, cell.model, cell.task, budget=cell.budget))
    components: list[str] = singles.description["components"]
    effects = singles.tensors["clean_metric"].astype(np.float64) - singles.tensors["metric"]
    strength = np.abs(effects.mean(axis=1))
    chosen = sorted(np.argsort(-strength, kind="stable")[: intervention.pairwise].tolist())
    members = list(combinations(chosen, 2))
    halvings: list[int] = []
    runs = [[components[first], components[second]] for first, second in members]
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
