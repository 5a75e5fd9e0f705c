"""What goes wrong around the store of cells: kills, races, full and unreadable stores, other file systems."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_cells import KEYS, counts, events, findings, opened, provenance, stored
from studies import ATTRIBUTION, write_study

from mechshift_core import run
from mechshift_core.execution import cell_store
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.store_room import entries
from mechshift_core.execution.verify import verify
from mechshift_core.pipeline import analyze, stored_plan
from mechshift_core.runs import collect, summarize

HERE = Path(__file__).parent


@pytest.mark.long
def test_a_cell_is_the_old_one_none_or_the_new_one_after_a_kill_at_any_moment_of_sharing_it(tmp_path: Path) -> None:
    done = script("store_crash_points.py", tmp_path / "out")
    text, errors = done.communicate()
    assert done.returncode == 0, errors
    assert all(int(moments) > 20 for moments in text.split())
    assert len(text.split()) == 3


@pytest.mark.long
def test_processes_that_share_cells_at_once_spoil_nothing(tmp_path: Path) -> None:
    racers = [script("store_racer.py", tmp_path / "store", tmp_path / name, 2) for name in ("first", "second")]
    for racer in racers:
        text, errors = racer.communicate()
        assert (racer.returncode, text) == (0, ""), errors
    assert all(entry.path.is_dir() and not entry.left for entry in entries(tmp_path / "store"))
    assert [*(tmp_path / "store").glob("*/.*")] == []


def script(name: str, *arguments: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(HERE / name), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("damaged", [False, True])
def test_who_comes_second_leaves_the_first_ones_entry(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    store, key = opened(tmp_path / "store"), KEYS[0]
    if damaged:
        store.put(key, folder)
        (store.place / key / "cell.json").unlink()
    sync, others = cell_store.sync, list[int]()

    def faster(path: Path) -> None:
        sync(path)
        if not others:  # everything is written, the entry has not its name yet
            others.append(1)
            opened(tmp_path / "store").put(key, folder)
            others.append((store.place / key / "used").stat().st_ino)

    monkeypatch.setattr(cell_store, "sync", faster)
    store.put(key, folder)
    assert store.notice == ""
    assert store.has(key)
    assert (store.place / key / "used").stat().st_ino == others[1]
    assert len(stored(tmp_path / "store")) == 1


def test_an_entry_that_is_removed_while_it_is_taken_is_missing(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = opened(tmp_path / "store"), RunFolder(tmp_path / "other")
    store.put(KEYS[0], folder)
    link = os.link

    def removed(source: Path, target: Path) -> None:
        link(source, target)
        if store.place.exists():
            shutil.rmtree(store.place)

    monkeypatch.setattr(os, "link", removed)
    with other.claim():
        assert not store.take(KEYS[0], other)
        assert [*other.cells.iterdir()] == []
    assert store.notice == ""


@pytest.mark.long
def test_a_file_in_place_of_the_store_is_said_once_and_costs_nothing(study: Path, out: Path, store: Path) -> None:
    store.write_text("years of work")
    finished = run(study, out=out)
    assert counts(finished) == (3, 0, 0, 0)
    assert finished.notice.startswith(f"store of cells {store}: a cell cannot be taken from it: it is no folder ")
    assert finished.notice.endswith("(name another store with --cells PATH, or have none with --cells none)")
    (event,) = events(out, "store failed")
    assert (event["store"], event["reason"]) == (str(store), f"it is no folder ({store})")
    assert store.read_text() == "years of work"


@pytest.mark.long
@pytest.mark.parametrize(("nth", "whole"), [(0, 0), (1, 1), (2, 1)])
def test_a_store_that_was_full_once_gets_nothing_more_and_holds_nothing_half(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch, nth: int, whole: int
) -> None:
    sync, left = cell_store.sync, [nth]

    def full(path: Path) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        sync(path)

    with monkeypatch.context() as patched:
        patched.setattr(cell_store, "sync", full)
        finished = run(study, out=out)
    assert counts(finished) == (3, 0, 0, 0)
    assert finished.notice.startswith(f"store of cells {store}: what is computed cannot be put there: No space left on")
    assert len(events(out, "store failed")) == 1
    assert len(stored(store)) == whole
    assert counts(run(study, out=out.parent / "other")) == (3 - whole, 0, whole, 0)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 20 MB."""
    place = tmp_path / "mounted"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.long
def test_a_store_that_may_only_be_read_gives_what_it_has(
    study: Path, out: Path, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = mounted / "store"
    run(study, out=out, cells=store)
    shutil.rmtree(stored(store)[0])
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    second = run(study, out=out.parent / "other", cells=store)
    assert counts(second) == (1, 0, 2, 0)
    assert "what is computed cannot be put there: Read-only file system" in second.notice
    assert findings(second.path) == findings(out)
    assert len(stored(store)) == 2


@pytest.mark.long
def test_a_store_that_is_really_full_costs_a_run_nothing(study: Path, out: Path, mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16k", str(mounted)], check=True)
    finished = run(study, out=out, cells=mounted / "store")
    assert counts(finished) == (3, 0, 0, 0)
    assert "No space left on device" in finished.notice
    whole = len(stored(mounted / "store"))
    assert whole < 3
    assert counts(run(study, out=out.parent / "other", cells=mounted / "store")) == (3 - whole, 0, whole, 0)


@pytest.mark.long
def test_a_store_that_cannot_be_read_is_said_once_and_costs_nothing(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study, out=out)
    stat = Path.stat

    def refused(path: Path, **options: bool) -> os.stat_result:
        if path.name == "cell.json" and path.is_relative_to(store):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", refused)
        second = run(study, out=out.parent / "other")
    assert counts(second) == (3, 0, 0, 0)
    assert "a cell cannot be taken from it: Permission denied" in second.notice
    assert len(events(second.path, "store failed")) == 1


@pytest.mark.long
def test_on_another_file_system_cells_are_links_and_everything_that_reads_them_works(
    study: Path, out: Path, store: Path, apart: None
) -> None:
    run(study, out=out)
    assert not any((out / "cells" / cell.key).is_symlink() for cell in stored_plan(out).cells)
    other = out.parent / "other"
    second = run(study, out=other)
    assert (counts(second), second.notice) == ((0, 0, 3, 0), "")
    keys = [cell.key for cell in stored_plan(other).cells]
    links = [other / "cells" / key for key in keys]
    assert [link.readlink() for link in links] == [path for key in keys for path in stored(store) if path.name == key]
    assert findings(other) == findings(out)
    assert [*provenance(other)["cells_from_the_store"].values()] == [keys]
    analyze(other)
    assert findings(other) == findings(out)
    assert {check.outcome for check in verify(stored_plan(other), RunFolder(other), cells=3, seed=0)} == {"same"}
    found, own = summarize(other), summarize(out)
    assert (found.state, found.cells, found.stored) == ("complete", 3, 3)
    sizes = [RunFolder(out).cell_file(key).stat().st_size for key in keys]
    assert found.bytes < own.bytes - sum(sizes)
    assert counts(run(study, out=other)) == (0, 3, 0, 0)


@pytest.mark.long
def test_a_link_whose_entry_has_gone_is_a_missing_cell(study: Path, out: Path, store: Path, apart: None) -> None:
    run(study, out=out)
    other = out.parent / "other"
    run(study, out=other)
    gone, damaged, _ = stored(store)
    shutil.rmtree(gone)
    (damaged / "cell.json").write_text("{}")
    assert summarize(other).cells == 2
    assert len(analyze(other).failures) == 2
    again = run(study, out=other)
    assert counts(again) == (2, 1, 0, 0)
    assert not (other / "cells" / gone.name).is_symlink() and not (other / "cells" / damaged.name).is_symlink()
    assert findings(other) == findings(out)
    assert len(stored(store)) == 3


@pytest.mark.long
def test_cells_are_copied_from_another_file_system_where_that_is_asked_for(
    study: Path, out: Path, store: Path, apart: None
) -> None:
    run(study, out=out)
    second = run(study, out=out.parent / "other", copy_cells=True)
    assert counts(second) == (0, 0, 3, 0)
    assert not any(path.is_symlink() for path in second.path.rglob("*"))
    assert [len(keys) for keys in provenance(second.path)["cells_from_the_store"].values()] == [3]
    shutil.rmtree(store)
    analyze(second.path)
    assert findings(second.path) == findings(out)


@pytest.mark.nightly
@pytest.mark.parametrize("way", ["hard links", "links"])
def test_what_is_removed_from_a_run_directory_stays_in_the_store(
    study: Path, out: Path, store: Path, way: str, request: pytest.FixtureRequest
) -> None:
    if way == "links":
        request.getfixturevalue("apart")
    run(study, out=out)
    other = out.parent / "other"
    run(study, out=other)
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    write_study(study.parent, interventions=[{**ATTRIBUTION, "steps": 1}])
    run(study, out=other, cells="none")
    (other / "cells" / ".left.1.tmp").symlink_to(stored(store)[0], target_is_directory=True)  # of a run that was killed
    removed = collect(other)
    assert len(removed) == 3
    assert not any(item.path.exists() or item.path.is_symlink() for item in removed)
    assert all(item.bytes == 0 for item in removed) == (way == "links")
    assert not (other / "cells" / ".left.1.tmp").is_symlink()
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    write_study(study.parent)
    assert counts(run(study, out=out.parent / "third")) == (0, 0, 3, 0)
