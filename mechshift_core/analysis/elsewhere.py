"""Statistics that are shared out: each is a job of an engine, as a cell is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mechshift_core.analysis.kept import Kept
from mechshift_core.analysis.statistic import Statistic
from mechshift_core.execution.jobs import Job, Outcome
from mechshift_core.execution.worker import Share, Work, answered, release, threads_of

if TYPE_CHECKING:
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.profiles import Profile
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.progress import Progress

Failures = tuple[tuple[str, str], ...]
"""Key of each cell that failed, and why."""
_statistics: dict[tuple[Work, Failures], Mapping[str, Statistic]] = {}
"""Those of the run that this process works on, by key."""


def share_out(
    statistics: Sequence[Statistic],
    kept: Kept,
    profile: Profile,
    *,
    progress: Progress | None = None,
) -> None:
    """Have the workers of an engine compute and keep those that are not kept.

    One that fails there is left to whoever asks for it next.

    Args:
        statistics: Of one run.
        profile: How to run.
        progress: Called with (what is being computed, statistics done, statistics to do).
    """
    from mechshift_core.execution.clusters import opened

    missing = {one.key: one for one in statistics if one not in kept}
    if len(missing) < 2:
        return
    first = statistics[0]
    work = Work.of(first.folder.path, first.plan.spec.loaded_extensions)
    done = 0

    def say(what: str) -> None:
        if progress is not None:
            progress(f"statistics: {what}", done, len(missing))

    def ended(*_: object) -> None:
        nonlocal done
        done += 1

    say("starting workers")
    with opened(profile, most=len(missing), at_end=partial(release, work, forget)) as engine:
        engine.share_out(
            [Job(key, one.holds, what=str(one)) for key, one in missing.items()],
            partial(do_statistic, work, tuple(sorted(first.failures.items()))),
            begun=lambda job: say(job.what),
            ended=ended,
            waiting_for_workers=say,
        )


def forget(work: Work) -> None:
    """Forget the statistics of a run in this process."""
    for of_a_run in [one for one in _statistics if one[0] == work]:
        del _statistics[of_a_run]


def do_statistic(work: Work, failures: Failures, share: Share, key: str) -> Outcome:
    """Compute and keep a statistic of a run in this process."""

    def compute(plan: Plan, folder: RunFolder) -> Outcome:
        from threadpoolctl import threadpool_limits

        from mechshift_core.analysis.listing import every_statistic

        if (work, failures) not in _statistics:
            _statistics.clear()
            threadpool_limits(threads_of(share))
            _statistics[work, failures] = {one.key: one for one in every_statistic(plan, folder, dict(failures))}
        Kept(folder).of(_statistics[work, failures][key])
        return Outcome()

    return answered(work, compute)
