"""The way of a study, in one place: spec -> plan -> cells -> tables -> findings -> report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.conclusion import conclude
from mechshift_core.declarations import declaration_of, note
from mechshift_core.earlier_spec import changes, check_folder, default_folder
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.cell_store import open_store
from mechshift_core.execution.plan import Plan, load_plan, make_plan, save_plan
from mechshift_core.execution.profiles import Profile, chosen_profile, default_profile
from mechshift_core.execution.runner import Execution, execute
from mechshift_core.execution.store import RunFolder
from mechshift_core.files import replace_file, write_text
from mechshift_core.finished_run import Run
from mechshift_core.gate.stored import read_run
from mechshift_core.kinds.extensions import FOLDER, activate, copied_name
from mechshift_core.options import Count, Seed, checked_as
from mechshift_core.progress import Progress
from mechshift_core.run_files import PLAN, PROVENANCE, REPORT, SPEC, require_run
from mechshift_core.run_versions import version_told
from mechshift_core.showing import shown
from mechshift_core.spec import Spec, load_spec, load_stored_spec

if TYPE_CHECKING:
    from stats.calibration import Calibration

__all__ = ["Run", "analyze", "calibrate", "report", "run", "stored_plan"]


@checked_as(UsageError)
def run(
    spec: Spec | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    profile: Profile | str | None = None,
    cells: str | os.PathLike[str] | None = None,
    copy_cells: bool = False,
    progress: Progress | bool | None = None,
    allow_code: bool = False,
) -> Run:
    """Do what a spec says: compute what is missing, analyse it, write the report. Running it again resumes.

    Args:
        spec: A spec, or the path of one.
        out: Run directory; `runs/<name>` unless given, with `overrides` `runs/<name>-<overrides>`.
        profile: How to run: a profile, or the name or file of one; `$MECHSHIFT_PROFILE` unless given, else in as many
            processes of this machine as `execution: {workers: ...}` says.
        cells: Folder of the store that runs share their cells in, or `"none"`; unless given `$MECHSHIFT_CELLS`, or else
            `cells` in the cache.
        copy_cells: Whether cells of a store on another file system are copied to the run directory; otherwise they are
            links to it.
        progress: Called with (what is being done, steps done, steps in all): cells, then statistics. Or whether it is
            shown; unless given, in a notebook only.
        allow_code: Whether the files of `extensions` may be run.

    Raises:
        SpecError: if the spec, its models or its data are wrong.
        UsageError: if the run directory can't be used, or an argument is of another type; also where the one of the
            spec's name holds a run with other `overrides` and `out` is not given.
        ExecutionError: if nothing can be run at all (a part that fails is reported in `failures`).
    """
    loaded = spec if isinstance(spec, Spec) else load_spec(spec, allow_code=allow_code)
    activate(loaded.loaded_extensions)
    how = profile if isinstance(profile, Profile) else chosen_profile(profile)
    folder = _folder(loaded, out)
    store = open_store(cells, device=loaded.execution.device, copies=copy_cells)
    with folder.claim(), _writing(folder), shown(progress) as told:
        _check_name(folder, loaded)
        if out is None:
            check_folder(folder.path, loaded)
        changed = changes(folder.path, loaded)
        folder.log("run", spec=loaded.name)
        plan = make_plan(loaded, store=folder.data)
        write_text(folder.path / SPEC, loaded.text)
        _copy_extensions(loaded, folder)
        write_text(folder.path / PLAN, save_plan(plan))
        if not (how or default_profile(loaded)).alone:
            _check_read(loaded, folder)
        declaration = declaration_of(note(folder.path, loaded, "run"), loaded)
        execution = execute(plan, folder, profile=how, store=store, progress=told)
        profile = how or default_profile(loaded)
        finished = conclude(plan, folder, execution, declaration, profile, told, force=False)
        return replace(finished, changed=changed)


@checked_as(UsageError)
def analyze(
    path: str | os.PathLike[str],
    *,
    profile: Profile | str | None = None,
    progress: Progress | bool | None = None,
    allow_code: bool = False,
) -> Run:
    """Statistics and report again, from the stored cells and the stored spec; no model is loaded.

    Args:
        path: A run directory.
        profile: As of :func:`run`.
        progress: As of :func:`run`.
        allow_code: Whether the copies of `extensions` in the run directory may be run.
    """
    how = profile if isinstance(profile, Profile) else chosen_profile(profile)
    folder = RunFolder(Path(path))
    plan = stored_plan(path, allow_code=allow_code)
    with folder.claim(), _writing(folder), shown(progress) as told:
        folder.log("analyze")
        declaration = declaration_of(note(folder.path, plan.spec, "analyze"), plan.spec)
        every = [cell for _, cell in plan.every_cell]
        failures = {cell: "not computed" for cell in every if not folder.has_cell(cell.key)}
        execution = Execution(0, len(every) - len(failures), failures)
        return conclude(plan, folder, execution, declaration, how or default_profile(plan.spec), told, force=True)


@checked_as(UsageError)
def report(path: str | os.PathLike[str], *, static: bool = False, allow_code: bool = False) -> Path:
    """Write the report again, from the stored tables and findings; `static` leaves its script out.

    Args:
        path: A run directory.
        static: Whether the page has no script.
        allow_code: Whether the copies of `extensions` in the run directory may be run.

    Raises:
        UsageError: if the folder holds no run, or an argument is of another type.
        ExecutionError: if the run has not come to an end, so that there is nothing to report yet.
    """
    from mechshift_core.reporting import write_report

    folder = RunFolder(Path(path))
    plan = stored_plan(path, allow_code=allow_code, finished=True)
    with folder.claim(), _writing(folder):
        require_end(plan, folder)
        undrawn = write_report(plan, folder, static=static)
    if undrawn:
        raise ExecutionError("; ".join(undrawn))
    return folder.path / REPORT


@checked_as(UsageError)
def calibrate(
    spec: Spec | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    repetitions: Count = 200,
    seed: Seed | None = None,
    distances: Sequence[float] = (),
    replace: bool = False,
    profile: Profile | str | None = None,
    cells: str | os.PathLike[str] | None = None,
    copy_cells: bool = False,
    progress: Progress | bool | None = None,
    allow_code: bool = False,
) -> tuple[Run, Calibration]:
    """Run a spec as :func:`run` does, and its hypotheses on A/A data of its cells many times.

    Calling it again resumes: what was measured of a data set is kept in the run directory, and measured again only
    where what it depends on has changed. More repetitions measure only those that there were not before.

    Args:
        spec: A spec with at least one hypothesis, or the path of one.
        out: Run directory; `runs/<name>` unless given.
        repetitions: How many A/A data sets.
        seed: Seed of their draws; that of the spec unless given.
        distances: From the null, in units of the measures, at which power is computed; in multiples of each standard
            error unless given.
        replace: Whether a calibration of the run directory with more repetitions may be replaced.
        profile: As of :func:`run`; data sets are shared out, too.
        cells: The store of cells, as of :func:`run`; so is `copy_cells`.
        progress: As of :func:`run`.
        allow_code: Whether the files of `extensions` may be run.

    Raises:
        SpecError: if the spec, its models or its data are wrong.
        UsageError: if the run directory can't be used or holds a calibration with more repetitions, there is no
            hypothesis, or an option is out of range.
        ExecutionError: if nothing can be run at all, the workers are lost or the disk is full; what is complete is
            kept.
    """
    loaded = spec if isinstance(spec, Spec) else load_spec(spec, allow_code=allow_code)
    if not loaded.hypotheses:
        raise UsageError(f"{loaded.name}: no hypotheses, so there is nothing to calibrate; declare some in the spec")
    if not all(0 < distance < float("inf") for distance in distances):
        raise UsageError(f"shift: expected distances greater than 0, got {', '.join(map(str, distances))}")
    if not replace:
        from mechshift_core.calibration_file import check_replaced

        check_replaced(_folder(loaded, out), repetitions)
    how = profile if isinstance(profile, Profile) else chosen_profile(profile)
    finished = run(loaded, out=out, profile=how, cells=cells, copy_cells=copy_cells, progress=progress)
    folder = RunFolder(finished.path)
    with folder.claim(), _writing(folder), shown(progress) as told:
        from mechshift_core.analysis.calibration import calibrate as calibrate_run
        from mechshift_core.calibration_file import calibration_key, write_calibration
        from mechshift_core.reporting import write_report

        _check_same(loaded, folder)
        plan = load_plan(loaded, (folder.path / PLAN).read_text(encoding="utf-8"), store=folder.data)
        folder.log("calibrate", repetitions=repetitions)
        calibration = calibrate_run(
            plan,
            folder,
            {cell.key: "not computed" for cell in plan.cells if not folder.has_cell(cell.key)},
            key=calibration_key(plan, len(finished.failures)),
            repetitions=repetitions,
            seed=loaded.seed if seed is None else seed,
            distances=distances,
            profile=how or default_profile(loaded),
            progress=told,
        )
        write_calibration(folder, calibration)
        write_report(plan, folder)
    return finished, calibration


def _check_read(spec: Spec, folder: RunFolder) -> None:
    """Refuse a spec that was changed in Python where other processes compute: they read its file.

    Raises:
        UsageError: if the text is that of another spec.
    """
    read = load_spec(folder.path / SPEC, check_files=False, allow_code=bool(spec.loaded_extensions))
    if read.model_dump(mode="json") != spec.model_dump(mode="json"):
        raise UsageError(
            f"{spec.name}: the spec is not that of its file any more, which is what worker processes read; write it to "
            "a file and load that, or run it in one process (profile=Profile())"
        )


def _check_same(spec: Spec, folder: RunFolder) -> None:
    """Refuse to go on with the run of a spec where another one has taken its place since.

    Raises:
        ExecutionError: if the run directory holds the run of another spec by now.
    """
    if (folder.path / SPEC).read_bytes() != spec.text.encode():
        raise ExecutionError(
            f"{folder.path} holds the run of another spec by now: another process has run one there; choose another "
            "folder with --out, or run the command again"
        )


def _copy_extensions(spec: Spec, folder: RunFolder) -> None:
    """Keep the code that a run depends on beside it."""
    for number, extension in enumerate(spec.loaded_extensions):
        target = folder.path / FOLDER / copied_name(number, extension.name)
        target.parent.mkdir(exist_ok=True)
        with replace_file(target) as temporary:
            temporary.write_bytes(extension.content)


@contextmanager
def _writing(folder: RunFolder) -> Iterator[None]:
    """What the file system refuses, a full disk say, is an error that the same command goes on from."""
    try:
        yield
    except OSError as error:
        raise ExecutionError(
            f"{folder.path}: {error}; what is complete is kept, the same command goes on from there"
        ) from error


def require_end(plan: Plan, folder: RunFolder) -> None:
    """Refuse a run that was interrupted, or whose data have changed, since its findings were written, if ever.

    Raises:
        ExecutionError: saying how far it has come and what to do.
    """
    every = [cell for _, cell in plan.every_cell]
    missing = [cell for cell in every if not folder.has_cell(cell.key)]
    try:
        noted = read_run(folder.path).failures
    except ExecutionError as error:
        raise ExecutionError(f"{error} ({len(every) - len(missing)} of {len(every)} cells are computed)") from error
    lost = [cell for cell in missing if not any(line.startswith(f"{cell}: ") for line in noted)]
    if lost:
        raise ExecutionError(
            f"{folder.path}: the run has not come to an end ({len(every) - len(missing)} of {len(every)} cells are "
            "computed); run it again, it resumes"
        )


def _folder(spec: Spec, out: str | os.PathLike[str] | None) -> RunFolder:
    """The run directory that was asked for, or the one of its name."""
    return RunFolder(default_folder(spec) if out is None else Path(out))


def stored_plan(path: str | os.PathLike[str], *, allow_code: bool = False, finished: bool = False) -> Plan:
    """The plan of a run directory.

    Args:
        path: The run directory.
        allow_code: Whether the copies of `extensions` there may be run.
        finished: Whether only its results are read, so that it is no error if this version would refuse to run its
            spec; of such a one the plan lacks the other choices.

    Raises:
        UsageError: if the folder holds no run.
    """
    path = Path(path)
    require_run(path)
    with version_told(path):
        if finished:
            spec = load_stored_spec(path / SPEC, allow_code=allow_code)
        else:
            spec = load_spec(path / SPEC, check_files=False, allow_code=allow_code)
        try:
            text = (path / PLAN).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ExecutionError(f"{path / PLAN}: cannot be read: {error}; run the spec again") from error
        return load_plan(spec, text, store=RunFolder(path).data)


def _check_name(folder: RunFolder, spec: Spec) -> None:
    stored = folder.path / PROVENANCE
    if stored.is_file():
        try:
            name = json.loads(stored.read_text(encoding="utf-8"))["spec"]["name"]
        except (ValueError, KeyError, TypeError, OSError):
            return
        if name != spec.name:
            raise UsageError(f"{folder.path} holds the run of {name!r}, not of {spec.name!r}; choose another --out")
