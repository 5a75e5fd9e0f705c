"""The index: it holds nothing that is not in files, whatever becomes of it; and it is quick with many runs."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import study
from stored_runs import finding, findings, write_run

from mechshift_core.service.index import Index
from mechshift_core.service.root import Root
from mechshift_core.service.search import list_findings, list_runs
from mechshift_core.service.settings import Settings
from mechshift_core.service.submissions import Submissions


@pytest.fixture
def index(tmp_path: Path) -> Index:
    root = Root(tmp_path)
    root.make()
    found = Index(root)
    assert not found.open()
    for name in ("first", "second"):
        write_run(tmp_path / name, findings(name="made-up"))
    Submissions(found, Settings()).submit(study("waits"), {}, by="ada", key="k")
    found.refresh()
    return found


def content(index: Index) -> list[tuple[Any, ...]]:
    """All that it holds, but not when things were looked at."""
    connection = index.database.connection()
    parts = [connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4").fetchall() for table in
             ("runs", "findings", "jobs")]  # fmt: skip
    return [tuple(row) for part in parts for row in part]


def scribble(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    for start in range(0, len(raw), 4096):
        raw[start : start + 2000] = os.urandom(2000)
    path.write_bytes(raw)


def lose_pages(path: Path) -> None:
    with path.open("r+b") as handle:
        handle.truncate(6000)


def other_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "scribbled over": scribble,
    "truncated": lose_pages,
    "emptied": lambda path: path.write_bytes(b""),
    "of another version": other_version,
    "a text": lambda path: path.write_text("no database" * 1000),
    "replaced": lambda path: (path.unlink(), sqlite3.connect(path).close()),
}


def test_what_is_taken_on_while_all_runs_are_looked_at_is_not_forgotten(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = index._stamps
    names: list[str] = []

    def meanwhile(asked: list[str] | None) -> dict[str, str]:
        if asked is None and not names:
            names.append("")
            names.append(Submissions(index, Settings()).submit(study(), {}, by="ada", key="late").name)
        return stamps(asked)

    monkeypatch.setattr(index, "_stamps", meanwhile)
    index.refresh()
    assert names[1] in index.open_jobs()
    again = Submissions(index, Settings()).submit(study(), {}, by="ada", key="late")
    assert (again.name, again.new) == (names[1], False)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_made_anew_at_the_next_start(index: Index, damage: str) -> None:
    before = content(index)
    index.database.close()
    for path in index.root.own.glob("index.sqlite-*"):
        path.unlink()
    DAMAGE[damage](index.root.database)
    again = Index(index.root)
    assert not again.open()
    again.refresh()
    assert content(again) == before
    assert Index(index.root).open(), "the next one finds it good"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_made_anew_while_it_is_used(index: Index, damage: str) -> None:
    before = content(index)
    index.database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    DAMAGE[damage](index.root.database)
    index.suspect = True
    with pytest.raises(sqlite3.DatabaseError):
        index.check()
    index.mend()
    index.check()
    assert content(index) == before
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(content(index)))
    thread.start()
    thread.join()
    assert seen == [before], "other threads open the new one"


def test_a_good_index_that_is_suspected_stays_as_it_is(index: Index) -> None:
    inode = index.root.database.stat().st_ino
    index.suspect = True
    index.mend()
    assert index.root.database.stat().st_ino == inode and not index.suspect


def test_while_it_is_made_anew_nothing_is_taken_on(index: Index) -> None:
    index._mending = -1
    for call in (index.refresh, lambda: Submissions(index, Settings()).submit(study(), {}, key="k2")):
        with pytest.raises(sqlite3.OperationalError, match="made anew"):
            call()
    index._mending = None
    assert Submissions(index, Settings()).submit(study("waits"), {}, by="ada", key="k").new is False


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("findings.json", "{"), ("findings.json", "[]"), ("findings.json", '{"hypotheses": 5}'),
        ("findings.json", None), ("provenance.json", "5"), ("provenance.json", '{"spec": []}'),
        ("spec.yaml", "changed"),
        ("analysis.json", None), ("plan.json", "\x00"),
    ],
)  # fmt: skip
def test_a_damaged_run_is_unfinished_and_the_others_are_as_they_were(index: Index, file: str, text: str | None) -> None:
    path = index.root.run("first") / file
    path.unlink() if text is None else path.write_text(text)
    index.refresh()
    states = {row["name"]: row["state"] for row in list_runs(index.database).rows}
    assert states.pop("first") in ("unfinished", "complete" if file == "plan.json" else "unfinished")
    assert sorted(states.values()) == ["complete", "queued"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"run": 5, "models": 1, "tasks": [], "number": "x"}', ""])
def test_a_damaged_job_is_left_out_with_its_reason_until_it_is_mended(index: Index, text: str) -> None:
    (name,) = index.open_jobs()
    path = index.root.job(name) / "job.json"
    good = path.read_text()
    path.write_text(text)
    index.rebuild()
    assert len(list_runs(index.database).rows) == 2 and "job.json" in index.damaged[name]
    path.write_text(good)
    index.refresh()
    assert index.open_jobs() == [name] and index.damaged == {}


def test_hostile_text_in_files_of_runs_is_only_text(index: Index) -> None:
    texts = ["'; DROP TABLE runs; --", "\x00", "<script>", "\N{RIGHT-TO-LEFT OVERRIDE}abc", "%_\\"]
    for number, text in enumerate(texts):
        write_run(index.root.folder / f"hostile-{number}", findings(finding(claim=text), name=text))
    broken = write_run(index.root.folder / "hostile-half", findings())
    (broken / "findings.json").write_text(findings().to_json().replace("It is lower.", "\\ud800"))
    index.refresh()
    rows = list_findings(index.database).rows
    assert {*texts} <= {row["claim"] for row in rows}
    assert "hostile-half" not in {row["run"] for row in rows}
    for text in texts[:1] + texts[2:]:
        assert text in {row["claim"] for row in list_findings(index.database, text=text).rows}


@pytest.mark.parametrize("seconds", [0, -(2**31), 2**33, 2**40])
def test_times_of_files_may_be_any(index: Index, seconds: int) -> None:
    for file in ("findings.json", "analysis.json"):
        os.utime(index.root.run("first") / file, (seconds, seconds))
    index.refresh()
    assert {row["name"] for row in list_runs(index.database).rows} >= {"first", "second"}


def many(folder: Path, count: int) -> Root:
    """A root with so many run directories."""
    root = Root(folder)
    root.make()
    first = write_run(folder / "run-00000", findings(name="study-0"))
    texts = {path.name: path.read_bytes() for path in first.iterdir()}
    for number in range(1, count):
        place = folder / f"run-{number:05}"
        place.mkdir()
        for name, text in texts.items():
            (place / name).write_bytes(text.replace(b"study-0", f"study-{number % 100}".encode()))
    return root


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.long)])
def test_many_runs_are_listed_quickly(tmp_path: Path, count: int) -> None:
    index = Index(many(tmp_path, count))
    index.open()
    assert len(index.refresh()) == count
    began = time.process_time()
    assert list_runs(index.database).total == count
    listing = time.process_time() - began
    began = time.process_time()
    for _ in range(20):
        index.refresh(["run-00001"])
    one = (time.process_time() - began) / 20
    assert listing < 0.1 and one < 0.05, "what is asked of one run does not grow with their number"
    (tmp_path / "run-00002" / "plan.json").unlink()
    index.refresh()
    assert list_runs(index.database).total == count - 1
    names, after = [], None
    while True:
        page = list_runs(index.database, limit=1000, after=after)
        names += [row["name"] for row in page.rows]
        if (after := page.next) is None:
            break
    assert len({*names}) == len(names) == count - 1
    assert list_runs(index.database, study="study-3").total == count // 100
    json.dumps(page.rows)
