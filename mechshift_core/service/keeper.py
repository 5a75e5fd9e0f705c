"""Looks after the jobs: starts those that wait, notices how they end, starts again those that died.

Everything that it decides is decided from files and locks, so that a server that is started again goes on where the
last one stopped. A process that it starts is none of its own: it goes on when the server ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mechshift_core.service.index import Index
from mechshift_core.service.jobs import Attempt, Job, Outcome, now
from mechshift_core.service.settings import Settings

MOST_DEATHS = 3
"""Processes that may die over a job, one after another, before it has failed."""
PATIENCE = 15.0
"""Seconds after which a process that was asked to end is killed."""
EVERY = 0.2
"""Seconds between two looks."""
COMMAND = (sys.executable, "-m", "mechshift_core.service.work")
"""What runs a job; the root and the name of the run follow."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process, and which attempt at a job it was started for."""

    process: subprocess.Popen[bytes]
    number: int


class Keeper:
    """Runs the jobs of an index, so many at once as the settings say.

    Args:
        index: Whose.
        settings: Of the server.
        command: What runs a job, in place of :data:`COMMAND`.
    """

    def __init__(self, index: Index, settings: Settings, command: Sequence[str] = ()) -> None:
        self.index = index
        self.settings = settings
        self.command = tuple(command) or COMMAND
        self.running = 0
        """Jobs that run, as of the last look."""
        self.trouble = ""
        """What keeps it from looking after the jobs; empty if nothing does."""
        self.looked = 0.0
        """When it last looked (monotonic clock)."""
        self._started: dict[str, Started] = {}
        self._asked: dict[str, float] = {}
        self._end = threading.Event()
        self._wake = threading.Event()
        self._refreshed = 0.0
        self._looked_at_all = 0.0
        self._thread = threading.Thread(target=self._watch, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to look after the jobs, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Leave the jobs to themselves."""
        self._end.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def look(self) -> None:
        """Look once at every job that waits or runs.

        Raises:
            OSError: the first of those that came up; the other jobs were looked after.
        """
        names = self.index.open_jobs()
        changing: list[str] = []
        running = 0
        waiting = []
        troubles: list[OSError] = []
        for name in names:
            job = Job(self.index.root.job(name))
            try:
                state = self._settled(job)
            except OSError as error:
                troubles.append(error)
                state = "running"
            if state == "queued":
                waiting.append(job)
                continue
            changing.append(name)
            running += state == "running"
        if shutil.disk_usage(self.index.root.folder).free < self.settings.free_bytes:
            waiting = []  # what would be begun now would only fail
        for job in waiting:
            if running >= self.settings.at_once:
                break
            changing.append(job.name)
            try:
                running += self._begin(job)
            except OSError as error:
                troubles.append(error)
        for name, started in [*self._started.items()]:
            if name not in names and started.process.poll() is not None:
                del self._started[name]  # its last word came before its end
        self.running = running
        self.looked = self._looked_at_all = time.monotonic()
        self.index.refresh(changing)  # not those that wait, which may be many: whoever cancels one says so
        if troubles:
            raise troubles[0]

    def _glance(self) -> None:
        """Look at the jobs whose processes are going on; at all where one has ended, or a second has gone by."""
        going = {name for name, one in self._started.items() if one.process.poll() is None}
        ended = len(going) < len(self._started)
        if ended or self._wake.is_set() or time.monotonic() - self._looked_at_all > 1:
            self._wake.clear()
            self.look()
            return
        self.looked = time.monotonic()
        self.index.refresh(going)

    def _settled(self, job: Job) -> str:
        """How a job stands after all that can be decided is: `queued`, `running` or `ended`."""
        if not job.exists:  # deleted under it
            self._asked.pop(job.name, None)
            return "ended"
        started = self._started.get(job.name)
        gone = started is None or started.process.poll() is not None
        state = job.state()
        attempt = job.attempt()
        if state in ("running", "cancelling"):
            if attempt is not None and attempt.cancelled():
                self._urge(job, attempt)
            return "running"
        if not gone:
            return "running"  # it starts up, or has just written its last word
        self._started.pop(job.name, None)
        self._asked.pop(job.name, None)
        if state == "queued" and started is not None and attempt is not None and attempt.number == started.number:
            return self._died(job, attempt)  # before it could say that it had begun
        if state == "died":
            assert attempt is not None
            return self._died(job, attempt)
        if state == "cancelled" and attempt is not None and attempt.outcome() is None:
            attempt.end(Outcome(state="cancelled", at=now(), message="cancelled; what was complete is kept"))
        return "queued" if state == "queued" else "ended"

    def _died(self, job: Job, attempt: Attempt) -> str:
        """Have it run again: it goes on where it was. Three deaths in a row are a failure."""
        with job.held() as ours:
            if not ours:
                return "running"
            deaths = attempt.deaths + (not attempt.stopped)
            if deaths < MOST_DEATHS:
                job.want(by="server", deaths=deaths)
                return "queued"
            last = _tail(attempt.log)
            reason = f"its process ended {deaths} times without a word: killed, or out of memory"
            attempt.end(
                Outcome(state="failed", at=now(), message=reason + (f"; its last words: {last}" if last else ""))
            )
        return "ended"

    def _begin(self, job: Job) -> bool:
        """Start a job's process; False where its files are gone, so that it never can be."""
        attempt = job.attempt() or job.want(by="server")
        if not job.spec.is_file():
            attempt.end(Outcome(state="failed", at=now(), message="its spec is gone from the server"))
            return False
        with attempt.log.open("ab") as log:
            process = subprocess.Popen(
                [*self.command, str(self.index.root.folder), job.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=job.inputs,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                start_new_session=True,
            )
        self._started[job.name] = Started(process, attempt.number)
        return True

    def _urge(self, job: Job, attempt: Attempt) -> None:
        """Have a job's process end: asked first, then killed, with all that it has started."""
        pid = attempt.started.get("pid")
        if not isinstance(pid, int) or pid <= 1:
            return
        asked = self._asked.setdefault(job.name, time.monotonic())
        late = time.monotonic() - asked > PATIENCE
        with suppress(ProcessLookupError, PermissionError):
            if late and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            elif late:  # started by hand, in somebody's session
                os.kill(pid, signal.SIGKILL)
            elif asked > self.looked:
                os.kill(pid, signal.SIGTERM)

    def _watch(self) -> None:
        while not self._end.is_set():
            try:
                due = time.monotonic() - self._refreshed > self.settings.refresh_seconds
                self.index.check(thoroughly=due)
                self._glance()
                if due:
                    self.index.refresh()
                    self._refreshed = time.monotonic()
                self.trouble = ""
            except sqlite3.DatabaseError as error:
                self.trouble = f"the index: {error}; it is made anew"
                self._mend()
            except Exception as error:  # a full disk, say: said where the health is asked for, and tried again
                self.trouble = f"{type(error).__name__}: {error}"
                self._end.wait(1)
            self._wake.wait(EVERY)

    def _mend(self) -> None:
        try:
            self.index.mend()
        except Exception as error:
            self.trouble = f"the index: {type(error).__name__}: {error}"
            self._end.wait(1)


def _tail(path: Path, most: int = 300) -> str:
    """The last line of a log."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - 4096))
            lines = handle.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip()[:most] for line in reversed(lines) if line.strip()), "")
