"""Second-stage cells: circuits are selected from stored edge scores, and the model runs with only them intact.

Held out, each example is evaluated under circuits that were ranked on the other half of the selected examples (two-fold
cross-fitting): a circuit looks better than it is on the prompts that chose it. The halves are drawn once a task,
balanced over templates, and are the same for both models of a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.batches import batch_rows, cell_groups, to_batch
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.scores import EdgeScoreStore, Numbers
from mechshift_core.execution.selected import FEWEST, Circuit, examples_of, halves_of, scores_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Array
from mechshift_core.graph import Graph
from mechshift_core.interventions.circuits.section import CircuitPatching, CircuitTransfer
from mechshift_core.kinds.section import AblationMethod
from stats.seeding import derived_seed, generator

if TYPE_CHECKING:
    from mechshift_core.models import Model

Floats = npt.NDArray[np.float32]
Origin = Literal["own", "partner", "random"]
EDGES_AT_ONCE = 65_536
"""Edges whose bootstrap samples are in memory together."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One row of a cell's `metric`: what kind of circuit it is, in each fold.

    Attributes:
        origin: Ranked on the model's own scores, on its partner's, or random like its own.
        percent: Size asked for, in percent of the edges; `asked` the same in edges.
        edges: The size, mean over folds: fewer than asked for where fewer edges have a score other than 0.
        draw: Number of a random circuit.
        live_edges: Edges that are left after pruning, mean over folds.
    """

    origin: Origin
    percent: float
    asked: int
    edges: float
    draw: int | None
    live_edges: float


def execute_circuits(
    plan: Plan, cell: Cell, model: Model, folder: RunFolder, intervention: CircuitPatching | CircuitTransfer
) -> None:
    """Evaluate and store the circuits of one pair, side and task: `metric` [circuits, selected examples].

    Raises:
        ExecutionError: if a number is not finite, or the cell can't be written.
        MemoryError: if a single example does not fit into memory.
    """
    partner = plan.partner(cell)
    selected = examples_of(plan, folder, cell, of=intervention.of)
    description = {**describe_cell(plan, cell, model), "held_out": intervention.held_out}
    if len(selected) < FEWEST:
        folder.write_cell(cell.key, {**description, "circuits": []}, {"examples": selected})
        return
    stores = {"own": scores_of(plan, folder, intervention.of, cell.model, cell)}
    if isinstance(intervention, CircuitTransfer):
        stores["partner"] = scores_of(plan, folder, intervention.of, partner, cell)
    folds = halves_of(plan, cell.task, selected, held_out=intervention.held_out)
    halvings: list[int] = []
    found: Floats | None = None
    described: list[list[Evaluated]] = []
    for number, (ranked_on, evaluated) in enumerate(folds):
        scores = {
            origin: _ranked(plan, cell.task, store, selected[ranked_on], intervention, fold=number)
            for origin, store in stores.items()
        }
        circuits, rows = _circuits(plan, cell.task, Graph.of(model.shape), scores, intervention, fold=number)
        examples = selected[evaluated]
        metric = evaluate(plan, cell, model, circuits, examples, intervention.ablation, halvings=halvings)
        found = np.empty((len(metric), len(selected)), dtype=np.float32) if found is None else found
        found[:, evaluated] = metric
        described.append(rows)
    assert found is not None
    if not np.isfinite(found).all():
        raise ExecutionError(f"{cell.intervention} of {cell.model!r} on {cell.task!r} is not finite")
    rows = [_overhalves_of(row) for row in zip(*described, strict=True)]
    tensors: dict[str, Array] = {
        "metric": found[2:],
        "clean_metric": found[0],
        "empty_metric": found[1],
        "examples": selected,
    }
    folder.write_cell(
        cell.key, {**description, "circuits": [asdict(row) for row in rows], "halvings": halvings}, tensors
    )
    folder.log_halvings(cell, halvings)


def evaluate(
    plan: Plan,
    cell: Cell,
    model: Model,
    circuits: Sequence[Circuit],
    examples: Numbers,
    ablation: AblationMethod,
    *,
    halvings: list[int],
) -> Floats:
    """The metric of the clean run, of the empty circuit and of each circuit, [2 + circuits, examples].

    The mean over the states in which an example is read.
    """
    from mechshift_core.attribution import evaluate_circuits

    task, dataset = cell.task, plan.dataset(cell.model, cell.task)
    edges = len(Graph.of(model.shape).edges)
    every = [np.ones(edges, dtype=bool), np.zeros(edges, dtype=bool), *circuits]
    distinct = {circuit.tobytes(): circuit for circuit in every}  # random circuits of all edges, for example, are one
    found = np.zeros((len(distinct), len(examples)), dtype=np.float32)
    column = {int(number): place for place, number in enumerate(examples)}
    for group in cell_groups(plan, cell, model, dataset.examples, by_state=True):
        # With all examples of the task: `mean` and `resample` take their values from those of this length.
        places = [place for place, number in enumerate(group.numbers) if number in column]
        if places:
            batch = to_batch(model, dataset, [dataset.examples[number] for number in group.numbers], group.states)
            weights = np.array([group.weights[place] for place in places], dtype=np.float32)
            metric = evaluate_circuits(
                model,
                batch,
                list(distinct.values()),
                ablation=ablation,
                seed=derived_seed(plan.spec.seed, "resample", task),
                only=places,
                rows=batch_rows(plan.spec),
                halvings=halvings,
            )
            found[:, [column[group.numbers[place]] for place in places]] += weights * metric.numpy()
    row = {content: number for number, content in enumerate(distinct)}
    return found[[row[circuit.tobytes()] for circuit in every]]


def _ranked(
    plan: Plan,
    task: str,
    store: EdgeScoreStore,
    ranked_on: Numbers,
    intervention: CircuitPatching | CircuitTransfer,
    *,
    fold: int,
) -> npt.NDArray[np.float64]:
    """The mean scores that edges are ranked by; 0 where the sign is not sure enough, [edges]."""
    from mechshift_core.attribution.sign_selection import consistent, sign_consistency

    means = store.mean(ranked_on)
    least = intervention.sign_consistency
    if least is None:
        return means
    blocks = (block for _, block in store.blocks(ranked_on, EDGES_AT_ONCE))
    return consistent(means, sign_consistency(blocks, generator(plan.spec.seed, "signs", task, fold)), least)


def _circuits(
    plan: Plan,
    task: str,
    graph: Graph,
    scores: dict[str, npt.NDArray[np.float64]],
    intervention: CircuitPatching | CircuitTransfer,
    *,
    fold: int,
) -> tuple[list[Circuit], list[Evaluated]]:
    """The circuits of one fold and what they are; the same kinds in every fold."""
    from mechshift_core.attribution.selection import (
        circuit_sizes,
        greedy_order,
        prune,
        random_like,
        scored_prefix,
    )
    from mechshift_core.attribution.sign_selection import top_edges_by_sign

    percents = intervention.sizes if isinstance(intervention, CircuitPatching) else (intervention.size,)
    draws = intervention.random if isinstance(intervention, CircuitPatching) else 0
    sizes = circuit_sizes(percents, len(graph.edges))
    circuits: list[Circuit] = []
    rows: list[Evaluated] = []

    def add(origin: Origin, percent: float, asked: int, circuit: Circuit, draw: int | None = None) -> None:
        circuits.append(circuit)
        live = int(prune(graph, circuit).sum())
        rows.append(Evaluated(origin, percent, asked, int(circuit.sum()), draw, live))

    for origin, of_origin in scores.items():
        order = greedy_order(graph, of_origin, max(sizes)) if intervention.selection == "greedy" else None
        for percent, size in zip(percents, sizes, strict=True):
            if order is None:
                circuit = top_edges_by_sign(of_origin, size, positive_share=intervention.positive_share or 0.0)
            else:
                circuit = np.zeros(len(graph.edges), dtype=bool)
                circuit[scored_prefix(order, of_origin, size)] = True
            add("own" if origin == "own" else "partner", percent, size, circuit)
            for draw in range(draws):
                rng = generator(plan.spec.seed, "random circuits", task, fold, size, draw)
                add("random", percent, size, random_like(graph, circuit, rng), draw)
    return circuits, rows


def _overhalves_of(rows: Sequence[Evaluated]) -> Evaluated:
    first = rows[0]
    edges, live = (float(np.mean([getattr(row, name) for row in rows])) for name in ("edges", "live_edges"))
    return Evaluated(first.origin, first.percent, first.asked, edges, first.draw, live)
