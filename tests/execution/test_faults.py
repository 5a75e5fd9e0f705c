"""What goes wrong around a run: kills at any moment, a disk that refuses, damaged files, a clock that lies."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from studies import ATTRIBUTION, write_study

from mechshift_core import files, run
from mechshift_core.errors import UsageError
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import Run, analyze, report, stored_plan

COMMAND = [sys.executable, "-m", "mechshift_core.cli.main", "run", "--quiet"]
CURVE: dict[str, object] = {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [30, 100]}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def findings(folder: Path) -> bytes:
    return (folder / "findings.json").read_bytes()


@pytest.mark.long
def test_a_cell_is_the_old_one_none_or_the_new_one_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    script = Path(__file__).with_name("crash_points.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path / "out"], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def contents(folder: Path) -> dict[str, dict[str, object]]:
    """Every stored cell that is believed: its hashes."""
    store = RunFolder(folder)
    names = [path.name for path in store.cells.iterdir() if not path.name.startswith(".")]
    return {key: store.describe(key) for key in names if store.has_cell(key)}


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_a_run_that_is_killed_again_and_again_finds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    draw = random.Random(workers)
    study = write_study(tmp_path, interventions=[ATTRIBUTION, CURVE], examples=300)  # three shards
    study.write_text(study.read_text().replace("device: cpu", f"device: cpu\n  workers: {workers}"))
    whole, out = run(study, out=tmp_path / "whole"), tmp_path / "out"
    every = contents(whole.path)
    log, stored = out / "events.jsonl", set[str]()
    for kill in range(4 if workers == 1 else 2):  # workers take long to start
        with subprocess.Popen([*COMMAND, str(study), "--out", str(out)], env=environment()) as process:
            lines = len(log.read_text().splitlines()) if log.exists() else 0
            while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) > lines + kill):
                time.sleep(0.01)
            time.sleep(draw.random())
            process.send_signal(signal.SIGKILL)
        found = contents(out)
        assert stored <= set(found) <= set(every)
        assert all(found[key]["tensors_sha256"] == every[key]["tensors_sha256"] for key in found)
        stored = set(found)
    resumed = run(study, out=out)
    assert (resumed.cached, resumed.failures) == (len(stored), ())
    assert findings(out) == findings(whole.path)
    assert not list(out.rglob(".*.tmp"))


@pytest.mark.long
def test_of_two_runs_at_once_the_second_refuses(tmp_path: Path) -> None:
    study, out = write_study(tmp_path, examples=300), tmp_path / "out"
    command = [*COMMAND, str(study), "--out", str(out)]
    with subprocess.Popen(command, env=environment()) as first:
        while not (out / "events.jsonl").exists():
            assert first.poll() is None
            time.sleep(0.01)
        with pytest.raises(Exception, match="another process is running"):
            run(study, out=out)
        assert first.wait() == 0
    again = run(study, out=out)
    assert (again.computed, again.analysed) == (0, False)


@pytest.mark.long
@pytest.mark.parametrize("nth", [9, *(pytest.param(n, marks=pytest.mark.long) for n in (0, 4, 14, 17))])
def test_a_disk_that_fills_while_anything_is_written_is_named_and_gone_on_from(
    study: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    whole, sync, left = run(study, out=tmp_path / "whole"), files.sync, [nth]

    def full(path: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        sync(path)

    with monkeypatch.context() as patched:
        patched.setattr(files, "sync", full)
        patched.setattr("mechshift_core.execution.store.sync", full)
        with pytest.raises(Exception, match="No space left on device"):
            run(study, out=out)
    resumed = run(study, out=out)
    assert resumed.failures == ()
    assert findings(out) == findings(whole.path)


@pytest.mark.long
@pytest.mark.parametrize("place", ["description", "folder"])
def test_a_cell_that_says_something_else_of_itself_is_computed_again(
    study: Path, out: Path, finished: Run, place: str
) -> None:
    before = findings(out)
    keys = [cell.key for cell in stored_plan(out).cells]
    if place == "description":
        path = out / "cells" / keys[0] / "cell.json"
        path.write_text(path.read_text().replace('"stop": 12', '"stop": 13'))
    else:
        (out / "cells" / keys[0]).rename(out / "cells" / "aside")
        (out / "cells" / keys[1]).rename(out / "cells" / keys[0])
        (out / "cells" / "aside").rename(out / "cells" / keys[1])
    second = run(study, out=out)
    assert (finished.cached, second.computed) == (3, 1 if place == "description" else 2)
    assert findings(out) == before


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "findings.json",
        *(
            pytest.param(one, marks=pytest.mark.long)
            for one in ("provenance.json", "tables/layers.parquet", "analysis.json")
        ),
    ],
)
def test_a_damaged_result_is_made_again(study: Path, out: Path, finished: Run, name: str) -> None:
    before = (out / name).read_bytes()
    (out / name).write_bytes(before[: len(before) // 2])
    second = run(study, out=out)
    assert (second.computed, second.analysed) == (0, True)
    assert (out / name).read_bytes() == before


def test_half_a_line_in_the_log_stays_alone(study: Path, out: Path, finished: Run) -> None:
    with (out / "events.jsonl").open("a") as handle:
        handle.write('{"time": "2026-')
    run(study, out=out)
    lines = (out / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "run"
    assert [line for line in lines if not line.endswith("}")] == ['{"time": "2026-']


@pytest.mark.long
@pytest.mark.parametrize("moment", [0, pytest.param(4_000_000_000, marks=pytest.mark.long)])
def test_no_clock_decides_what_is_computed(study: Path, out: Path, moment: int) -> None:
    first = run(study, out=out)
    weights = study.parent / "after" / "model.safetensors"
    for path in [*study.parent.rglob("*"), *out.rglob("*")]:
        os.utime(path, (moment, moment))
    second = run(study, out=out)
    assert (second.computed, second.cached, second.analysed) == (0, first.computed, False)
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1  # the mantissa of the last weight: as many bytes, as old
    weights.write_bytes(content)
    os.utime(weights, (moment, moment))
    assert run(study, out=out).computed == 1


@pytest.fixture
def read_only(study: Path, tmp_path: Path) -> Iterator[Path]:
    """A finished run on a file system that may only be read."""
    place = tmp_path / "archive"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    if os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("root may write anywhere, and no file system can be mounted here")
    run(study, out=place / "out")
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        yield place / "out"
        subprocess.run(["umount", str(place)], check=True)
    else:
        folders = [path for path in [place, *place.rglob("*")] if path.is_dir()]
        for path in [*folders, place / "out" / ".lock"]:
            path.chmod(0o555)
        yield place / "out"
        for path in folders:
            path.chmod(0o755)


@pytest.mark.long
def test_a_folder_that_may_only_be_read_is_a_clear_error(study: Path, read_only: Path) -> None:
    before = findings(read_only)
    for action in (lambda: run(study, out=read_only), lambda: analyze(read_only), lambda: report(read_only)):
        with pytest.raises(UsageError, match=f"cannot write to {read_only}: .*; choose another folder with --out"):
            action()
    with pytest.raises(UsageError, match="cannot write to"):
        run(study, out=read_only.parent / "new")
    assert findings(read_only) == before
