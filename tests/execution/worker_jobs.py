"""Jobs for the workers of an engine; nothing heavy is imported, so that processes start at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from mechshift_core.execution.jobs import Job, Outcome
from mechshift_core.execution.worker import Share


def do_job(folder: Path, share: Share, key: str) -> Outcome:
    """A job that does what its key says: kill, exit, sleep, once (dies the first time), fail; all note who did it."""
    with (folder / key).open("a") as handle:
        handle.write(f"{os.getpid()} {share.number} {share.workers}\n")
    unfit = folder / "unfit"
    if unfit.exists() and str(share.number) in unfit.read_text().split():
        return Outcome("this worker has other code", unfit=True)
    attempts = len((folder / key).read_text().splitlines())
    if key.startswith("kill") or (key.startswith("once") and attempts == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if key.startswith("exit"):
        os._exit(5)
    if key.startswith("sleep"):
        time.sleep(600)
    if key.startswith("break"):
        raise RuntimeError("broken")
    return Outcome("no luck" if key.startswith("fail") else None)


def in_memory() -> int:
    """Runs and models that this process keeps."""
    from mechshift_core.execution import worker

    return len(worker._runs) + len(worker._hands)


def who(folder: Path, key: str) -> list[int]:
    """The processes that did a job, in order."""
    return [int(line.split()[0]) for line in (folder / key).read_text().splitlines()]


if __name__ == "__main__":  # one who starts a worker that never finishes
    import worker_jobs

    from mechshift_core.execution.clusters import opened
    from mechshift_core.execution.profiles import Profile

    with opened(Profile(workers=2), most=2) as engine:
        engine.share_out(
            [Job("sleep", "")],
            partial(worker_jobs.do_job, Path(sys.argv[1])),
            begun=lambda _: None,
            ended=lambda *_: None,
            waiting_for_workers=lambda _: None,
        )
