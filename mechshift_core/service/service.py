"""What a server is made of, put together: root, settings, index, keeper, submissions, tokens."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.service.checking import Checker
from mechshift_core.service.index import Index
from mechshift_core.service.jobs import OPEN, Job, read_json_if_there
from mechshift_core.service.keeper import Keeper
from mechshift_core.service.root import Root
from mechshift_core.service.search import Row, one_run
from mechshift_core.service.settings import Settings
from mechshift_core.service.submissions import Submissions
from mechshift_core.service.tokens import Tokens

SLOW = 30.0
"""Seconds without a look of the keeper after which the server is not ready."""


@dataclass(slots=True)
class Service:
    """The parts of a server.

    Attributes:
        answers: Answers by status, for the metrics, and `streams`, the pages that watch a run now.
    """

    root: Root
    settings: Settings
    index: Index
    keeper: Keeper
    submissions: Submissions
    checker: Checker
    tokens: Tokens
    answers: Counter[int] = field(default_factory=Counter)
    streams: int = 0
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, root: Root, settings: Settings) -> Service:
        """Put a server together; nothing is started."""
        index = Index(root)
        keeper, submissions = Keeper(index, settings), Submissions(index, settings)
        return cls(root, settings, index, keeper, submissions, Checker(root, settings), Tokens(root))

    def trouble(self) -> str:
        """Why the server does not do its work; empty if it does."""
        if self.keeper.trouble:
            return self.keeper.trouble
        if time.monotonic() - self.keeper.looked > SLOW:
            return f"nobody has looked after the runs for {SLOW:g} s"
        free = shutil.disk_usage(self.root.folder).free
        if free < self.settings.free_bytes:
            return f"the disk is nearly full ({free // 2**20} MiB free)"
        return ""

    def run(self, name: str) -> Row:
        """How a run stands now, with its progress.

        Raises:
            UsageError: if there is none.
        """
        self.index.refresh([self.require(name)])
        row = one_run(self.index.database, name)
        if row is None:
            reason = self.index.damaged.get(name, "nothing can be read")
            raise ExecutionError(f"{name}: its files on the server are damaged: {reason}")
        return row | {"progress": self.progress(name), "attempts": self.attempts(name)}

    def require(self, name: str) -> str:
        """The name, if there is such a run.

        Raises:
            UsageError: if there is none.
        """
        if not self.root.has(name):
            raise UsageError(f"no run {name!r}")
        return name

    def progress(self, name: str) -> dict[str, Any] | None:
        """How far a run is: `what`, `done`, `total`, `seconds_left`, `at`; None where it does not run."""
        job = Job(self.root.job(name))
        attempt = job.attempt()
        if attempt is None or job.state() not in ("running", "cancelling"):
            return None
        return read_json_if_there(attempt.progress) or None

    def attempts(self, name: str) -> int:
        """How many attempts at a run there were."""
        attempt = Job(self.root.job(name)).attempt()
        return 0 if attempt is None else attempt.number

    def cancel(self, name: str, by: str) -> str:
        """Have a run end early, and return its state.

        Raises:
            UsageError: if there is no such run, or it was not handed in here.
            ExecutionError: if it has ended.
        """
        job = self._job(name)
        attempt = job.attempt()
        if attempt is None or job.state() not in OPEN:
            raise ExecutionError(f"{name} has ended ({job.state()}); there is nothing to cancel")
        attempt.cancel(by)
        self.keeper.wake()
        return job.state()

    def resume(self, name: str, by: str) -> str:
        """Have a run that has ended go on, and return its state.

        Raises:
            UsageError: if there is no such run, or it was not handed in here.
            ExecutionError: if it waits or runs.
        """
        job = self._job(name)
        with job.held() as ours:
            if not ours or job.state() in OPEN:
                raise ExecutionError(f"{name} waits or runs already")
            job.want(by=by)
        self.index.refresh([name])
        self.keeper.wake()
        return job.state()

    def _job(self, name: str) -> Job:
        job = Job(self.root.job(self.require(name)))
        if not job.exists:
            raise UsageError(f"{name} was not handed in here; run it again with `mechshift run`")
        return job
