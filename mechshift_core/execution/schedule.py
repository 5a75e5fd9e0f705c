"""Which cell comes next, here or in one of several worker processes, and the account of what came of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.workers import StartWork, Workers, threads_each
from mechshift_core.kinds.extensions import pack

if TYPE_CHECKING:
    from mechshift_core.execution.cell_store import CellStore
    from mechshift_core.progress import Progress


class Account:
    """What has been done of a plan and what has failed; told to `progress` and to the log of events.

    Attributes:
        missing: The cells that were not there and had to be computed, each with its plan; `total` counts all.
        shared: How many cells were taken from the store.
        failures: Cell -> why it failed.
    """

    def __init__(self, plan: Plan, folder: RunFolder, store: CellStore | None, progress: Progress | None) -> None:
        self.folder, self._store, self._progress = folder, store, progress
        every = plan.every_cell
        self.total = len(every)
        lacking = [(own, cell) for own, cell in every if not folder.has_cell(cell.key)]
        self._done = self.total - len(lacking)
        taken = self._take(cell.key for _, cell in lacking)
        self.missing = [(own, cell) for own, cell in lacking if cell.key not in taken]
        self.shared = len(lacking) - len(self.missing)
        self.failures: dict[Cell, str] = {}
        self.computed: set[str] = set()  # budgets that come to the same share their cells
        self._done += self.shared

    def _take(self, keys: Iterable[str]) -> set[str]:
        """The cells that the store has, which are then in the run directory."""
        if self._store is None:
            return set()
        taken = set()
        for key in dict.fromkeys(keys):
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
            if self._store is not None:
                self._store.put(cell.key, self.folder)
            self.folder.log("cell", key=cell.key, intervention=cell.intervention, pair=cell.pair, **facts)
        else:
            self.failures[cell] = reason
            self.folder.log("cell failed", key=cell.key, model=cell.model, task=cell.task, reason=reason)
        self._done += 1


def in_order(plan: Plan, cells: Sequence[tuple[Plan, Cell]]) -> list[tuple[Plan, Cell]]:
    """Cells that need others after these, model by model; the model loaded last goes first in the second stage."""
    models = list(plan.models)
    first = sorted((own for own in cells if not own[1].needs), key=lambda own: models.index(own[1].model))
    second = sorted((own for own in cells if own[1].needs), key=lambda own: -models.index(own[1].model))
    return first + second


def share_out(
    plan: Plan, cells: Sequence[tuple[Plan, Cell]], account: Account, *, workers: int, start: StartWork
) -> None:
    """Have worker processes compute cells, those that others need first.

    Args:
        plan: The plan that the cells are of.
        cells: The cells, in the order in which they are begun where there is a choice.
        account: What comes of them.
        workers: Number of processes.
        start: Called in each with the packed plan and run directory, its threads and its number; the jobs are places
            in the plan's `every_cell`.
    """
    numbers = {(id(own), cell): number for number, (own, cell) in enumerate(plan.every_cell)}
    waiting = [(numbers[id(own), cell], cell) for own, cell in cells]
    running: dict[int, Cell] = {}
    holds: dict[int, str] = {}
    packed = pack(plan.spec.loaded_extensions, (plan, account.folder))
    with Workers(workers, start, packed, threads_each(workers)) as pool:
        while waiting or running:
            for worker in pool.idle:
                waiting = [(number, cell) for number, cell in waiting if not account.settled(cell)]
                chosen = _next_cell(waiting, list(running.values()), holds, worker)
                if chosen is None:
                    continue
                number, cell = chosen
                waiting.remove(chosen)
                running[number], holds[worker] = cell, cell.model
                account.report(what_of(cell))
                pool.give(worker, number)
            for outcome in pool.finished() if running else ():
                cell = running.pop(outcome.job)
                if outcome.died:
                    del holds[outcome.worker]
                written = outcome.died and account.folder.has_cell(cell.key)
                account.finish(cell, None if written else outcome.reason)


def _next_cell(
    waiting: Sequence[tuple[int, Cell]], running: Sequence[Cell], holds: Mapping[int, str], worker: int
) -> tuple[int, Cell] | None:
    """The cell that a worker does next: of the model that it holds, else of one that no other holds, else any."""
    computing = {cell.key for cell in running}
    open_keys = computing | {cell.key for _, cell in waiting}
    ready = [own for own in waiting if own[1].key not in computing and open_keys.isdisjoint(own[1].needs)]
    others = {model for other, model in holds.items() if other != worker}
    return min(ready, key=lambda own: (own[1].model != holds.get(worker), own[1].model in others), default=None)


def what_of(cell: Cell) -> str:
    """A cell in a few words, for the progress."""
    return f"{cell.intervention} {cell.part}".strip() + f" of {cell.model} on {cell.task}"
