"""How a study's time shrinks with its workers: 10,000 cells that sleep as long as measured ones take, scaled down.

python benchmarks/engine_scaling.py
python benchmarks/engine_scaling.py --workers 64 --length 40

The scheduler is a process, and so are all workers together, each with one thread. This process hands out the cells,
with the engine that runs use. Connections are encrypted, as in a run.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dask
import psutil
from distributed import Scheduler, Worker, get_worker
from distributed.security import Security
from shapes import machine

from mechshift_core.execution.clusters import SETTINGS, opened
from mechshift_core.execution.jobs import Job, Outcome
from mechshift_core.execution.profiles import Profile, Tls
from mechshift_core.execution.worker import Share

MEASURED = (
    118.4, 129.3, 94.3, 92.3, 137.9, 149.4, 124.8, 150.5, 52.3, 58.1, 65.1, 57.1, 125.3, 134.6, 118.7, 74.2, 75.1,
    112.5, 129.1, 32.7, 39.3, 96.0, 74.8, 76.0,
)  # fmt: skip
"""Seconds of the cells of a study of four small pairs: EAP-IG with five steps, 100 prompts each."""
MODELS = 12
LOADED = "model loaded"
FEW = 1250
"""Cells of each worker where there are few workers: a study of 10,000 would take too long."""


@dataclass(frozen=True, slots=True)
class Study:
    """Cells that sleep.

    Attributes:
        jobs: The cells, as a run orders them. A key says what is to be known: model, microseconds and number.
        load: Seconds to load a model, as long as a cell takes on average.
        slept: Seconds of all cells.
    """

    jobs: tuple[Job, ...]
    load: float
    slept: float

    def ideal(self, workers: int) -> float:
        """Seconds of workers that never wait, and load as many models as they must."""
        return (self.slept + max(workers, MODELS) * self.load) / workers


@dataclass(frozen=True, slots=True)
class Spent:
    """What a study took: seconds, loads of a model, and CPU seconds of each process."""

    seconds: float
    loads: int
    client: float
    scheduler: float
    workers: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """A scheduler's address and certificate, and the processes of scheduler and workers."""

    address: str
    certificate: Tls
    scheduler: psutil.Process
    workers: psutil.Process


def main() -> None:
    options = arguments()
    print(machine("cpu"))
    print(
        f"at most {options.cells} cells of {MODELS} models, {min(MEASURED) / mean():.2f}-{max(MEASURED) / mean():.2f} "
        f"of their mean each; of five cells one needs two others; encrypted; load average {os.getloadavg()[0]:.1f} "
        "before\n"
    )
    print(
        " workers   cells   cell s   ideal s    took s   efficiency   with 1 s   idle ms   client + scheduler ms   "
        "loads (least)"
    )
    for workers in options.workers:
        cells = min(options.cells, FEW * workers)
        length = max(options.length, options.length * workers / 8)
        print(row(workers, study(length * workers / cells, cells)), flush=True)


def row(workers: int, made: Study) -> str:
    """What a study takes, in a line."""
    with cluster(workers) as there:
        spent = share_out(made, there)
    cells = len(made.jobs)
    idle = (spent.seconds - made.ideal(workers)) * workers / cells
    each = [1000 * one / cells for one in (spent.client, spent.scheduler)]
    return (
        f"{workers:8d} {cells:7d} {made.load:8.3f} {made.ideal(workers):9.1f} {spent.seconds:9.1f}   "
        f"{made.ideal(workers) / spent.seconds:10.3f}   {1 / (1 + idle):8.3f}   {1000 * idle:7.1f}   "
        f"{sum(each):10.2f} ({each[0]:.2f} + {each[1]:.2f})   {spent.loads:5d} ({max(workers, MODELS)})"
    )


def share_out(made: Study, there: Cluster) -> Spent:
    """Have the study done by the engine."""
    loads, bad = 0, list[str]()

    def ended(job: Job, outcome: Outcome) -> None:
        nonlocal loads
        loads += sum(event == LOADED for event, _ in outcome.events)
        if outcome.reason is not None:
            bad.append(f"{job}: {outcome.reason}")

    with opened(Profile(scheduler=there.address, tls=there.certificate), most=len(made.jobs)) as engine:
        used = [psutil.Process(), there.scheduler, there.workers]
        before, began = [busy(one) for one in used], time.perf_counter()
        engine.share_out(
            made.jobs, partial(do, made.load), begun=lambda _: None, ended=ended, waiting_for_workers=lambda _: None
        )
        seconds = time.perf_counter() - began
        client, scheduler, workers = (busy(one) - so_far for one, so_far in zip(used, before, strict=True))
    if bad:
        raise SystemExit(f"{len(bad)} cells failed, the first: {bad[0]}")
    return Spent(seconds, loads, client, scheduler, workers)


def do(load: float, share: Share, key: str) -> Outcome:
    """A cell, as a worker computes it: one that has another model in memory loads its own first."""
    del share
    model, microseconds, _ = key.split("-")
    worker: Any = get_worker()
    loads = getattr(worker, "holds", None) != model
    worker.holds = model
    time.sleep(int(microseconds) / 1e6 + load * loads)
    return Outcome(events=((LOADED, {"model": model}),) * loads)


def study(seconds: float, cells: int) -> Study:
    """Cells of pairs of models, as long as this on average; the last fifth of a model's need a cell of each."""
    draw = random.Random(0)
    lengths = [round(1e6 * seconds * draw.choice(MEASURED) / mean()) for _ in range(cells)]
    by_model = {
        model: [f"{model}-{lengths[number]}-{number}" for number in range(model, cells, MODELS)]
        for model in range(MODELS)
    }
    first, last = list[Job](), list[Job]()
    for model, keys in by_model.items():
        begin = len(keys) * 4 // 5
        first += [Job(key, f"{model}") for key in keys[:begin]]
        for number, key in enumerate(keys[begin:]):
            last.append(Job(key, f"{model}", tuple(by_model[one][number] for one in (model, model ^ 1))))
    return Study((*first, *last), seconds, sum(lengths) / 1e6)


def mean() -> float:
    return sum(MEASURED) / len(MEASURED)


def busy(process: psutil.Process) -> float:
    """CPU seconds of a process."""
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def cluster(workers: int) -> Iterator[Cluster]:
    """A scheduler with as many workers."""
    security = Security.temporary()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        files = {}
        for name, text in (("ca", security.tls_ca_file), ("key", security.tls_client_key)):
            files[name] = Path(folder) / name
            files[name].touch(mode=0o600)
            files[name].write_text(str(text))
        certificate = Tls(ca=str(files["ca"]), certificate=str(files["ca"]), key=str(files["key"]))
        address, scheduler = stack.enter_context(process(serve, security))
        _, there = stack.enter_context(process(work, security, address, workers, folder))
        yield Cluster(address, certificate, scheduler, there)


@contextmanager
def process(run: Any, *arguments: Any) -> Iterator[tuple[str, psutil.Process]]:
    """A process that ends with the block, and what it says when it is up."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    started = context.Process(target=run, args=(theirs, *arguments), daemon=True)
    started.start()
    try:
        yield ours.recv(), psutil.Process(started.pid)
    finally:
        started.kill()
        started.join()


def serve(said: Connection, security: Security) -> None:
    """A scheduler."""

    async def run() -> None:
        async with Scheduler(
            host="127.0.0.1", protocol="tls://", port=0, dashboard=False, dashboard_address="127.0.0.1:0",
            security=security,
        ) as scheduler:  # fmt: skip
            said.send(scheduler.address)
            await scheduler.finished()

    silent(run(), {})


def work(said: Connection, security: Security, address: str, workers: int, folder: str) -> None:
    """Workers of a thread each."""

    async def run() -> None:
        made = [
            Worker(address, nthreads=1, memory_limit=0, security=security, host="127.0.0.1", local_directory=folder)
            for _ in range(workers)
        ]
        await asyncio.gather(*made)
        said.send("")
        await asyncio.gather(*(worker.finished() for worker in made))

    # Each of many workers would look twice a second at the one process that they share.
    silent(run(), {"distributed.admin.system-monitor.interval": "1h"})


def silent(running: Coroutine[Any, Any, None], settings: Mapping[str, object]) -> None:
    """Run with the settings of a cluster that we start, and others."""
    logging.disable(logging.CRITICAL)
    with dask.config.set({**SETTINGS, **settings}):
        asyncio.run(running)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument(
        "--length", type=float, default=20.0, help="seconds for 1 to 8 workers; 64 take 8 times as long"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
