"""Jobs for worker processes; nothing heavy is imported, so that the processes start at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from mechshift_core.execution.workers import Work, Workers


def start_jobs(folder: Path, number: int) -> Work:
    """Jobs that do what their number says."""

    def work(job: int) -> str | None:
        (folder / f"{job}").write_text(f"{number} {os.getpid()}")
        if job == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        if job == 14:
            os._exit(5)
        if job == 15:
            time.sleep(600)
        return "odd" if job % 2 else None

    return work


if __name__ == "__main__":  # a parent whose worker never finishes
    import worker_jobs

    with Workers(1, worker_jobs.start_jobs, Path(sys.argv[1])) as workers:
        workers.give(0, 15)
        workers.finished()
