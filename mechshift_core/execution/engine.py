"""Computing elsewhere: in other processes of this machine or on a cluster, through Dask.

What is sent is the name of a run folder and a key; what comes back is whether it worked. Dask starts workers, watches
them, and starts those anew that die. Which job a worker gets is decided here: one of what it holds in memory, one at a
time, so that a death is the fault of one job; and one that was lost with its worker goes to another.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.jobs import Job, Outcome, Waiting, settle
from mechshift_core.execution.telling import Do, Told, do_and_tell
from mechshift_core.execution.worker import Share

LOOK_EVERY = 1.0
"""Seconds between two looks at which workers there are."""
FETCH = 20.0
"""Seconds in which a worker says what came of a job that it has done."""
DEATHS = 1
"""Deaths of workers that a job survives: it may not be the cause. With one more it has failed."""


class Engine:
    """Workers that do jobs.

    Args:
        client: Dask's.
        patience: Seconds to wait for the first worker; None waits as long as it takes.
        where: What it is, for messages.
        trouble: Says why no worker will come; nothing where one may.
    """

    def __init__(
        self, client: Any, *, patience: float | None, where: str, trouble: Callable[[], str] = lambda: ""
    ) -> None:
        self._client, self._patience, self._where, self._trouble = client, patience, where, trouble
        self._hosts: dict[str, str] = {}
        self._states: dict[str, str] = {}
        self._unfit: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._taking: frozenset[str] | None = None  # those that took jobs when they were looked at
        self._looked = -LOOK_EVERY

    def share_out(
        self,
        jobs: Sequence[Job],
        do: Do,
        *,
        begun: Callable[[Job], None],
        ended: Callable[[Job, Outcome], None],
        waiting_for_workers: Callable[[str], None],
    ) -> None:
        """Have every job done, those that others need first.

        Args:
            jobs: In the order in which they are begun where there is a choice.
            do: What does one.
            begun: Told of each job that is given to a worker.
            ended: Told what came of each; of one that can't be begun, since what it needs failed, that.
            waiting_for_workers: Told what is waited for while there is no worker.

        Raises:
            ExecutionError: if the scheduler is lost, or no worker comes in time.
        """
        waiting, deaths, told = Waiting(jobs), Counter[str](), Told(self._client)
        running: dict[Any, tuple[Job, str]] = {}
        holds: dict[str, str] = {}
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        since = time.monotonic()
        try:
            while waiting or running:
                alive = self._alive()
                workers = [one for one in alive if self._states[one] == "running" and one not in self._unfit]
                for future in [future for future, (_, worker) in running.items() if worker not in alive]:
                    job, worker = running.pop(future)
                    self._lost_worker(future, job, worker, deaths, waiting, ended)
                if alive and not running and all(one in self._unfit for one in alive):
                    self._none_fit(waiting, ended)
                    continue
                holds = {worker: held for worker, held in holds.items() if worker in alive}
                busy = {worker for _, worker in running.values()}
                for worker in (one for one in workers if one not in busy):
                    others = {held for one, held in holds.items() if one != worker}
                    following = waiting.take(holds.get(worker, ""), others)
                    if following is None:
                        break
                    future = self._give(do, following, worker, told)
                    running[future], holds[worker] = (following, worker), following.holds
                    begun(following)
                    future.add_done_callback(done.put)
                if workers:
                    since = time.monotonic()
                else:
                    self._wait(since, waiting_for_workers)
                for future in self._finished(done):
                    if future not in running:
                        continue
                    job, worker = running.pop(future)
                    outcome = told.take(future.key) or self._outcome(future)
                    if outcome is None:
                        self._lost_worker(future, job, worker, deaths, waiting, ended)
                    elif outcome.unfit:
                        self._unfit[worker] = str(outcome.reason)
                        waiting.again(job)
                    else:
                        settle(waiting, job, outcome, ended)
        finally:
            told.close()
            with suppress(Exception):  # a connection that is lost has nothing left to cancel
                self._client.cancel(list(running), force=True)

    def everywhere(self, do: Callable[[], None]) -> None:
        """Have every worker do something at once, whatever else it does; one that is lost does not.

        Args:
            do: A function of a module, or a partial one, that takes no time.
        """
        with suppress(Exception):
            self._client.run(do, on_error="ignore")

    def _give(self, do: Do, job: Job, worker: str, told: Told) -> Any:
        """Have a worker do a job."""
        host = self._hosts[worker]
        share = Share(self._numbers[worker], sum(other == host for other in self._hosts.values()))
        task = f"{uuid.uuid4().hex[:8]}-{job.key}"
        return self._client.submit(
            do_and_tell, do, told.topic, task, share, job.key, key=task, workers=[worker], pure=False
        )

    def _lost_worker(
        self,
        future: Any,
        job: Job,
        worker: str,
        deaths: Counter[str],
        waiting: Waiting,
        ended: Callable[[Job, Outcome], None],
    ) -> None:
        """A worker is gone with a job, which another one gets, unless too many have died of it."""
        with suppress(Exception):
            self._client.cancel([future], force=True)
        self._looked, self._taking = -LOOK_EVERY, None  # whoever died is not there any more
        # One whose time was up has not died of the job.
        deaths[job.key] += self._states.get(worker) != "closing_gracefully"
        if deaths[job.key] <= DEATHS:
            waiting.again(job)
        else:
            reason = f"its worker process died, {deaths[job.key]} times in a row: killed, or out of memory"
            settle(waiting, job, Outcome(reason), ended)

    def _none_fit(self, waiting: Waiting, ended: Callable[[Job, Outcome], None]) -> None:
        """All workers that there are can't do any job: none will come out, each for that reason."""
        reason = next(iter(self._unfit.values()))
        while (job := waiting.take()) is not None:
            settle(waiting, job, Outcome(reason), ended)

    def _alive(self) -> list[str]:
        """Addresses of the workers that there are, in the order in which they came; some take no new jobs."""
        if time.monotonic() - self._looked >= LOOK_EVERY:
            if self._client.status != "running":
                raise self._lost()
            try:
                # A short question first: all about many workers takes long.
                taking = frozenset(self._client.sync(self._client.scheduler.ncores_running))
                self._looked, before, self._taking = time.monotonic(), self._taking, taking
                if taking == before:
                    return list(self._hosts)
                known = self._client.scheduler_info(n_workers=-1)["workers"]
            except Exception as error:
                raise self._lost() from error
            self._hosts = {address: str(facts.get("host", "")) for address, facts in known.items()}
            self._states |= {address: str(facts.get("status", "running")) for address, facts in known.items()}
            self._numbers = {address: n for address, n in self._numbers.items() if address in self._hosts}
            for address, host in self._hosts.items():
                if address not in self._numbers:
                    taken = {n for other, n in self._numbers.items() if self._hosts[other] == host}
                    self._numbers[address] = next(n for n in range(len(taken) + 1) if n not in taken)
        return list(self._hosts)

    def _finished(self, done: queue.SimpleQueue[Any]) -> list[Any]:
        """What has ended, or nothing after a second."""
        found = []
        try:
            found.append(done.get(timeout=LOOK_EVERY))
            while True:
                found.append(done.get_nowait())
        except queue.Empty:
            return found

    def _outcome(self, future: Any) -> Outcome | None:
        """What came of a job that its worker has not told; None where it was lost with it."""
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        if self._client.status != "running":
            raise self._lost()
        try:
            found: Outcome = future.result(timeout=FETCH)
        except (KilledWorker, FutureCancelledError, TimeoutError):  # the last: what came of it went with its worker
            return None
        except Exception as error:
            return Outcome(f"internal error: {type(error).__name__}: {error}")
        return found

    def _wait(self, since: float, said: Callable[[str], None]) -> None:
        waited = time.monotonic() - since
        said(f"waiting for workers of {self._where}")
        if trouble := self._trouble():
            raise ExecutionError(f"{self._where} takes no job: {trouble}")
        if self._patience is not None and waited > self._patience:
            raise ExecutionError(
                f"no worker of {self._where} came within {self._patience:g} s (its queue and the logs of its workers "
                "say why); what is complete is kept, the same command goes on from there"
            )

    def _lost(self) -> ExecutionError:
        return ExecutionError(
            f"the connection to {self._where} was lost; what is complete is kept, the same command goes on from there"
        )
