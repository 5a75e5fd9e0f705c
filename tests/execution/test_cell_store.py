"""The store of cells that runs share: the same findings without computing, under any names; nothing false is taken."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from ruamel.yaml import YAML
from studies import ATTRIBUTION, EVERY_KIND, write_study

from mechshift_core import run
from mechshift_core.errors import UsageError
from mechshift_core.execution import cell_store, code_version, runner, store_room
from mechshift_core.execution.cell_store import CellStore
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.store_room import Entry, entries, limit, make_room, unwanted
from mechshift_core.execution.verify import verify
from mechshift_core.pipeline import Run, analyze, stored_plan
from mechshift_core.runs import collect, summarize

HERE = Path(__file__).parent


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MECHSHIFT_CELLS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store lies on another file system than the run directories."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)


def counts(finished: Run) -> tuple[int, int, int, int]:
    return finished.computed, finished.cached, finished.shared, len(finished.failures)


def findings(folder: Path) -> bytes:
    return (folder / "findings.json").read_bytes()


def provenance(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return found


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == name]


def stored(store: Path) -> list[Path]:
    """The entries of a store; there must be nothing else."""
    found = [entry.path for entry in entries(store)]
    assert sorted(path for place in store.iterdir() for path in place.iterdir()) == sorted(found)
    return found


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    return {path.stem: pl.read_parquet(path) for path in sorted((folder / "tables").glob("*.parquet"))}


def test_another_run_computes_nothing_and_finds_the_same_to_the_byte(study: Path, out: Path, store: Path) -> None:
    first = run(study, out=out)
    assert counts(first) == (3, 0, 0, 0)
    second = run(study, out=out.parent / "other")
    assert counts(second) == (0, 0, 3, 0)
    assert findings(second.path) == findings(out)
    for name, table in tables(second.path).items():
        assert_frame_equal(table, tables(out)[name])
    own, other = provenance(out), provenance(second.path)
    shared = other.pop("cells_from_the_store")
    assert own == other
    (machine, keys), *_ = shared.items()
    assert sorted(keys) == sorted(cell.key for cell in stored_plan(out).cells)
    description = RunFolder(out).describe(keys[0])
    assert machine == f"{description['machine']['node']} ({description['machine']['processor']})"
    assert description["study"] == "random-study"
    assert [event["keys"] for event in events(second.path, "cells shared")] == [sorted(keys)]
    assert events(second.path, "cell") == []
    third = run(study, out=second.path)
    assert (counts(third), third.analysed) == ((0, 3, 0, 0), False)


def test_a_run_directory_is_complete_without_the_store_and_costs_no_space(study: Path, out: Path, store: Path) -> None:
    run(study, out=out)
    second = run(study, out=out.parent / "other")
    for cell in stored_plan(out).cells:
        files = [RunFolder(folder).cell_file(cell.key) for folder in (out, second.path)]
        (entry,) = (path for path in stored(store) if path.name == cell.key)
        assert len({path.stat().st_ino for path in (*files, entry / "tensors.safetensors")}) == 1
    shutil.rmtree(store)
    analyze(second.path)
    assert findings(second.path) == findings(out)
    assert counts(run(study, out=second.path)) == (0, 3, 0, 0)


def renamed(study: Path, folder: Path) -> Path:
    """The same study under other names of its study, models, pairs and interventions, in another order."""
    shutil.copytree(study.parent, folder)
    path, yaml = folder / "study.yaml", YAML()
    content = yaml.load(path.read_text())
    names = {one["name"]: f"other-{number}" for number, one in enumerate(content["interventions"])}
    content["name"] = "other-study"
    content["models"] = {f"other-{name}": model for name, model in reversed([*content["models"].items()])}
    for pair in content["pairs"]:
        pair["name"], pair["before"], pair["after"] = (f"other-{pair[key]}" for key in ("name", "before", "after"))
    content["pairs"].reverse()
    content["tasks"].reverse()
    content["interventions"].reverse()
    for one in content["interventions"]:
        one["name"] = names[one["name"]]
        if "of" in one:
            one["of"] = names[one["of"]]
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


def test_names_and_order_are_those_of_the_run_that_takes_the_cells(tmp_path: Path, store: Path) -> None:
    """Whatever reads what a cell says of itself reads the same as where the cell was computed under its own names."""
    (tmp_path / "study").mkdir()
    drawn: dict[str, object] = {"name": "drawn", "kind": "ablation", "components": ["heads"], "ablation": "resample"}
    drawn |= {"pairwise": 2, "shapley": {"components": 4, "order": 2, "budget": 14}}
    study = write_study(tmp_path / "study", interventions=[*EVERY_KIND, drawn], tasks=("mine", "other"), hypotheses=[])
    first = run(study, out=tmp_path / "first")
    assert first.failures == ()
    other = renamed(study, tmp_path / "renamed")
    taken = run(other, out=tmp_path / "taken")
    assert counts(taken) == (0, 0, first.computed, 0)
    computed = run(other, out=tmp_path / "computed", cells="none")
    assert counts(computed) == (first.computed, 0, 0, 0)
    assert findings(taken.path) == findings(computed.path)
    assert taken.findings != first.findings
    own, wanted = tables(taken.path), tables(computed.path)
    assert own.keys() == wanted.keys()
    for name, table in own.items():
        assert_frame_equal(table, wanted[name])
    known = provenance(taken.path)
    assert known.pop("cells_from_the_store")
    assert known == provenance(computed.path)


def test_with_another_version_of_the_code_cells_are_computed_anew(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study, out=out)
    with monkeypatch.context() as patched:
        patched.setattr(cell_store, "code_digest", lambda: "f" * 16)
        assert counts(run(study, out=out.parent / "other")) == (3, 0, 0, 0)
    assert counts(run(study, out=out.parent / "third")) == (0, 0, 3, 0)
    assert len(stored(store)) == 6


def test_the_version_of_the_code_is_of_all_that_decides_numbers(tmp_path: Path) -> None:
    for source in code_version.SOURCES:
        if (code_version.ROOT / source).is_dir():
            shutil.copytree(code_version.ROOT / source, tmp_path / source)
        else:
            (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(code_version.ROOT / source, tmp_path / source)
    packages = dict.fromkeys(code_version.PACKAGES, "1")
    before = code_version.digest_of(tmp_path, packages)
    assert code_version.digest_of(code_version.ROOT, packages) == before
    assert code_version.digest_of(tmp_path, packages | {"torch": "2"}) != before
    for source in code_version.SOURCES:
        path = tmp_path / source
        file = next(iter(sorted(path.rglob("*.py")))) if path.is_dir() else path
        text = file.read_text()
        file.write_text(f"{text}#")
        assert code_version.digest_of(tmp_path, packages) != before, source
        file.write_text(text)
    assert code_version.digest_of(tmp_path, packages) == before


def test_cells_of_a_gpu_are_not_given_to_a_run_on_processors(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(cell_store, "on_gpu", lambda device: True)
        run(study, out=out)
    assert {path.parent.name.partition("-")[0] for path in stored(store)} == {"cuda"}
    assert counts(run(study, out=out.parent / "other")) == (3, 0, 0, 0)
    assert counts(run(study, out=out.parent / "third")) == (0, 0, 3, 0)


DAMAGES = ("flipped", "truncated", "no description", "no tensors", "another cell", "a file")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_not_taken_but_computed_and_replaced(
    study: Path, out: Path, store: Path, damage: str
) -> None:
    run(study, out=out)
    entry, another = stored(store)[:2]
    tensors = entry / "tensors.safetensors"
    content = tensors.read_bytes()
    if damage == "a file":
        shutil.rmtree(entry)
        entry.write_bytes(b"")
    elif damage == "no description":
        (entry / "cell.json").unlink()
    else:
        tensors.unlink()  # a file of its own, so that the run directory has a whole one
        if damage == "flipped":
            tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        elif damage == "truncated":
            tensors.write_bytes(content[:-50])
        elif damage == "another cell":
            for name in ("cell.json", "tensors.safetensors"):
                shutil.copyfile(another / name, entry / name)
    second = run(study, out=out.parent / "second")
    assert (counts(second), second.notice) == ((1, 0, 2, 0), "")
    assert findings(second.path) == findings(out)
    assert counts(run(study, out=out.parent / "third")) == (0, 0, 3, 0)
    assert len(stored(store)) == 3


def test_a_damaged_cell_of_a_run_is_taken_from_the_store_and_the_provenance_says_so(
    study: Path, out: Path, store: Path
) -> None:
    run(study, out=out)
    key = stored_plan(out).cells[0].key
    tensors = RunFolder(out).cell_file(key)
    content = tensors.read_bytes()
    tensors.unlink()
    tensors.write_bytes(content[:-1])
    before = findings(out)
    mended = run(study, out=out)
    assert counts(mended) == (0, 2, 1, 0)
    assert [*provenance(out)["cells_from_the_store"].values()] == [[key]]
    assert findings(out) == before
    RunFolder(out).cell_file(key).unlink()
    shutil.rmtree(store)
    assert counts(run(study, out=out)) == (1, 2, 0, 0)
    assert "cells_from_the_store" not in provenance(out)


def test_what_an_interrupted_run_has_computed_is_in_the_store(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute_cell, done = runner._execute_cell, list[object]()

    def interrupted(*arguments: object) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(arguments)
        execute_cell(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(runner, "_execute_cell", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(study, out=out)
    assert counts(run(study, out=out.parent / "other")) == (1, 0, 2, 0)


def test_a_cell_that_failed_is_not_shared_and_one_that_budgets_share_is_counted_as_often_as_it_is_planned(
    study: Path, out: Path, store: Path
) -> None:
    study.write_text(study.read_text() + "denoising: {steps: [per_token, 1]}\n")
    weights = study.parent / "after" / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-100])
    assert counts(run(study, out=out)) == (4, 0, 0, 2)  # one cell each of two models, at two budgets
    assert len(stored(store)) == 2
    weights.write_bytes(good)
    assert counts(run(study, out=out.parent / "other")) == (2, 0, 4, 0)


@pytest.mark.long
def test_workers_share_what_they_compute(study: Path, out: Path, store: Path) -> None:
    study.write_text(study.read_text().replace("device: cpu", "device: cpu\n  workers: 2"))
    assert counts(run(study, out=out)) == (3, 0, 0, 0)
    assert counts(run(study, out=out.parent / "other")) == (0, 0, 3, 0)
    assert findings(out.parent / "other") == findings(out)


def test_the_store_can_be_elsewhere_or_switched_off(
    study: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MECHSHIFT_CELLS")
    monkeypatch.setenv("MECHSHIFT_CACHE", str(tmp_path / "cache"))
    run(study, out=out, cells="none")
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("MECHSHIFT_CELLS", str(tmp_path / "named"))
    run(study, out=tmp_path / "second", cells=tmp_path / "given")
    assert len(stored(tmp_path / "given")) == 3
    assert not (tmp_path / "named").exists()
    run(study, out=tmp_path / "third")
    assert len(stored(tmp_path / "named")) == 3
    monkeypatch.setenv("MECHSHIFT_CELLS", "")
    run(study, out=tmp_path / "fourth")
    assert len(stored(tmp_path / "cache" / "cells")) == 3
    with pytest.raises(UsageError, match="cells: expected a folder, or 'none' for no store, got ''"):
        run(study, out=out, cells="")
    with pytest.raises(UsageError, match="cells: expected "):
        run(study, out=out, cells=5)  # type: ignore[arg-type]


def test_a_cell_is_the_old_one_none_or_the_new_one_after_a_kill_at_any_moment_of_sharing_it(tmp_path: Path) -> None:
    done = script("store_crash_points.py", tmp_path / "out")
    text, errors = done.communicate()
    assert done.returncode == 0, errors
    assert all(int(moments) > 20 for moments in text.split())
    assert len(text.split()) == 3


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


KEYS = [f"{number:032x}" for number in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """A claimed run directory with eight small cells."""
    found = RunFolder(tmp_path / "run")
    with found.claim():
        for number, key in enumerate(KEYS):
            found.write_cell(key, {"model": "m"}, {"scores": np.full((2, 3), number, np.float32)})
        yield found


def opened(place: Path, *, most: int = 10**9) -> CellStore:
    return CellStore(place, device="cpu", most=most)


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


def test_a_file_in_place_of_the_store_is_said_once_and_costs_nothing(study: Path, out: Path, store: Path) -> None:
    store.write_text("years of work")
    finished = run(study, out=out)
    assert counts(finished) == (3, 0, 0, 0)
    assert finished.notice.startswith(f"store of cells {store}: a cell cannot be taken from it: it is no folder ")
    assert finished.notice.endswith("(name another store with --cells PATH, or have none with --cells none)")
    (event,) = events(out, "store failed")
    assert (event["store"], event["reason"]) == (str(store), f"it is no folder ({store})")
    assert store.read_text() == "years of work"


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


def test_a_store_that_is_really_full_costs_a_run_nothing(study: Path, out: Path, mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16k", str(mounted)], check=True)
    finished = run(study, out=out, cells=mounted / "store")
    assert counts(finished) == (3, 0, 0, 0)
    assert "No space left on device" in finished.notice
    whole = len(stored(mounted / "store"))
    assert whole < 3
    assert counts(run(study, out=out.parent / "other", cells=mounted / "store")) == (3 - whole, 0, whole, 0)


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


def test_the_least_recently_used_goes_first_and_what_the_run_uses_stays(folder: RunFolder, tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    for number, key in enumerate(KEYS):
        store.put(key, folder)
        os.utime(store.place / key / "used", (1000 + number, 1000 + number))
    size = {entry.path.name: entry.bytes for entry in entries(tmp_path / "store")}
    os.utime(store.place / KEYS[0] / "used", (5000, 5000))  # the first one was taken again
    assert [entry.path.name for entry in entries(tmp_path / "store")] == [*KEYS[1:], KEYS[0]]
    most = sum(size.values()) - 3 * size[KEYS[2]] + 1
    removed = make_room(tmp_path / "store", most, keep={store.place / KEYS[1]})
    assert [entry.path.name for entry in removed] == KEYS[2:5]
    assert {path.name for path in stored(tmp_path / "store")} == {KEYS[1], *KEYS[5:], KEYS[0]}


def test_an_entry_loses_its_name_before_anything_of_it_is_removed(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path / "store")
    store.put(KEYS[0], folder)

    def interrupted(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(store_room, "remove", interrupted)
    assert make_room(tmp_path / "store", 0, keep=()) == []
    (left,) = entries(tmp_path / "store")
    assert left.left
    assert left.path.name.startswith(f".{KEYS[0]}.")


def test_an_entry_that_is_taken_is_used(folder: RunFolder, tmp_path: Path) -> None:
    store, other = opened(tmp_path / "store"), RunFolder(tmp_path / "other")
    for key in KEYS[:2]:
        store.put(key, folder)
        os.utime(store.place / key / "used", (1000, 1000))
    with other.claim():
        assert store.take(KEYS[0], other)
    assert [entry.path.name for entry in entries(tmp_path / "store")] == [KEYS[1], KEYS[0]]


def test_a_run_keeps_the_store_within_its_limit_but_keeps_its_own_cells(
    study: Path, out: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study, out=out)
    first = {path.name for path in stored(store)}
    size = sum(entry.bytes for entry in entries(store))
    monkeypatch.setenv("MECHSHIFT_CELLS_LIMIT", f"{size + 10}B")
    assert counts(run(study, out=out.parent / "same")) == (0, 0, 3, 0)  # which puts nothing there
    assert events(out.parent / "same", "store trimmed") == []
    write_study(study.parent, interventions=[{**ATTRIBUTION, "steps": 1}])
    run(study, out=out.parent / "other")
    second = {cell.key for cell in stored_plan(out.parent / "other").cells}
    assert {path.name for path in stored(store)} == second
    (event,) = events(out.parent / "other", "store trimmed")
    assert (event["removed"], event["bytes"]) == (3, size)
    monkeypatch.setenv("MECHSHIFT_CELLS_LIMIT", "1B")
    write_study(study.parent, interventions=[{**ATTRIBUTION, "steps": 3}])
    run(study, out=out.parent / "third")
    assert {path.name for path in stored(store)} == {cell.key for cell in stored_plan(out.parent / "third").cells}
    assert first.isdisjoint(second)


def test_what_a_killed_run_has_left_goes_after_a_day_and_what_is_not_ours_never_does(
    folder: RunFolder, tmp_path: Path
) -> None:
    store = opened(tmp_path / "store")
    store.put(KEYS[0], folder)
    left = [store.place / f".{KEYS[1]}.{number:032x}.tmp" for number in range(2)]
    for path in (*left, store.place / "notes", tmp_path / "store" / "thesis"):
        path.mkdir()
        (path / "tensors.safetensors").write_bytes(b"half")
    (tmp_path / "store" / "cells" / KEYS[5]).mkdir(parents=True)  # as in a run directory
    for path in (left[0], store.place / "notes", tmp_path / "store" / "thesis"):
        os.utime(path, (1000, 1000))
    make_room(tmp_path / "store", 0, keep=())
    assert {path.name for path in store.place.iterdir()} == {left[1].name, "notes"}
    assert (tmp_path / "store" / "cells" / KEYS[5]).is_dir()
    assert (tmp_path / "store" / "thesis" / "tensors.safetensors").read_bytes() == b"half"


@pytest.mark.parametrize(
    ("text", "size"),
    [("50GiB", 50 * 2**30), ("1.5 mib", 3 * 2**19), ("2TB", 2 * 10**12), ("100B", 100), ("0B", 0), ("", 20 * 2**30)],
)
def test_the_limit_is_a_size(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MECHSHIFT_CELLS_LIMIT", text)
    assert limit() == size


@pytest.mark.parametrize("text", ["50", "much", "-1GiB", "1e3GiB", "GiB", "1 GiB 2"])
def test_what_is_no_size_is_refused_before_anything_is_computed(
    study: Path, out: Path, store: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHSHIFT_CELLS_LIMIT", text)
    with pytest.raises(UsageError, match=r"MECHSHIFT_CELLS_LIMIT: expected a size such as 50GiB .*, got '"):
        run(study, out=out)
    assert not out.exists()


def test_what_goes_is_the_oldest_beyond_the_size_and_all_beyond_an_age() -> None:
    now = time.time_ns()
    ages = [100, 50, 10, 1]
    found = [
        Entry(Path("store", "cpu", key), 10, now - age * 86400 * 10**9) for key, age in zip(KEYS, ages, strict=False)
    ]

    def gone(**options: Any) -> list[int]:
        return [found.index(entry) for entry in unwanted(found, **options)]

    assert gone(most=40) == []
    assert gone(most=39) == [0]
    assert gone(most=20) == [0, 1]
    assert gone(most=20, keep={found[0].path}) == [1, 2]
    assert gone(most=40, older_than=30 * 86400.0) == [0, 1]
    assert gone(most=40, older_than=30 * 86400.0, keep={found[0].path}) == [1]
    assert gone(most=-1) == [0, 1, 2, 3]
