"""The process that runs a job: `python -m mechshift_core.service.work ROOT RUN`.

It outlives the server. Two of them can't run one job, since the first holds its lock; and one that finds the attempt
begun or ended leaves it alone.
"""

from __future__ import annotations

import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import MechshiftError
from mechshift_core.files import write_text
from mechshift_core.service.jobs import Attempt, Job, Outcome, now
from mechshift_core.service.root import Root
from mechshift_core.service.settings import Settings, read_settings
from mechshift_core.service.submissions import as_json

if TYPE_CHECKING:
    from mechshift_core.pipeline import Run

EVERY = 0.25
"""Seconds between two writings of the progress."""


class Stopped(BaseException):
    """Somebody asked the process to end."""


class Progress:
    """Writes how far a run is: what is done, steps done and in all, and the seconds that the rest will take."""

    def __init__(self, attempt: Attempt, clock: Callable[[], float] = time.monotonic) -> None:
        self._attempt = attempt
        self._clock = clock
        self._stage: object = None
        self._since, self._from = 0.0, 0
        self._written = float("-inf")
        self._said: object = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """As the callback of a run."""
        moment = self._clock()
        stage = (what.partition(":")[0] if what.startswith("statistics") else "cells", total)
        if stage != self._stage or done < self._from:
            self._stage, self._since, self._from = stage, moment, done
        if (what, 10 * done // max(1, total)) != self._said:
            self._said = (what, 10 * done // max(1, total))
            sys.stderr.write(f"{now()} [{done}/{total}] {what}\n")
            sys.stderr.flush()
        if moment - self._written >= EVERY or done == total:
            self._written = moment
            steps = done - self._from
            left = (moment - self._since) / steps * (total - done) if steps > 0 else None
            content = {"what": what, "done": done, "total": total, "seconds_left": left, "at": now()}
            _write(self._attempt.progress, content)


def main(arguments: list[str]) -> int:
    """Run a job; what comes of it stands in its files, and is the exit code only for whoever started it by hand."""
    root, name = Root(Path(arguments[0])), arguments[1]
    job = Job(root.job(name))
    attempt = job.attempt()
    if attempt is None:
        return 2
    with job.held() as ours:
        if not ours or attempt.started or attempt.outcome() is not None:
            return 0
        if attempt.cancelled():
            attempt.end(Outcome(state="cancelled", at=now(), message="cancelled before it began"))
            return 0
        signal.signal(signal.SIGTERM, _stop)
        attempt.start()
        try:
            outcome = _run(root, job, attempt, read_settings(root))
        except Stopped:
            if not attempt.cancelled():
                attempt.stop()
                return 143  # the machine goes down, say: nothing was decided, it is run again
            outcome = Outcome(state="cancelled", at=now(), message="cancelled; what was complete is kept")
        attempt.end(outcome)
    return 0


def _run(root: Root, job: Job, attempt: Attempt, settings: Settings) -> Outcome:
    from mechshift_core.pipeline import run
    from mechshift_core.spec import SpecError

    try:
        profile, cells = settings.profile, settings.cells
        finished = run(job.spec, out=root.run(job.name), profile=profile, cells=cells, progress=Progress(attempt))
    except SpecError as error:
        problems = tuple({name: one[name] for name in ("line", "column", "message")} for one in as_json(error))
        return Outcome(state="failed", at=now(), message=_without(str(error), job, root), problems=problems)
    except MechshiftError as error:
        return Outcome(state="failed", at=now(), message=_without(str(error), job, root))
    except Exception as error:
        traceback.print_exc()
        return Outcome(state="failed", at=now(), message=f"internal error: {type(error).__name__}: {error}")
    return _outcome(finished)


def _outcome(finished: Run) -> Outcome:
    broken = [*finished.failures, *([finished.too_few] if finished.too_few else [])]
    return Outcome(
        state="partial" if broken else "complete",
        at=now(),
        message="; ".join(broken),
        verdicts={finding.id: finding.verdict for finding in finished.findings.hypotheses},
        computed=finished.computed,
        cached=finished.cached,
        shared=finished.shared,
    )


def _without(message: str, job: Job, root: Root) -> str:
    """A message without the server's own folders, which say nothing to whoever handed the spec in."""
    return message.replace(f"{job.inputs}/", "").replace(f"{root.folder}/", "")


def _write(path: Path, content: dict[str, Any]) -> None:
    import json

    try:
        write_text(path, json.dumps(content))
    except OSError as error:  # a full disk must not end a run over a file that nothing depends on
        sys.stderr.write(f"{path.name}: {error}\n")


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
