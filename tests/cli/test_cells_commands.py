"""`mechshift cells list`, `gc` and `verify`, and what `run`, `calibrate` and `plan` say of the store of cells."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from studies import ATTRIBUTION, write_study

from mechshift_core.cli.main import main
from mechshift_core.execution.store_room import entries
from mechshift_core.pipeline import run

DAY = 86400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and a store with its cells."""
    place = tmp_path_factory.mktemp("made")
    (place / "study").mkdir()
    run(write_study(place / "study"), out=place / "first", cells=place / "store")
    return place


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the store, the one in use; beside it the study, in the working directory."""
    for name in ("study", "store"):
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.setenv("MECHSHIFT_CELLS", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def answer(capsys: pytest.CaptureFixture[str], *command: str, code: int = 0) -> Any:
    assert main([*command, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def aged(store: Path, *days: int) -> list[Path]:
    """The entries, the first of them last used so many days ago each, after the others."""
    found = [entry.path for entry in entries(store)]
    now = (found[0] / "used").stat().st_mtime
    for path, age in zip(found, days, strict=False):
        os.utime(path / "used", (now - age * DAY,) * 2)
    return found


@pytest.mark.long
def test_a_run_says_how_many_cells_came_from_the_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "study/study.yaml"]) == 0
    printed = capsys.readouterr()
    assert "cells: 0 computed, 0 cached, 3 from the store, 0 failed\n" in printed.out
    assert "looking into the store of cells" in printed.err
    found = answer(capsys, "run", "study/study.yaml", "--out", "other")
    assert (found["computed"], found["cached"], found["shared"], found["notice"]) == (0, 0, 3, "")
    found = answer(capsys, "run", "study/study.yaml", "--out", "third", "--cells", "none")
    assert (found["computed"], found["shared"]) == (3, 0)
    found = answer(capsys, "run", "study/study.yaml", "--out", "fourth", "--cells", "elsewhere")
    assert (found["computed"], found["shared"]) == (3, 0)
    assert len(entries(Path("elsewhere").absolute())) == 3


@pytest.mark.nightly
def test_a_run_says_what_is_wrong_with_the_store_and_goes_on(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("")
    assert main(["run", "study/study.yaml", "--cells", "file"]) == 0
    printed = capsys.readouterr().out
    assert "cells: 3 computed, 0 cached, 0 failed\n" in printed
    assert printed.count(f"note: store of cells {Path('file').absolute()}: ") == 1
    assert "it is no folder" in answer(capsys, "run", "study/study.yaml", "--cells", "file", "--out", "o")["notice"]
    assert main(["run", "study/study.yaml", "--cells", ""]) == 2
    assert "cells: expected a folder" in capsys.readouterr().err


@pytest.mark.long
def test_copies_are_made_where_they_are_asked_for(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    links = []
    for number, options in enumerate(([], ["--copy-cells"])):
        assert answer(capsys, "run", "study/study.yaml", "--out", f"out-{number}", *options)["shared"] == 3
        links.append(len([path for path in Path(f"out-{number}/cells").iterdir() if path.is_symlink()]))
    assert links == [3, 0]


@pytest.mark.nightly
def test_calibrate_takes_cells_from_the_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["calibrate", "study/study.yaml", "--repetitions", "2", "--quiet"]
    assert main([*command, "--cells", str(store), "--copy-cells", "--out", "out"]) in (0, 3)
    assert main([*command, "--cells", "none", "--out", "other"]) in (0, 3)
    capsys.readouterr()
    logs = [Path(name, "events.jsonl").read_text() for name in ("out", "other")]
    assert [log.count('"event": "cells shared"') for log in logs] == [1, 0]
    assert [log.count('"event": "cell"') for log in logs] == [0, 3]


@pytest.mark.long
def test_a_plan_shows_what_the_store_has(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone, damaged, _ = aged(store)
    shutil.rmtree(gone)
    (damaged / "cell.json").write_text("{}")
    cells = answer(capsys, "plan", "study/study.yaml")["cells"]
    assert [cell["shared"] for cell in cells if cell["key"] not in (gone.name, damaged.name)] == [True]
    assert [cell["shared"] for cell in cells].count(False) == 2
    assert not any(cell["cached"] for cell in cells)
    assert main(["plan", "study/study.yaml"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\nin store circuit of ") == 1
    assert printed.count("\nto do    circuit of ") == 2
    assert "3 cells, 2 to do: " in printed
    assert not any(cell["shared"] for cell in answer(capsys, "plan", "study/study.yaml", "--cells", "none")["cells"])
    run("study/study.yaml")
    cells = answer(capsys, "plan", "study/study.yaml")["cells"]
    assert [(cell["cached"], cell["shared"]) for cell in cells] == [(True, False)] * 3


@pytest.mark.long
def test_cells_are_listed_by_what_they_say_of_themselves(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(Path("study"), interventions=[{**ATTRIBUTION, "steps": 1}])
    text = Path("study/study.yaml").read_text().replace("name: random-study", "name: another")
    Path("study/study.yaml").write_text(text)
    run("study/study.yaml")
    (older, *_) = aged(store, 3, 2, 1)
    damaged = next(path for path in aged(store) if path != older)
    (damaged / "cell.json").write_text("{")
    found = answer(capsys, "cells", "list")
    sizes = {entry.path.name: entry.bytes for entry in entries(store)}
    assert (found["store"], found["cells"], found["bytes"]) == (str(store), 6, sum(sizes.values()))
    assert found["limit"] == 20 * 2**30
    groups = {(group["study"], group["model"], group["task"]): group for group in found["groups"]}
    assert sum(group["cells"] for group in groups.values()) == 6
    assert {study for study, *_ in groups} == {"random-study", "another", "not recorded"}
    model = json.loads((older / "cell.json").read_text())["model"]
    group = groups["random-study", model, "mine"]
    assert (group["cells"], group["bytes"]) == (1, sizes[older.name])
    assert main(["cells", "list"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{store}: 6 cells, ")
    assert " of at most 20.0 GiB\n" in printed
    (line,) = (line for line in printed.splitlines() if f"study random-study, model {model}, task mine" in line)
    assert line.split()[:2] == ["1", "cell"] and "used    3 d ago" in line


def test_a_store_that_is_not_there_yet_is_empty_and_one_that_was_named_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MECHSHIFT_CELLS", str(tmp_path / "store"))
    assert answer(capsys, "cells", "list")["cells"] == 0
    assert answer(capsys, "cells", "gc", "--all", "--yes") == {"removed": True, "items": []}
    assert answer(capsys, "cells", "verify")["damaged"] == []
    for command in ("list", "gc", "verify"):
        assert main(["cells", command, "--cells", str(tmp_path / "other")]) == 2
        assert "no such folder" in capsys.readouterr().err
        assert main(["cells", command, "--cells", "none"]) == 2
        assert "there is no store of cells" in capsys.readouterr().err
    (tmp_path / "store").write_text("")
    assert main(["cells", "list"]) == 3
    assert f"store of cells {tmp_path / 'store'} cannot be read" in capsys.readouterr().err


def test_gc_shows_what_goes_and_removes_it_only_when_told(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest, old, recent = aged(store, 40, 31)
    (store / "thesis").mkdir()

    def shown(*options: str) -> list[Path]:
        found = answer(capsys, "cells", "gc", *options)
        assert found["removed"] == ("--yes" in options)
        assert all(item["bytes"] > 0 for item in found["items"])
        return [Path(item["path"]) for item in found["items"]]

    assert shown() == []
    assert shown("--older-than", "35d") == [oldest]
    assert shown("--older-than", "30d") == [oldest, old]
    assert shown("--all") == [oldest, old, recent]
    monkeypatch.setenv("MECHSHIFT_CELLS_LIMIT", f"{entries(store)[2].bytes}B")
    assert shown() == [oldest, old]
    assert len(entries(store)) == 3
    assert shown("--yes") == [oldest, old]
    assert [entry.path for entry in entries(store)] == [recent]
    assert main(["cells", "gc", "--all"]) == 0
    printed = capsys.readouterr().out
    assert f"not needed: {recent} (" in printed
    assert printed.endswith(" to remove (--yes removes them)\n")
    assert main(["cells", "gc", "--all", "--yes"]) == 0
    assert f"removed: {recent} (" in capsys.readouterr().out
    assert entries(store) == []
    assert (store / "thesis").is_dir()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--all", "--older-than", "3d"], "--all and --older-than: expected one of them, got both"),
        (["--older-than", "long"], "--older-than: expected an age such as 30d, 12h or 2w (units: m, h, d, w), got"),
        (["--older-than", "3"], "--older-than: expected an age"),
    ],
)
def test_what_gc_cannot_mean_is_refused(
    store: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["cells", "gc", "--yes", *options]) == 2
    assert message in capsys.readouterr().err
    assert len(entries(store)) == 3


def test_verify_names_damaged_cells_and_removes_them_when_told(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "cells", "verify")
    assert found == {"store": str(store), "cells": 3, "damaged": [], "removed": False}
    damaged, *others = aged(store)
    tensors = damaged / "tensors.safetensors"
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for command in ([], ["--yes"]):
        assert damaged.exists()
        assert main(["cells", "verify", *command]) == 3
        printed = capsys.readouterr()
        assert printed.out == f"{store}: 3 cells, 1 damaged\n"
        assert f"damaged{' and removed' if command else ''}: {damaged}\n" in printed.err
    assert [entry.path for entry in entries(store)] == sorted(others, key=lambda path: (path / "used").stat().st_mtime)
    assert main(["cells", "verify", "--quiet"]) == 0
