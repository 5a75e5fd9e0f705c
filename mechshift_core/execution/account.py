"""The account of a run: what is there, what came of each cell, and who is told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.jobs import Job, Outcome
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder

if TYPE_CHECKING:
    from mechshift_core.execution.cell_store import CellStore
    from mechshift_core.progress import Progress


ARRIVAL = 90.0
"""Seconds until what one machine has written must be seen by another."""


class Account:
    """What has been done of a plan and what has failed; told to `progress` and to the log of events.

    Attributes:
        jobs: The cells that were not there, model by model, those that need others last.
        failures: Cell -> why it failed.
        missing: How many cells had to be computed; `total` counts all. Budgets that come to the same share their cells.
        shared: How many were taken from the store.
    """

    def __init__(self, plan: Plan, folder: RunFolder, store: CellStore | None, progress: Progress | None) -> None:
        self.folder, self._store, self._progress = folder, store, progress
        every = [cell for _, cell in plan.every_cell]
        self._by_key: dict[str, list[Cell]] = {}
        for cell in every:
            self._by_key.setdefault(cell.key, []).append(cell)
        self.failures: dict[Cell, str] = {}
        self.total, self._done = len(every), 0
        there = {key for key in self._by_key if folder.has_cell(key)}
        self._done = sum(len(self._by_key[key]) for key in there)
        taken = self._take([key for key in self._by_key if key not in there])
        self.shared = sum(len(self._by_key[key]) for key in taken)
        self._done += self.shared
        self.missing = self.total - self._done
        models = list(plan.models)
        first = [cells[0] for key, cells in self._by_key.items() if key not in there | taken]
        first.sort(key=lambda cell: (bool(cell.needs), models.index(cell.model)))
        self.jobs = [Job(cell.key, cell.model, cell.needs, cell.what, str(cell)) for cell in first]

    def _take(self, keys: Sequence[str]) -> set[str]:
        """The cells that the store has, which are then in the run directory."""
        if self._store is None:
            return set()
        taken = set()
        for key in keys:
            self.report("looking into the store of cells")
            if self._store.take(key, self.folder):
                taken.add(key)
        if taken:
            self.folder.log("cells shared", store=str(self._store.folder), keys=sorted(taken))
        return taken

    def report(self, what: str) -> None:
        """Say what is being done."""
        if self._progress is not None:
            self._progress(what, self._done, self.total)

    def begun(self, job: Job) -> None:
        """Say that a job is begun."""
        self.report(job.what)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Note what came of a job; a cell that is there has come out, whatever became of who computed it."""
        for event, facts in outcome.events:
            self.folder.log(event, **facts)
        cells = self._by_key[job.key]
        reason = outcome.reason
        if reason is None and not self._arrived(job.key):
            reason = f"what a worker has written is not to be seen in {self.folder.cells}; is the folder really shared?"
        elif reason is not None and self.folder.has_cell(job.key):
            reason = None
        cell = cells[0]
        if reason is None:
            if self._store is not None:
                self._store.put(cell.key, self.folder)
            facts = {"model": cell.model, "task": cell.task, "start": cell.start, "stop": cell.stop}
            self.folder.log("cell", key=cell.key, intervention=cell.intervention, pair=cell.pair, **facts)
        else:
            self.failures |= dict.fromkeys(cells, reason)
            self.folder.log("cell failed", key=cell.key, model=cell.model, task=cell.task, reason=reason)
        self._done += len(cells)

    def _arrived(self, key: str) -> bool:
        """Whether a cell can be seen; other machines' files may take a while on a network's file system."""
        until = time.monotonic() + ARRIVAL
        while not (self.folder.cells / key).exists():
            if time.monotonic() > until:
                return False
            time.sleep(0.2)
            sum(1 for _ in self.folder.cells.iterdir())  # which has the system look again
        return True
