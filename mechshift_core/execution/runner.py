"""Executing cells: what is missing is computed, model by model, and stored one cell at a time.

Circuits come last, since they are selected from the scores of both models of a pair. With several workers, this process
computes nothing: it gives each a cell whose needs are met, of the model that the worker holds where there is one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError, MechshiftError
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.schedule import Account, in_order, share_out, what_of
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.timing import cell_facts
from mechshift_core.execution.workers import Work
from mechshift_core.kinds import INTERVENTIONS
from mechshift_core.kinds.extensions import Packed
from mechshift_core.progress import Progress

if TYPE_CHECKING:
    from mechshift_core.execution.cell_store import CellStore
    from mechshift_core.models import Model


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of executing a plan.

    Attributes:
        computed: Cells computed now; `cached` were there already, and `shared` were taken from the store.
        failures: Cell -> why it failed.
        notice: What is wrong with the store; empty where nothing is.
    """

    computed: int
    cached: int
    failures: dict[Cell, str]
    shared: int = 0
    notice: str = ""


@dataclass
class LoadedModel:
    """The one model that is in memory, and why others could not be loaded."""

    name: str = ""
    model: Model | None = None
    reasons: dict[str, str] = field(default_factory=dict)


def execute(
    plan: Plan, folder: RunFolder, *, store: CellStore | None = None, progress: Progress | None = None
) -> Execution:
    """Compute every missing cell, of alternatives too; a cell that fails is noted and the others go on.

    Args:
        plan: The cells.
        folder: A claimed run directory.
        store: Where cells are taken from before they are computed, and put when they were.
        progress: Called with (what is being done, cells done, cells in all).
    """
    account = Account(plan, folder, store, progress)
    cells = in_order(plan, account.missing)
    workers = min(plan.spec.execution.workers, len({cell.key for _, cell in cells}))
    if workers > 1:
        share_out(plan, cells, account, workers=workers, start=_start_worker)
    else:
        loaded = LoadedModel()
        for own, cell in cells:
            if account.settled(cell):
                continue
            if cell.model != loaded.name:
                account.report(f"loading {cell.model}")
            account.report(what_of(cell))
            account.finish(cell, compute_cell(plan, own, cell, loaded, folder))
    if store is not None:
        store.settle(folder, {cell.key for _, cell in plan.every_cell})
    missing, failed = len(account.missing), len(account.failures)
    if progress is not None:
        progress("cells", account.total - failed, account.total)
    cached = account.total - missing - account.shared
    notice = "" if store is None else store.notice
    return Execution(missing - failed, cached, account.failures, account.shared, notice)


def _start_worker(packed: Packed, threads: int, number: int) -> Work:
    """What a worker process does; its jobs are places in the plan's `every_cell`."""
    import torch

    plan, folder = packed.unpack()
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
        began = time.monotonic()
        _execute_cell(own, cell, loaded.model, folder)
        seconds = time.monotonic() - began
        facts = cell_facts(own, cell, plan.spec.execution.device)
        folder.log("cell timed", key=cell.key, seconds=round(seconds, 4), **facts)
    except (MechshiftError, RuntimeError, ValueError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None


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
        adapter=facts.adapters,
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
    intervention = plan.spec.intervention(cell.intervention)
    INTERVENTIONS[intervention.kind].compute(plan, cell, model, folder, intervention)
