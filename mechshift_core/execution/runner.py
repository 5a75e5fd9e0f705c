"""Executing cells: what is missing is computed, model by model, and stored one cell at a time.

Circuits come last, since they are selected from the scores of both models of a pair. With several workers, this process
computes nothing: it gives each a cell whose needs are met, of the model that the worker holds where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError, MechshiftError
from mechshift_core.execution.attention_cells import execute_attention
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.circuit_cells import execute_circuits
from mechshift_core.execution.edge_cells import execute_edges
from mechshift_core.execution.lens_cells import execute_lens
from mechshift_core.execution.node_cells import execute_nodes
from mechshift_core.execution.pair_cells import execute_pairs
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.probe_cells import execute_probe
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.targeted_cells import execute_targeted
from mechshift_core.execution.workers import Work, Workers, threads_each
from mechshift_core.spec.interventions import (
    Ablation,
    ActivationPatching,
    Attention,
    CircuitPatching,
    CircuitTransfer,
    EdgeAttribution,
    LogitLens,
    Probe,
    TargetedAblation,
)

if TYPE_CHECKING:
    from mechshift_core.models import Model

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of executing a plan.

    Attributes:
        computed: Cells computed now; `cached` were there already.
        failures: Cell -> why it failed.
    """

    computed: int
    cached: int
    failures: dict[Cell, str]


@dataclass
class LoadedModel:
    """The one model that is in memory, and why others could not be loaded."""

    name: str = ""
    model: Model | None = None
    reasons: dict[str, str] = field(default_factory=dict)


class _Account:
    """What has been done of a plan and what has failed; told to `progress` and to the log of events."""

    def __init__(self, plan: Plan, folder: RunFolder, progress: Progress | None) -> None:
        self.folder, self._progress = folder, progress
        every = plan.every_cell
        self.missing = [(own, cell) for own, cell in every if not folder.has_cell(cell.key)]
        self.failures: dict[Cell, str] = {}
        self.computed: set[str] = set()  # budgets that come to the same share their cells
        self._total, self._done = len(every), len(every) - len(self.missing)

    def report(self, what: str) -> None:
        """Say what is being done."""
        if self._progress is not None:
            self._progress(what, self._done, self._total)

    def settled(self, cell: Cell) -> bool:
        """Whether a cell has come out without being computed, since it is there or what it needs failed."""
        lacking = [f"{other}: {reason}" for other, reason in self.failures.items() if other.key in cell.needs]
        if lacking:
            self.finish(cell, f"what it needs failed, {lacking[0]}")
        elif cell.key in self.computed:
            self._done += 1
        else:
            return False
        return True

    def finish(self, cell: Cell, reason: str | None) -> None:
        """Note what came of a cell: why it failed, or None."""
        if reason is None:
            facts = {"model": cell.model, "task": cell.task, "start": cell.start, "stop": cell.stop}
            self.computed.add(cell.key)
            self.folder.log("cell", key=cell.key, intervention=cell.intervention, pair=cell.pair, **facts)
        else:
            self.failures[cell] = reason
            self.folder.log("cell failed", key=cell.key, model=cell.model, task=cell.task, reason=reason)
        self._done += 1

    def close(self) -> Execution:
        """What came of it all."""
        if self._progress is not None:
            self._progress("cells", self._total - len(self.failures), self._total)
        missing, failed = len(self.missing), len(self.failures)
        return Execution(missing - failed, self._total - missing, self.failures)


def execute(plan: Plan, folder: RunFolder, *, progress: Progress | None = None) -> Execution:
    """Compute every missing cell, of alternatives too; a cell that fails is noted and the others go on.

    Args:
        plan: The cells.
        folder: A claimed run directory.
        progress: Called with (what is being done, cells done, cells in all).
    """
    account = _Account(plan, folder, progress)
    cells = _in_order(plan, account.missing)
    workers = min(plan.spec.execution.workers, len({cell.key for _, cell in cells}))
    if workers > 1:
        _share_out(plan, cells, account, workers)
        return account.close()
    loaded = LoadedModel()
    for own, cell in cells:
        if account.settled(cell):
            continue
        if cell.model != loaded.name:
            account.report(f"loading {cell.model}")
        account.report(_what(cell))
        account.finish(cell, compute_cell(plan, own, cell, loaded, folder))
    return account.close()


def _share_out(plan: Plan, cells: Sequence[tuple[Plan, Cell]], account: _Account, count: int) -> None:
    """Have worker processes compute cells, those that others need first."""
    numbers = {(id(own), cell): number for number, (own, cell) in enumerate(plan.every_cell)}
    waiting = [(numbers[id(own), cell], cell) for own, cell in cells]
    running: dict[int, Cell] = {}
    holds: dict[int, str] = {}
    with Workers(count, _start_worker, plan, account.folder, threads_each(count)) as workers:
        while waiting or running:
            for worker in workers.idle:
                waiting = [(number, cell) for number, cell in waiting if not account.settled(cell)]
                chosen = _next_cell(waiting, list(running.values()), holds, worker)
                if chosen is None:
                    continue
                number, cell = chosen
                waiting.remove(chosen)
                running[number], holds[worker] = cell, cell.model
                account.report(_what(cell))
                workers.give(worker, number)
            for outcome in workers.finished() if running else ():
                cell = running.pop(outcome.job)
                if outcome.died:
                    del holds[outcome.worker]
                written = outcome.died and account.folder.has_cell(cell.key)
                account.finish(cell, None if written else outcome.reason)


def _next_cell(
    waiting: Sequence[tuple[int, Cell]], running: Sequence[Cell], holds: dict[int, str], worker: int
) -> tuple[int, Cell] | None:
    """The cell that a worker does next: of the model that it holds, else of one that no other holds, else any."""
    computing = {cell.key for cell in running}
    open_keys = computing | {cell.key for _, cell in waiting}
    ready = [own for own in waiting if own[1].key not in computing and open_keys.isdisjoint(own[1].needs)]
    others = {model for other, model in holds.items() if other != worker}
    return min(ready, key=lambda own: (own[1].model != holds.get(worker), own[1].model in others), default=None)


def _start_worker(plan: Plan, folder: RunFolder, threads: int, number: int) -> Work:
    """What a worker process does; its jobs are places in the plan's `every_cell`."""
    import torch

    torch.set_num_threads(min(threads, torch.get_num_threads()))
    if plan.spec.execution.device != "cpu" and torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    loaded, every = LoadedModel(), plan.every_cell

    def work(job: int) -> str | None:
        own, cell = every[job]
        try:
            return compute_cell(plan, own, cell, loaded, folder)
        except Exception as error:
            return f"internal error: {type(error).__name__}: {error}"

    return work


def _what(cell: Cell) -> str:
    return f"{cell.intervention} {cell.part}".strip() + f" of {cell.model} on {cell.task}"


def compute_cell(plan: Plan, own: Plan, cell: Cell, loaded: LoadedModel, folder: RunFolder) -> str | None:
    """Compute and store a cell; returns why it failed, None where it did not.

    Args:
        plan: The plan of the study; `own`, the one that the cell belongs to: it, or that of an alternative.
        cell: The cell.
        loaded: What is in memory; it then holds the cell's model.
        folder: Where it is stored, and where what it needs is.
    """
    try:
        _hold(plan, cell.model, loaded, folder)
        assert loaded.model is not None
        _execute_cell(own, cell, loaded.model, folder)
    except (MechshiftError, RuntimeError, ValueError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None


def _in_order(plan: Plan, cells: Sequence[tuple[Plan, Cell]]) -> list[tuple[Plan, Cell]]:
    """Cells that need others after these, model by model; the model loaded last goes first in the second stage."""
    models = list(plan.models)
    first = sorted((own for own in cells if not own[1].needs), key=lambda own: models.index(own[1].model))
    second = sorted((own for own in cells if own[1].needs), key=lambda own: -models.index(own[1].model))
    return first + second


def _hold(plan: Plan, name: str, loaded: LoadedModel, folder: RunFolder) -> None:
    """Have a model in memory, and no other.

    Raises:
        MechshiftError: if it can't be loaded; it is tried once.
    """
    if name in loaded.reasons:
        raise ExecutionError(loaded.reasons[name])
    if loaded.name == name:
        return
    loaded.name, loaded.model = "", None
    try:
        loaded.model = _load(plan, name)
    except (MechshiftError, MemoryError) as error:
        loaded.reasons[name] = str(error) or type(error).__name__
        folder.log("model failed", model=name, reason=loaded.reasons[name])
        raise
    loaded.name = name


def _load(plan: Plan, name: str) -> Model:
    from mechshift_core.loading import load_model

    facts = plan.models[name]
    declared = facts.declared
    model = load_model(
        facts.folder,
        paradigm=declared.paradigm,
        shifted=declared.shifted if declared.paradigm == "masked_diffusion" else None,
        mask_token=declared.mask_token,
        tokenizer=None if declared.tokenizer is None else facts.tokenizer_folder,
        dtype=facts.dtype,
        device=plan.spec.execution.device,
    )
    if declared.paradigm == "masked_diffusion" and model.mask_token_id is None:
        raise ExecutionError(f"model {name!r} is a masked diffusion model without a mask token; give `mask_token:`")
    return model


def _execute_cell(plan: Plan, cell: Cell, model: Model, folder: RunFolder) -> None:
    intervention = next(i for i in plan.spec.interventions if i.name == cell.intervention)
    if isinstance(intervention, EdgeAttribution):
        execute_edges(plan, cell, model, folder, intervention)
    elif isinstance(intervention, Ablation) and cell.part == "pairs":
        execute_pairs(plan, cell, model, folder, intervention)
    elif isinstance(intervention, ActivationPatching | Ablation):
        execute_nodes(plan, cell, model, folder, intervention)
    elif isinstance(intervention, LogitLens):
        execute_lens(plan, cell, model, folder)
    elif isinstance(intervention, TargetedAblation):
        execute_targeted(plan, cell, model, folder, intervention)
    elif isinstance(intervention, Probe):
        execute_probe(plan, cell, model, folder, intervention)
    elif isinstance(intervention, Attention):
        execute_attention(plan, cell, model, folder)
    else:
        assert isinstance(intervention, CircuitPatching | CircuitTransfer)
        execute_circuits(plan, cell, model, folder, intervention)
