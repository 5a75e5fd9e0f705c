"""Executing cells: what is missing is computed and stored one cell at a time, here or by the workers of an engine.

Circuits come last, since they are selected from the scores of both models of a pair. With workers, this process
computes nothing: it gives each a cell whose needs are met, of the model that the worker holds where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mechshift_core.execution.account import Account
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.hands import Hands
from mechshift_core.execution.jobs import Waiting, settle
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.profiles import NEEDED, Profile, default_profile
from mechshift_core.execution.store import RunFolder
from mechshift_core.progress import Progress

if TYPE_CHECKING:
    from mechshift_core.execution.cell_store import CellStore


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


def execute(
    plan: Plan,
    folder: RunFolder,
    *,
    profile: Profile | None = None,
    store: CellStore | None = None,
    progress: Progress | None = None,
) -> Execution:
    """Compute every missing cell, of alternatives too; a cell that fails is noted and the others go on.

    Args:
        plan: The cells.
        folder: A claimed run directory that holds the plan.
        profile: How to run; in as many processes of this machine as the spec says unless given.
        store: Where cells are taken from before they are computed, and put when they were.
        progress: Called with (what is being done, cells done, cells in all).

    Raises:
        UsageError: if the profile is wrong, or lacks a package.
        ExecutionError: if an engine's workers are lost for good.
    """
    account = Account(plan, folder, store, progress)
    chosen = profile or default_profile(plan.spec)
    if chosen.alone and profile is None and plan.spec.execution.workers > 1:
        account.report(f"one process: several need {NEEDED}")
    if account.jobs and not (chosen.alone or (chosen.here and len(account.jobs) == 1)):
        _elsewhere(plan, folder, chosen, account)
    else:
        _here(plan, folder, account)
    if store is not None:
        store.settle(folder, {cell.key for _, cell in plan.every_cell})
    failed = len(account.failures)
    if progress is not None:
        progress("cells", account.total - failed, account.total)
    cached = account.total - account.missing - account.shared
    notice = "" if store is None else store.notice
    return Execution(account.missing - failed, cached, account.failures, account.shared, notice)


def _here(plan: Plan, folder: RunFolder, account: Account) -> None:
    """Compute in this process."""
    waiting, hands, holds = Waiting(account.jobs), Hands(plan, folder), ""
    while (job := waiting.take(holds)) is not None:
        if job.holds != holds:
            account.report(f"loading {job.holds}")
            holds = job.holds
        account.begun(job)
        settle(waiting, job, hands.compute(job.key), account.ended)


def _elsewhere(plan: Plan, folder: RunFolder, profile: Profile, account: Account) -> None:
    """Have the workers of an engine compute."""
    from mechshift_core.execution.clusters import opened
    from mechshift_core.execution.worker import Work, do_cell, release

    work = Work.of(folder.path, plan.spec.loaded_extensions)
    account.report("starting workers")
    with opened(profile, most=len(account.jobs), at_end=partial(release, work)) as engine:
        engine.share_out(
            account.jobs,
            partial(do_cell, work),
            begun=account.begun,
            ended=account.ended,
            waiting_for_workers=account.report,
        )
