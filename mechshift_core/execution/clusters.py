"""Clusters: the workers of a profile, opened and closed. They are processes of this machine, those of a scheduler that
runs, or jobs of a cluster's manager. Dask starts them, watches them, and starts those anew that die.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.engine import Engine
from mechshift_core.execution.profiles import NEEDED, Profile, is_loopback

PRELOAD = "mechshift_core.execution.preload"
NOWHERE = "127.0.0.1:0"
"""Where Dask's pages are, of which there are none: on some port, so that several schedulers get on."""
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
    # Dask looks a hundred times a second at what a process does, for pages that there are not.
    "distributed.worker.profile.enabled": False,
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
    "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",
    "export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON={}",
)
"""The same for workers that a cluster's manager starts."""


@contextmanager
def opened(profile: Profile, *, most: int, at_end: Callable[[], None] | None = None) -> Iterator[Engine]:
    """The workers of a profile; those that it started end with it.

    Args:
        profile: How to run.
        most: Jobs that there are: no more processes are started.
        at_end: Called at the end in every worker of a scheduler, which goes on when the run has ended.

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
        submitted = _Submitted()
        if profile.scheduler is not None:
            client, where = stack.enter_context(_joined(profile)), profile.scheduler
        elif profile.cluster is not None:
            client, where = stack.enter_context(_managed(profile, most, submitted)), profile.cluster
        else:
            client, where = stack.enter_context(_here(min(profile.workers or 1, most))), "this machine"
        engine = Engine(client, patience=profile.patience, where=where, trouble=submitted.trouble)
        try:
            yield engine
        finally:
            if profile.scheduler is not None and at_end is not None:
                engine.everywhere(at_end)


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


@dataclass(slots=True)
class _Submitted:
    """Jobs that a cluster's manager has taken, and why it refused another, which Dask does not tell."""

    taken: int = 0
    refused: str = ""

    def trouble(self) -> str:
        """Why no worker will come; empty where one may."""
        return "" if self.taken else self.refused

    def noted(self, kind: type[Any]) -> type[Any]:
        """A class of jobs that notes what comes of them."""
        from distributed import Status

        submitted = self

        class Noted(kind):  # type: ignore[misc]
            async def start(self) -> None:
                try:
                    await super().start()
                except Exception as error:
                    said = str(error).rpartition("stderr:")[2].split("\n")
                    submitted.refused = "; ".join(line.strip() for line in said if line.strip())
                    self.status = Status.failed
                    raise
                submitted.taken += 1

        return Noted


@contextmanager
def _managed(profile: Profile, most: int, submitted: _Submitted) -> Iterator[Any]:
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
            job_cls=submitted.noted(make.job_cls),
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
