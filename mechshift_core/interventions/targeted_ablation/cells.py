"""Second-stage cells of a targeted ablation: groups of the components that a model's own circuit uses most.

Held out, each example is run without the components that were ranked on the other half of the selected examples; the
halves are those of the circuits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.node_cells import patched_metric
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.ranking import by_attribution
from mechshift_core.execution.selected import FEWEST, examples_of, halves_of, scores_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.graph import Graph, Shape, components_by_depth
from mechshift_core.interventions.targeted_ablation.section import TargetedAblation
from stats.seeding import generator

if TYPE_CHECKING:
    from mechshift_core.models import Model

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Group:
    """Components that are knocked out together.

    Attributes:
        layers: `early`, `middle` or `late`, or `random`.
        draw: Number of a random group.
        components: Their names in each fold.
    """

    layers: str
    draw: int | None
    components: tuple[tuple[str, ...], ...]


def execute_targeted(plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: TargetedAblation) -> None:
    """Evaluate and store the groups of one pair, side and task: `metric` [groups, selected examples], `clean_metric`.

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    selected = examples_of(plan, folder, cell, of=intervention.of)
    description = {**describe_cell(plan, cell, model), "held_out": intervention.held_out}
    if len(selected) < FEWEST:
        folder.write_cell(cell.key, {**description, "groups": []}, {"examples": selected})
        return
    store = scores_of(plan, folder, intervention.of, cell.model, cell)
    folds = halves_of(plan, cell.task, selected, held_out=intervention.held_out)
    ranked = [by_attribution(model.shape, store.mean(selected[ranking]), used=True) for ranking, _ in folds]
    groups = _groups(plan, cell.task, model.shape, ranked, intervention)
    halvings: list[int] = []
    metric = np.zeros((1 + len(groups), len(selected)), dtype=np.float32)
    for fold, (_, evaluated) in enumerate(folds):
        runs = [[], *(group.components[fold] for group in groups)]
        examples = selected[evaluated].tolist()
        metric[:, evaluated] = patched_metric(
            plan, cell, model, runs, intervention.ablation, examples=examples, halvings=halvings
        )
    description |= {"groups": [asdict(group) for group in groups], "halvings": halvings}
    folder.write_cell(cell.key, description, {"metric": metric[1:], "clean_metric": metric[0], "examples": selected})
    folder.log_halvings(cell, halvings)


def _groups(
    plan: Plan, task: str, shape: Shape, ranked: list[list[str]], intervention: TargetedAblation
) -> list[Group]:
    """The strongest of each range of layers that has enough of them, and random ones like those aimed at.

    A group is smaller where fewer components of its layers have a score other than 0.
    """
    size = intervention.size
    by_depth = {name: found for name, found in components_by_depth(shape).items() if len(found) >= size}
    groups = [
        Group(name, None, tuple(tuple([one for one in order if one in found][:size]) for order in ranked))
        for name, found in by_depth.items()
    ]
    target = next(group for group in groups if group.layers == intervention.layers)
    every = [source.name for source in Graph.of(shape).sources[1:]]
    for draw in range(intervention.random):
        drawn = []
        for fold, aimed in enumerate(target.components):
            rng = generator(plan.spec.seed, "random components", task, fold, draw)
            kinds = [([name for name in every if name[0] == kind], kind) for kind in "am"]
            counts = [sum(name[0] == kind for name in aimed) for _, kind in kinds]
            drawn.append(
                tuple(
                    str(name)
                    for (names, _), count in zip(kinds, counts, strict=True)
                    for name in rng.choice(names, size=count, replace=False)
                )
            )
        groups.append(Group(RANDOM, draw, tuple(drawn)))
    return groups
