"""The process of a job that computes nothing: it does what the title of the study says, and leaves a run directory.

Words of the title: `sleep=SECONDS`, `die` (each time), `die-once`, `fail`, `partial`, `deaf` (to being asked to end),
`regressed`. Everything else of it (locks, signals, files) is the real one's.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mechshift_core.service import work
from mechshift_core.service.jobs import Attempt, Job, Outcome, now
from mechshift_core.service.root import Root
from mechshift_core.service.settings import Settings


def pretend(root: Root, job: Job, attempt: Attempt, settings: Settings) -> Outcome:
    words = job.submission().title.split()
    options = dict(word.split("=", 1) for word in words if "=" in word)
    progress = work.Progress(attempt)
    progress("cells", 0, 10)
    if "deaf" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + float(options.get("sleep", 0))
    while time.monotonic() < end:
        time.sleep(0.05)
    if "die" in words or ("die-once" in words and attempt.number == 1):
        sys.stderr.write("about to die\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    if "fail" in words:
        return Outcome(state="failed", at=now(), message="it went wrong")
    import polars as pl
    from stored_runs import equivalent, estimate, finding, findings, write_run

    failures = ("circuit of after on ioi: out of memory",) if "partial" in words else ()
    changed = {"estimate": 0.4, "low": 0.26, "high": 0.54, "verdict": "refuted"} if "regressed" in words else {}
    found = findings(finding(**changed), equivalent(), estimates=(estimate(),), name=job.submission().study)
    folder = write_run(root.run(job.name), found, failures=failures, spec=job.spec.read_text())
    (folder / "tables").mkdir(exist_ok=True)
    columns = {
        "pair": ["diffusion"] * 3,
        "layer": [0, 1, 2],
        "value": [0.5, None, float("nan")],
        "all": [[1, 2], [], [3]],
    }
    pl.DataFrame({**columns, "used": [True, False, None]}).write_parquet(folder / "tables" / "layers.parquet")
    (folder / "report.html").write_text("<!doctype html><title>report</title>")
    progress("cells", 10, 10)
    verdicts = {one.id: one.verdict for one in found.hypotheses}
    return Outcome(
        state="partial" if failures else "complete", at=now(), message="; ".join(failures), verdicts=verdicts
    )


if __name__ == "__main__":
    work._run = pretend
    sys.exit(work.main(sys.argv[1:]))
