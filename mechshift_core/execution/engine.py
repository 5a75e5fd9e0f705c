"""Computing elsewhere: in other processes of this machine or on a cluster, through Dask.

What is sent is the name of a run folder and a key; what comes back is whether it worked. Dask starts workers, watches
them, and starts those anew that die. Which job a worker gets is decided here: one of what it holds in memory, one at a
time, so that a death is the fault of one job; and one that was lost with its worker goes to another.
"""

from __future__ import annotations

import logging
import queue
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.jobs import Job, Outcome, Waiting, settle
from mechshift_core.execution.profiles import NEEDED, Profile, is_loopback
from mechshift_core.execution.worker import Share

PRELOAD = "mechshift_core.execution.preload"
NOWHERE = "127.0.0.1:0"
"""Where Dask's pages are, of which there are none: on some port, so that several schedulers get on."""
LOOK_EVERY = 1.0
"""Seconds between two looks at which workers there are."""
FETCH = 20.0
"""Seconds in which a worker says what came of a job that it has done."""
DEATHS = 1
"""Deaths of workers that a job survives: it may not be the cause. With one more it has failed."""
SETTINGS: dict[str, object] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # A long product holds a worker's attention; that a process has died is known by its connection, not by silence.
    "distributed.scheduler.worker-ttl": None,
    "distributed.admin.tick.limit": "1h",
    # A worker that pauses for want of memory would never go on, since nothing is kept between cells.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Dask has memory given back at every chance, which takes a third of the time of large products.
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.comm.timeouts.connect": "30s",
    "distributed.scheduler.http.routes": [],  # pages that anybody may read
    "distributed.worker.http.routes": [],
}
JOB_ENVIRONMENT = (
    "export DASK_TEMPORARY_DIRECTORY=$(mktemp -d)",
    "export DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL=None",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__TARGET=False",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False",
    "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False",
    "export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON={}",
)
"""The same for workers that a cluster's manager starts."""
Do = Callable[[Share, str], Outcome]
"""Does a job by its key, in a worker process; a function of a module, or a partial one."""


class Engine:
    """Workers that do jobs.

    Args:
        client: Dask's.
        patience: Seconds to wait for the first worker; None waits as long as it takes.
        where: What it is, for messages.
    """

    def __init__(self, client: Any, *, patience: float | None, where: str) -> None:
        self._client, self._patience, self._where = client, patience, where
        self._hosts: dict[str, str] = {}
        self._states: dict[str, str] = {}
        self._unfit: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
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
        waiting, deaths = Waiting(jobs), Counter[str]()
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
                    future = self._give(do, following, worker)
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
                    outcome = self._outcome(future)
                    if outcome is None:
                        self._lost_worker(future, job, worker, deaths, waiting, ended)
                    elif outcome.unfit:
                        self._unfit[worker] = str(outcome.reason)
                        waiting.again(job)
                    else:
                        settle(waiting, job, outcome, ended)
        finally:
            with suppress(Exception):  # a connection that is lost has nothing left to cancel
                self._client.cancel(list(running), force=True)

    def _give(self, do: Do, job: Job, worker: str) -> Any:
        """Have a worker do a job."""
        host = self._hosts[worker]
        share = Share(self._numbers[worker], sum(other == host for other in self._hosts.values()))
        key = f"{uuid.uuid4().hex[:8]}-{job.key}"
        return self._client.submit(do, share, job.key, key=key, workers=[worker], pure=False)

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
        self._looked = -LOOK_EVERY  # whoever died is not there any more
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
                known = self._client.scheduler_info(n_workers=-1)["workers"]
            except Exception as error:
                raise self._lost() from error
            self._looked = time.monotonic()
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
        """What came of a job; None where it was lost with its worker."""
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
        if self._patience is not None and waited > self._patience:
            raise ExecutionError(
                f"no worker of {self._where} came within {self._patience:g} s; what is complete is kept, the same "
                "command goes on from there"
            )

    def _lost(self) -> ExecutionError:
        return ExecutionError(
            f"the connection to {self._where} was lost; what is complete is kept, the same command goes on from there"
        )


@contextmanager
def opened(profile: Profile, *, most: int) -> Iterator[Engine]:
    """The workers of a profile; those that it started end with it.

    Args:
        profile: How to run.
        most: Jobs that there are: no more processes are started.

    Raises:
        UsageError: if what is needed is not installed, or the profile is wrong.
        ExecutionError: if the workers can't be had.
    """
    try:
        import cryptography
        import dask
        import distributed
    except ImportError as error:
        raise UsageError(f"several processes need the package {error.name}: {NEEDED}") from error
    del cryptography, distributed
    with ExitStack() as stack:
        # Dask has its folder on the path of imports: it must be one that nobody else can write to.
        scratch = stack.enter_context(TemporaryDirectory(prefix="mechshift-workers-", ignore_cleanup_errors=True))
        stack.enter_context(dask.config.set({**SETTINGS, "temporary-directory": scratch}))
        stack.enter_context(_silence())
        if profile.scheduler is not None:
            client, where = stack.enter_context(_joined(profile)), profile.scheduler
        elif profile.cluster is not None:
            client, where = stack.enter_context(_managed(profile, most)), profile.cluster
        else:
            client, where = stack.enter_context(_here(min(profile.workers or 1, most))), "this machine"
        yield Engine(client, patience=profile.patience, where=where)


@contextmanager
def _here(workers: int) -> Iterator[Any]:
    """Processes of this machine, which speak through encrypted connections: others may have accounts on it."""
    from distributed import Client, LocalCluster
    from distributed.security import Security

    with _no_main_module():
        try:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tls://",
                security=Security.temporary(),
                memory_limit=None,
                dashboard_address=NOWHERE,
                scheduler_kwargs={"dashboard": False},
                preload=[PRELOAD],
                silence_logs=logging.CRITICAL,
            )
        except (RuntimeError, OSError, TimeoutError) as error:
            raise ExecutionError(f"{workers} worker processes can't be started here: {error}") from error
        try:
            with Client(cluster, set_as_default=False) as client:
                yield client
        finally:
            cluster.close(timeout=10)


@contextmanager
def _joined(profile: Profile) -> Iterator[Any]:
    """A cluster that is running."""
    import dask
    from distributed import Client
    from distributed.security import Security

    address = profile.scheduler
    assert address is not None
    if address.startswith("tcp://") and not profile.insecure and not is_loopback(address):
        raise UsageError(
            f"scheduler: {address} is not encrypted: whoever reaches it can run code as you. Use tls:// with `tls` in "
            "a profile, or say `insecure: true` there if the network is yours"
        )
    tls = profile.tls
    security = None
    if tls is not None:
        files = {"tls_ca_file": tls.ca, "tls_client_cert": tls.certificate, "tls_client_key": tls.key}
        expanded = {name: str(Path(file).expanduser()) for name, file in files.items()}
        missing = [file for file in expanded.values() if not Path(file).is_file()]
        if missing:
            raise UsageError(f"tls: no such file: {missing[0]}")
        security = Security(require_encryption=True, **expanded)
    elif address.startswith("tls://") and not dask.config.get("distributed.comm.tls.ca-file", None):
        raise UsageError(f"scheduler: {address} is encrypted; a profile says with which certificates: `tls`")
    try:
        client = Client(address, security=security, timeout=30, set_as_default=False)
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError) as error:
        raise UsageError(f"scheduler: no Dask scheduler answers at {address} ({error})") from error
    with client:
        yield client


@contextmanager
def _managed(profile: Profile, most: int) -> Iterator[Any]:
    """Jobs of a cluster's manager, started anew where one ends before its time."""
    try:
        import dask_jobqueue
    except ImportError as error:
        raise UsageError(f"--cluster needs the package dask-jobqueue: {NEEDED}") from error
    from distributed import Client
    from distributed.security import Security

    names = {"slurm": "SLURM", "pbs": "PBS", "lsf": "LSF", "sge": "SGE", "htcondor": "HTCondor", "oar": "OAR"}
    make = getattr(dask_jobqueue, f"{names[str(profile.cluster)]}Cluster")
    jobs = min(profile.workers or 1, most)
    options: dict[str, Any] = {"processes": 1, **profile.options}
    prologue = [*JOB_ENVIRONMENT, *_several(options.pop("job_script_prologue", []))]
    arguments = ["--preload", PRELOAD, "--nthreads", "1", *_several(options.pop("worker_extra_args", []))]
    if profile.lifetime is not None:
        arguments += ["--lifetime", profile.lifetime.replace(" ", "")]
    shared = options.pop("shared_temp_directory", None) or str(Path.home())
    try:
        cluster = make(
            security=Security.temporary(),
            protocol="tls://",
            shared_temp_directory=shared,
            scheduler_options={
                "dashboard": False,
                "dashboard_address": NOWHERE,
                **dict(options.pop("scheduler_options", {})),
            },
            job_script_prologue=prologue,
            worker_extra_args=arguments,
            silence_logs=logging.CRITICAL,
            **options,
        )
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise UsageError(f"profile: the cluster's manager can't be used with these options: {error}") from error
    try:
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)
        with Client(cluster, set_as_default=False) as client:
            yield client
    finally:
        cluster.close(timeout=30)
        for name, file in vars(cluster).items():
            if name.startswith("_job_") and hasattr(file, "close"):  # certificates, which it leaves open
                file.close()


def _several(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value]


@contextmanager
def _silence() -> Iterator[None]:
    """What Dask logs of workers that come and go is for its developers; what matters to a run is told by it."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio", "dask_jobqueue")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Start processes that don't execute the user's script again, which need not be written for that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
