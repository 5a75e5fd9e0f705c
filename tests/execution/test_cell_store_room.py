"""What the store of cells holds, and what goes: the least recently used, beyond its limit, and nothing else."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from shared_cells import KEYS, counts, events, opened, stored
from studies import ATTRIBUTION, write_study

from mechshift_core import run
from mechshift_core.errors import UsageError
from mechshift_core.execution import store_room
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.store_room import Entry, entries, limit, make_room, unwanted
from mechshift_core.pipeline import stored_plan


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


@pytest.mark.long
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


@pytest.mark.long
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
