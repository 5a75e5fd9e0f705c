"""What computes cells in one process: it holds one model at a time (and its partner, where a cell needs both)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError, MechshiftError
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.jobs import Event, Outcome
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.timing import cell_facts
from mechshift_core.kinds import INTERVENTIONS

if TYPE_CHECKING:
    from mechshift_core.models import Model
    from mechshift_core.models.load import Device


class Hands:
    """Computes the cells of a plan, in one process.

    Args:
        plan: The plan of the study.
        folder: Where cells are stored, and where what they need is.
    """

    def __init__(self, plan: Plan, folder: RunFolder) -> None:
        self.plan, self.folder = plan, folder
        self._cells: dict[str, tuple[Plan, Cell]] = {}
        for own, cell in plan.every_cell:
            self._cells.setdefault(cell.key, (own, cell))
        self._name, self._model = "", None
        self._reasons: dict[str, str] = {}
        self._events: list[Event] = []

    _model: Model | None

    def cell(self, key: str) -> Cell:
        """The cell of a key, the first where several share it."""
        return self._cells[key][1]

    def compute(self, key: str, folder: RunFolder | None = None) -> Outcome:
        """Compute and store a cell.

        Args:
            key: Of the cell.
            folder: Where it is stored, and what it needs is; the run directory unless given.
        """
        own, cell = self._cells[key]
        place = self.folder if folder is None else folder
        try:
            model = self._hold(cell.model)
            began = time.monotonic()
            with place.noting(self._events):
                _execute_cell(own, cell, model, place)
            facts = {"key": key, "seconds": round(time.monotonic() - began, 4)}
            self._note("cell timed", **facts, **cell_facts(own, cell, self.plan.spec.execution.device))
        except (MechshiftError, RuntimeError, ValueError, MemoryError) as error:
            return self._outcome(str(error) or type(error).__name__)
        return self._outcome(None)

    def _hold(self, name: str) -> Model:
        """Have a model in memory, and no other.

        Raises:
            MechshiftError: if it can't be loaded; it is tried once.
        """
        if name in self._reasons:
            raise ExecutionError(self._reasons[name])
        if self._name != name or self._model is None:
            self._name, self._model = "", None
            try:
                self._model = load_planned(self.plan, name)
            except (MechshiftError, MemoryError) as error:
                self._reasons[name] = str(error) or type(error).__name__
                self._note("model failed", model=name, reason=self._reasons[name])
                raise
            self._name = name
            self._note("model loaded", model=name)
        return self._model

    def _note(self, event: str, **facts: object) -> None:
        self._events.append((event, facts))

    def _outcome(self, reason: str | None) -> Outcome:
        noted, self._events = tuple(self._events), []
        return Outcome(reason, noted)


def _execute_cell(plan: Plan, cell: Cell, model: Model, folder: RunFolder) -> None:
    intervention = plan.spec.intervention(cell.intervention)
    INTERVENTIONS[intervention.kind].compute(plan, cell, model, folder, intervention)


def load_planned(plan: Plan, name: str, *, device: Device | None = None) -> Model:
    """A model of a plan, in memory.

    Args:
        plan: The plan.
        name: Of the model.
        device: Where it goes; where the spec says unless given.

    Raises:
        ExecutionError: if it can't be loaded, or lacks the mask token that it needs.
    """
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
        device=device or plan.spec.execution.device,
    )
    if declared.paradigm == "masked_diffusion" and model.mask_token_id is None:
        raise ExecutionError(f"model {name!r} is a masked diffusion model without a mask token; give `mask_token:`")
    return model
