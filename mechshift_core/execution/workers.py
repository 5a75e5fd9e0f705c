"""Worker processes of this machine: each does one numbered job at a time; one that dies takes only its job with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType

Work = Callable[[int], str | None]
"""Does a job by its number; returns why it failed, None where it did not."""
StartWork = Callable[..., Work]
"""Makes a worker's `Work`, in its process; its last argument is the worker's number."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        worker: The number of the worker.
        reason: Why it failed; None where it did not.
        died: Whether the worker died of it.
    """

    worker: int
    job: int
    reason: str | None
    died: bool = False


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: int | None = None


class Workers:
    """Processes that do jobs; use it as a context manager: leaving it ends them.

    They are new interpreters, not copies of this one, so that they may use a GPU. They end when this process does,
    however it ends, and ignore an interrupt, which is this process's to answer.

    Args:
        count: How many, each known by its number from 0.
        start: Called in each process with `arguments` and its number; of a module, and all picklable.
    """

    def __init__(self, count: int, start: StartWork, *arguments: object) -> None:
        self._count, self._start, self._arguments = count, start, arguments
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()

    @property
    def idle(self) -> list[int]:
        """Numbers of the workers that have no job; one that died counts, it is started anew."""
        return [n for n in range(self._count) if n not in self._workers or self._workers[n].job is None]

    @property
    def busy(self) -> bool:
        """Whether any worker has a job."""
        return any(worker.job is not None for worker in self._workers.values())

    def give(self, number: int, job: int) -> None:
        """Have an idle worker do a job; it is started if need be."""
        if number not in self._workers:
            self._workers[number] = self._started(number)
        self._workers[number].job = job
        with suppress(OSError):  # it has died meanwhile: `finished` reads the end of its pipe
            self._workers[number].pipe.send(job)

    def finished(self) -> list[Outcome]:
        """Wait until a worker that has a job is done with it."""
        working = [(number, worker) for number, worker in self._workers.items() if worker.job is not None]
        ended = connection.wait([worker.pipe for _, worker in working])
        return [self._outcome(number, worker) for number, worker in working if worker.pipe in ended]

    def _outcome(self, number: int, worker: _Worker) -> Outcome:
        job, worker.job = worker.job, None
        assert job is not None
        try:
            return Outcome(number, job, worker.pipe.recv())
        except (EOFError, OSError):
            worker.process.join()
            worker.pipe.close()
            del self._workers[number]
            return Outcome(number, job, _end(worker.process.exitcode), died=True)

    def _started(self, number: int) -> _Worker:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self._start, *self._arguments, number)
        process = context.Process(target=_serve, args=arguments, name=f"mechshift-worker-{number}", daemon=True)
        with _no_main_module():
            process.start()
        theirs.close()  # so that the pipe ends when the worker does
        return _Worker(process, ours)


def threads_each(workers: int) -> int:
    """Threads for each of some processes, so that together they have no more than there are processors."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // workers)


def _serve(pipe: Connection, start: StartWork, *arguments: object) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work = start(*arguments)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(work(job))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _end(code: int | None) -> str:
    if code is not None and code < 0:
        memory = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        return f"its worker process was killed ({signal.Signals(-code).name}){memory}"
    return f"its worker process ended with exit code {code}"


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Start processes that don't execute the user's script again, which need not be written for that."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
