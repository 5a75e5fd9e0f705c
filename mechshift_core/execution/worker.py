"""What worker processes of an engine do: they are told a run folder and a key, and read everything else there."""

from __future__ import annotations

import gc
import os
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.errors import MechshiftError
from mechshift_core.execution.code_version import PACKAGES, code_digest, code_version
from mechshift_core.execution.jobs import Outcome
from mechshift_core.files import sha256_of
from mechshift_core.kinds.extensions import origins
from mechshift_core.run_files import PLAN, SPEC

if TYPE_CHECKING:
    from mechshift_core.execution.hands import Hands
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.kinds.extensions import Extension


@dataclass(frozen=True, slots=True)
class Work:
    """A run whose cells are computed elsewhere.

    Attributes:
        folder: The run directory, as seen from every worker.
        plan: SHA-256 of its plan, and `spec` of its spec.
        code: Version and SHA-256 of the code that computes; all processes must share it.
        packages: A digest of the versions of what it uses; all must share these, too.
        extensions: SHA-256 of each file of kinds that the spec names.
        kinds: Where the kinds of other packages come from, with a digest of their code.
    """

    folder: str
    plan: str
    spec: str
    code: tuple[str, str]
    packages: str
    extensions: tuple[str, ...] = ()
    kinds: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, folder: Path, extensions: Sequence[Extension]) -> Work:
        """The work of a run directory that holds its plan; the files of its extensions may be run."""
        path = folder.absolute()
        hashes = tuple(one.sha256 for one in extensions)
        files = (sha256_of(path / PLAN), sha256_of(path / SPEC))
        return cls(str(path), *files, code_version(), code_digest(), hashes, tuple(sorted(origins().items())))


@dataclass(frozen=True, slots=True)
class Share:
    """What of its machine a worker may use.

    Attributes:
        number: Its number among the workers of the machine: the GPU that it takes.
        workers: How many share the machine.
    """

    number: int = 0
    workers: int = 1


BUSY = threading.RLock()
"""Held while a job is done: a process has one run and one set of kinds at a time, whoever else uses the worker."""
_runs: dict[Work, tuple[Plan, RunFolder]] = {}
_hands: dict[Work, Hands] = {}
"""The run that this process works on, at most one."""


def do_cell(work: Work, share: Share, key: str) -> Outcome:
    """Compute a cell of a run in this process, which keeps the run's plan and the model that it loaded."""

    def compute(plan: Plan, folder: RunFolder) -> Outcome:
        import torch

        from mechshift_core.execution.hands import Hands

        if folder.has_cell(key):  # by a worker that was thought dead
            return Outcome()
        if work not in _hands:
            _hands.clear()
            torch.set_num_threads(threads_of(share))
            if plan.spec.execution.device != "cpu" and torch.cuda.is_available():
                torch.cuda.set_device(share.number % torch.cuda.device_count())
            _hands[work] = Hands(plan, folder)
        return _hands[work].compute(key)

    return answered(work, compute)


def answered(work: Work, do: Callable[[Plan, RunFolder], Outcome]) -> Outcome:
    """What comes of a job of a run in this process; whatever breaks is an outcome.

    Args:
        work: The run.
        do: Does it, given the run's plan and folder.
    """
    with BUSY:
        try:
            plan, folder = _run_of(work)
        except MechshiftError as error:
            return Outcome(str(error), unfit=True)
        try:
            return do(plan, folder)
        except Exception as error:
            return Outcome(f"internal error: {type(error).__name__}: {error}")


def release(work: Work, *others: Callable[[Work], None]) -> None:
    """Have this process forget a run and its model, once it is done with what it does now.

    Args:
        work: The run.
        others: Forget what else is kept of it.
    """

    def forget() -> None:
        with BUSY:
            if _hands.pop(work, None) is not None:
                import torch

                gc.collect()
                torch.cuda.empty_cache()
            _runs.pop(work, None)
            for other in others:
                other(work)

    # Dask calls this where it must not be kept waiting.
    threading.Thread(target=forget, daemon=True).start()


def _run_of(work: Work) -> tuple[Plan, RunFolder]:
    """The plan and the folder of a run, after making sure that this process sees the same run and has the same code.

    Raises:
        MechshiftError: if not.
    """
    if work not in _runs:
        _runs.clear()
        _runs[work] = _read(work)
    return _runs[work]


def _read(work: Work) -> tuple[Plan, RunFolder]:
    from mechshift_core.errors import ExecutionError
    from mechshift_core.execution.plan import load_plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.kinds.extensions import activate
    from mechshift_core.spec import load_spec

    here, path = platform.node(), Path(work.folder)
    if code_version() != work.code:
        mine, theirs = (f"{version} ({digest[:12]})" for version, digest in (code_version(), work.code))
        raise ExecutionError(
            f"the worker on {here} has mechshift {mine}, the run {theirs}; install the same on both, or start anew "
            "what was started before the code was changed"
        )
    if code_digest() != work.packages:
        raise ExecutionError(
            f"the worker on {here} has other versions of {', '.join(PACKAGES)}; install those of where the run starts"
        )
    try:
        same = (sha256_of(path / PLAN), sha256_of(path / SPEC)) == (work.plan, work.spec)
    except OSError as error:
        raise ExecutionError(
            f"the worker on {here} cannot read {path} ({error.strerror}); workers need a folder that they share with "
            "the one who starts the run, under the same path"
        ) from error
    if not same:
        raise ExecutionError(f"the worker on {here} sees another run in {path}; is the folder really shared?")
    spec = load_spec(path / SPEC, check_files=False, allow_code=bool(work.extensions))
    if tuple(one.sha256 for one in spec.loaded_extensions) != work.extensions:
        raise ExecutionError(f"the worker on {here} sees other extensions in {path}; is the folder really shared?")
    activate(spec.loaded_extensions)
    for kind, origin in work.kinds:
        if origins().get(kind) != origin:
            raise ExecutionError(
                f"the worker on {here} has {kind} from {origins().get(kind, 'nowhere')}, the run from {origin}; "
                "install the same on both"
            )
    folder = RunFolder(path)
    return load_plan(spec, (path / PLAN).read_text(encoding="utf-8"), store=folder.data), folder


def threads_of(share: Share) -> int:
    """Threads for a worker: its part of the machine, or all that it was given where it was given a part."""
    mine = processors()
    return mine if mine < (os.cpu_count() or mine) else max(1, mine // share.workers)


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
