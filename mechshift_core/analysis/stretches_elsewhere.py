"""Stretches of data sets that are shared out: each is a job of an engine, as a cell is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mechshift_core.analysis.data_sets import Material, every_sort
from mechshift_core.analysis.kept_series import KeptSeries
from mechshift_core.analysis.series import Series, series_of
from mechshift_core.analysis.stretches import Stretch, compute
from mechshift_core.errors import ExecutionError
from mechshift_core.execution.account import ARRIVAL
from mechshift_core.execution.jobs import Job, Outcome
from mechshift_core.execution.worker import Share, Work, answered, release

if TYPE_CHECKING:
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.profiles import Profile
    from mechshift_core.execution.store import RunFolder

LOOK_AGAIN = 0.5
"""Seconds between two looks at what other machines have written."""
Failures = tuple[tuple[str, str], ...]
"""Key of each cell that failed, and why."""
Told = Callable[[str, int], None]
"""Told what is being done, and how many more data sets have been measured."""
_series: dict[tuple[Work, Failures, int], Mapping[str, Series]] = {}
"""Those of the run that this process works on, by name."""


def share_out(stretches: Sequence[Stretch], kept: KeptSeries, profile: Profile, told: Told) -> None:
    """Have the workers of an engine compute and keep stretches.

    Args:
        stretches: Of one calibration; at least one.
        kept: Where they are kept.
        profile: How to run.
        told: Told how far it has come.

    Raises:
        ExecutionError: if the engine is lost, or a stretch fails; what is complete is kept.
    """
    from mechshift_core.execution.clusters import opened

    material = stretches[0].series[0].of.material
    work = Work.of(material.folder.path, material.plan.spec.loaded_extensions)
    jobs = [
        Job(
            stretch.key,
            stretch.pair_on_task,
            what=str(stretch),
            name=f"data sets {stretch.numbers.start} to {stretch.numbers.stop - 1}, {stretch}",
        )
        for stretch in stretches
    ]
    lengths = {stretch.key: len(stretch.numbers) for stretch in stretches}

    def ended(job: Job, outcome: Outcome) -> None:
        if outcome.reason is not None:
            raise ExecutionError(
                f"{job.name}: {outcome.reason}; what is complete is kept, the same command goes on from there"
            )
        told(job.what, lengths[job.key])

    told("starting workers", 0)
    with opened(profile, most=len(jobs), at_end=partial(release, work, forget)) as engine:
        engine.share_out(
            jobs,
            partial(do_stretch, work, tuple(sorted(material.failures.items())), material.seed),
            begun=lambda job: told(job.what, 0),
            ended=ended,
            waiting_for_workers=lambda what: told(what, 0),
        )
    if not profile.here:
        _wait_for(stretches, kept)


def forget(work: Work) -> None:
    """Forget the series of a run in this process."""
    for of_a_run in [one for one in _series if one[0] == work]:
        del _series[of_a_run]


def _wait_for(stretches: Sequence[Stretch], kept: KeptSeries) -> None:
    """Wait for what other machines have written, which a network's file system may show late; not for ever."""
    until = time.monotonic() + ARRIVAL
    kept.look()
    while any(kept.missing(one, stretch.numbers) for stretch in stretches for one in stretch.series):
        if time.monotonic() > until:
            return
        time.sleep(LOOK_AGAIN)
        kept.look()


def do_stretch(work: Work, failures: Failures, seed: int, share: Share, key: str) -> Outcome:
    """Compute and keep a stretch of a run in this process, on one thread however many are free."""
    del share

    def compute_it(plan: Plan, folder: RunFolder) -> Outcome:
        asked = (work, failures, seed)
        if asked not in _series:
            _series.clear()
            material = Material.of(plan, folder, dict(failures), seed)
            _series[asked] = {one.name: one for sets in every_sort(material) for one in series_of(sets)}
        start, stop, *names = key.split("-")
        series = tuple(_series[asked][name] for name in names)
        compute(Stretch(series, range(int(start), int(stop))), KeptSeries(folder), lambda: None)
        return Outcome()

    return answered(work, compute_it)
