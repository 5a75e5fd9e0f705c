"""Calibrations that are kept: the same whoever computes them, however often they are killed, and only what is new."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clusters import environment_of, soon
from ruamel.yaml import YAML
from safetensors import safe_open
from studies import write_study

from mechshift_core import run
from mechshift_core.analysis import kept_series, stretches
from mechshift_core.analysis.array_files import write_arrays
from mechshift_core.analysis.calibration import calibrate
from mechshift_core.analysis.kept_series import FOLDER
from mechshift_core.analysis.samples import Sample
from mechshift_core.analysis.series import Drawn, Series
from mechshift_core.cli.main import main
from mechshift_core.execution.profiles import Profile
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds import MEASURES as KINDS
from mechshift_core.pipeline import calibrate as calibrate_study
from mechshift_core.pipeline import stored_plan

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dask's own, of sockets that it closes late
]
GROUPS = {"contrast": {"role": ["treatment", "control"]}}
HYPOTHESES: list[dict[str, object]] = [
    {"id": "earlier", "measure": "depth_slope", **GROUPS, "test": {"kind": "difference", "alternative": "less"}},
    {"id": "even", "measure": "specialization", **GROUPS, "test": {"kind": "difference"}},
]
MEASURES: dict[str, object] = {"depth": {}, "specialization": {}}
SERIES = 2 * (2 + 2 + 1)
"""Of two pairs: both measures on halves and as they are; of `unequal noise` one."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, and `run`, its run."""
    folder = tmp_path_factory.mktemp("made")
    write_study(folder, examples=24, hypotheses=HYPOTHESES)
    edited(folder, lambda content: content.update(measures=MEASURES, select={"correct": "none"}))
    run(folder / "study.yaml", out=folder / "run")
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "made")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many data sets were measured in this process, by kind and sort."""
    found, measure = Counter[str](), Series.measure

    def counted(one: Series, sample: Sample | str) -> Drawn:
        found[f"{one.entry.name} on {one.of.name}"] += 1
        return measure(one, sample)

    monkeypatch.setattr(Series, "measure", counted)
    return found


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    yaml, path = YAML(), folder / "study.yaml"
    content = yaml.load(path.read_text())
    change(content)
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


def found(folder: Path, repetitions: int, *, seed: int = 3, workers: int = 1) -> str:
    """The calibration of a run as its file."""
    path = folder / "run"
    return calibrate(
        stored_plan(path), RunFolder(path), {}, key="", repetitions=repetitions, seed=seed,
        profile=Profile(workers=workers),
    ).to_json()  # fmt: skip


def files(folder: Path) -> list[Path]:
    return sorted((folder / "run" / FOLDER).iterdir())


def digests(folder: Path) -> dict[str, str]:
    """The hash of what is in each kept file; the order of what is in its header is of no account."""
    found = {}
    for file in files(folder):
        with safe_open(file, framework="numpy") as opened:
            found[file.name] = opened.metadata()["sha256"]
    return found


@pytest.mark.nightly
def test_one_process_finds_what_two_workers_do(
    study: Path, measured: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "LENGTH", 5)
    together = found(study, 12, workers=2)
    assert not measured  # not in this process
    kept = digests(study)
    shutil.rmtree(study / "run" / FOLDER)
    assert found(study, 12) == together
    assert digests(study) == kept
    assert measured == {
        "depth on halves": 24, "depth on as it is": 2, "specialization on halves": 24, "specialization on as it is": 2,
        "specialization on unequal noise": 24,
    }  # fmt: skip


def test_a_second_call_measures_nothing_and_more_data_sets_are_all_that_is_measured(
    study: Path, measured: Counter[str]
) -> None:
    alone = found(study, 33)
    shutil.rmtree(study / "run" / FOLDER)
    few = found(study, 7)
    measured.clear()
    assert found(study, 7) == few and not measured
    assert found(study, 33) == alone != few
    assert set(measured.values()) == {2 * (33 - 7)}
    measured.clear()
    assert (found(study, 7), found(study, 33)) == (few, alone) and not measured
    found(study, 7, seed=4)
    assert set(measured.values()) == {2 * 7}
    measured.clear()
    assert found(study, 33) == alone and not measured  # those of another seed are there still


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (lambda spec: spec["hypotheses"][0]["test"].update(alternative="greater"), set()),
        (lambda spec: spec["hypotheses"][0].pop("contrast"), set()),
        (lambda spec: spec["statistics"].update(correction="none"), set()),
        (lambda spec: spec.update(title="Another title"), set()),
        (lambda spec: spec["hypotheses"].pop(), set()),
        (lambda spec: spec["measures"].update(depth={"early": 0.5}), {"depth"}),
        (lambda spec: spec["statistics"].update(confidence=0.9), {"depth", "specialization"}),
        (lambda spec: spec["pairs"].pop(), {"depth", "specialization"}),  # whose prompts are matched with the others'
    ],
)
def test_only_what_depends_on_a_change_is_measured_anew(
    study: Path, measured: Counter[str], change: Callable[[dict[str, Any]], object], anew: set[str]
) -> None:
    found(study, 3)
    measured.clear()

    def changed(content: dict[str, Any]) -> None:
        change(content)
        if len(content["pairs"]) == 1:
            content["hypotheses"] = [{**one, "contrast": None} for one in content["hypotheses"]]
            for one in content["hypotheses"]:
                del one["contrast"]

    run(edited(study, changed), out=study / "run")
    found(study, 3)
    assert {kind.split(" on ")[0] for kind in measured} == anew


def test_damaged_files_are_computed_again_and_others_are_left(study: Path, measured: Counter[str]) -> None:
    expected, every = found(study, 25), files(study)
    whole, before = [file.read_bytes() for file in every], digests(study)
    assert len(every) == SERIES + 2 * 3  # as it is one file, others two
    content = bytearray(whole[0])
    content[len(content) // 2] ^= 1
    every[0].write_bytes(bytes(content))
    every[1].write_bytes(whole[1][:-3])
    every[2].write_bytes(b"")
    every[3].write_bytes(whole[4])  # of another series
    every[5].unlink()
    (study / "run" / FOLDER / ".half.tmp").write_bytes(b"half")
    measured.clear()
    with RunFolder(study / "run").claim():
        assert found(study, 25) == expected
    ranges = [file.stem.split("-")[2:] for file in (*every[:4], every[5])]
    assert measured.total() == sum(int(stop) - int(start) for start, stop in ranges)
    assert digests(study) == before


def test_what_no_calibration_needs_is_forgotten_and_an_analysis_leaves_the_rest(study: Path) -> None:
    found(study, 3)
    before = files(study)
    run(edited(study, lambda spec: spec["statistics"].update(correction="none")), out=study / "run")
    assert files(study) == before
    run(edited(study, lambda spec: spec["statistics"].update(confidence=0.9)), out=study / "run")
    found(study, 3)
    assert len(files(study)) == len(before) and set(files(study)).isdisjoint(before)


def test_what_breaks_is_measured_once_a_call_and_tried_again_by_the_next(
    study: Path, measured: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found(study, 6)
    shutil.rmtree(study / "run" / FOLDER)
    measured.clear()

    def breaks(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setitem(KINDS._known, "depth", replace(KINDS["depth"], shifts=breaks))  # type: ignore[arg-type]
        assert "OSError: [Errno 5] Input/output error" in found(study, 6)
        assert measured["depth on halves"] == measured["specialization on halves"] == 12
    measured.clear()
    assert found(study, 6) == expected
    assert measured == {"depth on halves": 12, "depth on as it is": 2}
    measured.clear()
    assert found(study, 6) == expected and not measured


def test_a_full_disk_ends_it_and_the_same_command_goes_on(
    study: Path, measured: Counter[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["calibrate", str(study / "study.yaml"), "--out", str(study / "run"), "--repetitions", "25", "--quiet"]
    written = 0

    def full(*given: Any) -> None:
        nonlocal written
        written += 1
        if written > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_arrays(*given)

    with monkeypatch.context() as patched:
        patched.setattr(kept_series, "write_arrays", full)
        assert main(command) == 3
    assert "No space left on device; what is complete is kept, the same command goes on" in capsys.readouterr().err
    assert len(files(study)) == 3 and not (study / "run" / "calibration.json").exists()
    measured.clear()
    assert main(command) == 0
    resumed = (study / "run" / "calibration.json").read_bytes()
    assert measured.total() == 2 * (3 * 25 + 2) - (20 + 20 + 5)
    assert main([*command, "--workers", "2"]) == 0
    assert (study / "run" / "calibration.json").read_bytes() == resumed


@pytest.mark.nightly
def test_a_calibration_that_is_killed_at_any_operation_on_files_goes_on(study: Path) -> None:
    from calibration_crash_points import __file__ as script

    run(edited(study, lambda spec: spec["hypotheses"].pop()), out=study / "run")
    done = subprocess.run(
        [sys.executable, script, str(study / "run")], env=environment_of(OMP_NUM_THREADS="1"), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


@pytest.mark.nightly
def test_a_command_that_is_killed_with_its_workers_goes_on(study: Path) -> None:
    expected, made = found(study, 60), study / "run" / FOLDER
    shutil.rmtree(made)
    command = [
        sys.executable, "-m", "mechshift_core.cli.main", "calibrate", "study.yaml", "--out", "run", "--seed", "3",
        "--repetitions", "60", "--workers", "2",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=study, env=environment_of(), stderr=subprocess.DEVNULL) as process:
        assert soon(lambda: made.is_dir() and len(list(made.glob("*.safetensors"))) > 2)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert not (study / "run" / "calibration.json").exists()
    assert found(study, 60) == expected


def test_a_run_that_another_spec_took_is_refused(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core import pipeline

    ran = pipeline.run

    def and_another(*given: Any, **named: Any) -> Any:
        finished = ran(*given, **named)
        ran(edited(study, lambda spec: spec.update(title="Another title")), out=study / "run")
        return finished

    monkeypatch.setattr(pipeline, "run", and_another)
    with pytest.raises(Exception, match="holds the run of another spec by now"):
        calibrate_study(study / "study.yaml", out=study / "run", repetitions=3)
