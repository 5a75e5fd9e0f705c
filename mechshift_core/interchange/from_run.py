"""Scores of a model out of a run directory, and circuits of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.scores import (
    EdgeScoreStore,
    halves,
    judgement,
    read_answers,
    selected_examples,
    task_seed,
)
from mechshift_core.execution.store import RunFolder
from mechshift_core.interchange.circuit import ScoredCircuit
from mechshift_core.options import checked_as, listing, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mechshift_core.execution.cells import Cell

Averaged = Literal["signed", "absolute"]
Side = Literal["before", "after"]
Numbers = npt.NDArray[np.int64]


@checked_as(UsageError)
def circuit_of_run(
    path: str | os.PathLike[str],
    *,
    task: str,
    model: str | None = None,
    pair: str | None = None,
    side: Side = "after",
    attribution: str | None = None,
    budget: str | None = None,
    scores: Averaged = "signed",
    allow_code: bool = False,
) -> ScoredCircuit:
    """The mean edge scores of a model on a task, from the stored cells of a run; no model is loaded.

    Args:
        path: A run directory.
        task: The task.
        model: The model; the mean is then over all aligned prompts of the task. Give this or `pair`.
        pair: The pair; the mean is then over the prompts selected for it, as in the run's own statistics.
        side: Which model of the pair.
        attribution: The edge attribution; the first of the spec unless given.
        budget: The inference budget; the first of the spec unless given.
        scores: Mean of the `signed` scores, or of their magnitudes (`absolute`).
        allow_code: Whether the copies of `extensions` in the run directory may be run.

    Raises:
        UsageError: if the folder holds no run, or the run has no such model, pair, task, attribution or budget.
        ExecutionError: if cells are missing, or no prompt is left to average over.
    """
    from mechshift_core.kinds import attributes
    from mechshift_core.pipeline import stored_plan

    if (model is None) == (pair is None):
        raise UsageError("expected a model or a pair, got " + ("neither" if model is None else "both"))
    plan = stored_plan(path, allow_code=allow_code, finished=True)
    folder, spec = RunFolder(Path(path)), plan.spec
    named = _known("task", task, plan.datasets)
    methods = {one.name: one for one in spec.interventions if attributes(one)}
    method = methods[_known("attribution", attribution or next(iter(methods), ""), methods)]
    read_at = _known("budget", budget or plan.budgets[0], plan.budgets)
    of_pair = None
    if pair is not None:
        pairs = {one.name: one for one in spec.pairs}
        of_pair = pairs[_known("pair", pair, pairs)]
        model = of_pair.before if side == "before" else of_pair.after
    name = _known("model", model or "", plan.models)

    def cells(of: str) -> list[Cell]:
        found = plan.cells_of(method.name, of, named, budget=read_at)
        missing = [cell for cell in found if not folder.has_cell(cell.key)]
        if missing or not found:
            raise ExecutionError(
                f"{path}: {len(missing)} of {len(found)} cells of {method.name!r} of {of!r} on {named!r} are not "
                "computed; run it again, it resumes"
            )
        return found

    store = EdgeScoreStore([folder.cell_file(cell.key) for cell in cells(name)])
    selected: Numbers = np.arange(store.shape[0])
    if of_pair is not None:
        dataset = plan.datasets[named]
        by = judgement(spec, dataset)
        answers = [read_answers(folder, cells(one), dataset, by) for one in (of_pair.before, of_pair.after)]
        selected = selected_examples(answers, spec.select.correct)
        if of_pair.prompts == "halves":
            selected = halves(selected, dataset, task_seed(spec.seed, named))[side == "after"]
    if not len(selected):
        raise ExecutionError(f"{path}: no prompt of {named!r} is selected for the pair {pair!r}; give a model instead")
    about = {
        "study": spec.name,
        "model": name,
        "source": plan.models[name].declared.source,
        "weights_sha256": plan.models[name].weights,
        "task": named,
        "attribution": str(getattr(method, "method", method.kind)),
        "budget": read_at,
        "scores": f"{scores} mean over {len(selected)} prompts",
        **({} if of_pair is None else {"pair": of_pair.name, "side": side}),
    }
    return ScoredCircuit(shape=plan.models[name].shape, scores=_mean(store, selected, scores), about=about)


def with_circuit(
    circuit: ScoredCircuit,
    *,
    top: int | None = None,
    share: float | None = None,
    selection: Literal["top", "greedy"] = "top",
) -> ScoredCircuit:
    """Scores with a circuit of their strongest edges, as `circuit_patching` selects them.

    Args:
        circuit: Scores.
        top: Number of edges. Give this or `share`.
        share: The same in percent of all edges.
        selection: The largest magnitudes (`top`), or those among them that lead to the logits (`greedy`).

    Raises:
        UsageError: for a size out of range, or where there are no scores.
    """
    from mechshift_core.attribution.selection import circuit_sizes, greedy_edges, top_edges

    if circuit.scores is None:
        raise UsageError("a circuit is selected by scores, and there are none")
    total = len(circuit.graph.edges)
    if (top is None) == (share is None):
        raise UsageError("expected a number of edges or a share of them, got " + ("neither" if top is None else "both"))
    if share is not None and not 0 < share <= 100:
        raise UsageError(f"share: expected percent of the edges, above 0 and up to 100, got {share:g}")
    size = circuit_sizes([share], total)[0] if share is not None else top or 0
    if not 0 < size <= total:
        raise UsageError(f"top: expected a number of edges from 1 to {total}, got {size}")
    chosen = (
        top_edges(circuit.scores, size) if selection == "top" else greedy_edges(circuit.graph, circuit.scores, size)
    )
    about = {**circuit.about, "circuit": f"{int(chosen.sum())} edges, selection {selection}"}
    return replace(circuit, member=chosen, about=about)


def _mean(store: EdgeScoreStore, selected: Numbers, scores: Averaged) -> npt.NDArray[np.float64]:
    if scores == "signed":
        return store.mean(selected)
    total = np.zeros(store.shape[1:])
    for row in store.each(selected):
        total += np.abs(row)
    return total / len(selected)


def _known(what: str, name: str, names: Iterable[str]) -> str:
    known = [*names]
    if name not in known:
        hint = suggestion(name, known) or f" ({what}s of the run: {listing(known) if known else 'none'})"
        raise UsageError(f"unknown {what} {name!r}{hint}")
    return name
