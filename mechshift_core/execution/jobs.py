"""Jobs: what is to be computed, in which order, and which one whoever is free does next.

A job is known by its key. It needs others, and something that takes long to get into memory: a model, or the scores of
a pair. Whoever holds that is given its jobs first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Event = tuple[str, Mapping[str, Any]]
"""An event of a run's log, and its facts."""


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work.

    Attributes:
        key: Of what it computes.
        holds: What has to be in memory for it.
        needs: Keys of jobs that come first.
        what: It in a few words, for the progress; `name`, in words that tell it from all others.
    """

    key: str
    holds: str
    needs: tuple[str, ...] = ()
    what: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        reason: Why it failed; None where it did not.
        events: What is to be logged of it.
        unfit: Whether the fault is the worker's, not the job's: it has other code, or does not see the run.
    """

    reason: str | None = None
    events: tuple[Event, ...] = ()
    unfit: bool = False


@dataclass(slots=True)
class _Waits:
    job: Job
    place: int
    needs: set[str] = field(default_factory=set)


class Waiting:
    """Jobs that have not been begun; each answer takes the same time however many there are.

    Args:
        jobs: In the order in which they are begun where there is a choice. What they need and is not among them is
            there already.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        listed = list(jobs)
        keys = {job.key for job in listed}
        self._waits = {job.key: _Waits(job, n, keys.intersection(job.needs)) for n, job in enumerate(listed)}
        self._needed_by: dict[str, list[str]] = {}
        self._ready: dict[str, deque[_Waits]] = {}
        for waits in self._waits.values():
            for need in waits.needs:
                self._needed_by.setdefault(need, []).append(waits.job.key)
            if not waits.needs:
                self._make_ready(waits)

    def __bool__(self) -> bool:
        return bool(self._waits)

    def take(self, holds: str = "", others: Collection[str] = ()) -> Job | None:
        """The next job whose needs are met: of what is held, else of what nobody else holds, else any.

        Args:
            holds: What whoever asks has in memory.
            others: What the others have.
        """
        if holds not in self._ready:
            if not self._ready:
                return None

            def late(name: str) -> tuple[bool, int, int]:
                group = self._ready[name]
                return name in others, -len(group) if name in others else 0, group[0].place

            holds = min(self._ready, key=late)
        group = self._ready[holds]
        waits = group.popleft()
        if not group:
            del self._ready[holds]
        del self._waits[waits.job.key]
        return waits.job

    def again(self, job: Job) -> None:
        """A job that was taken was lost: it is the next of its kind."""
        self._waits[job.key] = waits = _Waits(job, -1)
        self._ready.setdefault(job.holds, deque()).appendleft(waits)

    def done(self, key: str) -> None:
        """A job came out: others may be begun."""
        for other in self._needed_by.pop(key, ()):
            waits = self._waits.get(other)
            if waits is not None:
                waits.needs.discard(key)
                if not waits.needs:
                    self._make_ready(waits)

    def failed(self, key: str) -> list[Job]:
        """A job failed: those that can't be begun any more, which wait no longer."""
        lost: list[Job] = []
        for other in self._needed_by.pop(key, ()):
            waits = self._waits.pop(other, None)
            if waits is not None:
                lost += [waits.job, *self.failed(other)]
        return lost

    def _make_ready(self, waits: _Waits) -> None:
        self._ready.setdefault(waits.job.holds, deque()).append(waits)


def settle(waiting: Waiting, job: Job, outcome: Outcome, ended: Callable[[Job, Outcome], None]) -> None:
    """Tell what came of a job, and of those that can't be begun since it failed; others may be begun now."""
    ended(job, outcome)
    if outcome.reason is None:
        waiting.done(job.key)
        return
    for lost in waiting.failed(job.key):
        ended(lost, Outcome(f"what it needs failed, {job.name}: {outcome.reason}"))
