"""Executing cells: what is missing is computed, model by model, and stored one cell at a time.

Circuits come last, since they are selected from the scores of both models of a pair.
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
class _Loaded:
    """The one model that is in memory, and why others could not be loaded."""

    name: str = ""
    model: Model | None = None
    reasons: dict[str, str] = field(default_factory=dict)


def execute(plan: Plan, folder: RunFolder, *, progress: Progress | None = None) -> Execution:
    """Compute every missing cell, of alternatives too; a cell that fails is noted and the others go on.

    Args:
        plan: The cells.
        folder: A claimed run directory.
        progress: Called with (what is being done, cells done, cells in all).
    """
    every = plan.every_cell
    missing = [(own, cell) for own, cell in every if not folder.has_cell(cell.key)]
    failures: dict[Cell, str] = {}
    finished: set[str] = set()  # budgets that come to the same share their cells
    done = len(every) - len(missing)

    def report(what: str) -> None:
        if progress is not None:
            progress(what, done, len(every))

    loaded = _Loaded()
    for own, cell in _in_order(plan, missing):
        lacking = [f"{other}: {reason}" for other, reason in failures.items() if other.key in cell.needs]
        if lacking:
            failures[cell] = f"what it needs failed, {lacking[0]}"
        elif cell.key not in finished:
            try:
                if cell.model != loaded.name:
                    report(f"loading {cell.model}")
                _hold(plan, cell.model, loaded, folder)
                report(f"{cell.intervention} {cell.part}".strip() + f" of {cell.model} on {cell.task}")
                assert loaded.model is not None
                _execute_cell(own, cell, loaded.model, folder)
                facts = {"model": cell.model, "task": cell.task, "start": cell.start, "stop": cell.stop}
                finished.add(cell.key)
                folder.log("cell", key=cell.key, intervention=cell.intervention, pair=cell.pair, **facts)
            except (MechshiftError, RuntimeError, ValueError, MemoryError) as error:
                failures[cell] = str(error) or type(error).__name__
        if cell in failures:
            folder.log("cell failed", key=cell.key, model=cell.model, task=cell.task, reason=failures[cell])
        done += 1
    if progress is not None:
        progress("cells", len(every) - len(failures), len(every))
    return Execution(len(missing) - len(failures), len(every) - len(missing), failures)


def _in_order(plan: Plan, cells: Sequence[tuple[Plan, Cell]]) -> list[tuple[Plan, Cell]]:
    """Cells that need others after these, model by model; the model loaded last goes first in the second stage."""
    models = list(plan.models)
    first = sorted((own for own in cells if not own[1].needs), key=lambda own: models.index(own[1].model))
    second = sorted((own for own in cells if own[1].needs), key=lambda own: -models.index(own[1].model))
    return first + second


def _hold(plan: Plan, name: str, loaded: _Loaded, folder: RunFolder) -> None:
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
