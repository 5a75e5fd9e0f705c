"""`mechshift runs list`, `show` and `gc`: how runs stand, and what is removed and what never is."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from studies import ATTRIBUTION, write_pairs, write_study

from mechshift_core.cli.main import main
from mechshift_core.cli.runs_commands import size
from mechshift_core.pipeline import run, stored_plan

OUT = Path("runs/random-study")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and its finished run."""
    place = tmp_path_factory.mktemp("finished")
    (place / "study").mkdir()
    run(write_study(place / "study"), out=place / OUT)
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as working directory."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def answer(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.long
def test_runs_are_listed_with_state_cells_size_and_verdicts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = answer(capsys, "runs", "list")
    verdicts = {h["id"]: h["verdict"] for h in json.loads((OUT / "findings.json").read_text())["hypotheses"]}
    assert (found["path"], found["name"], found["state"]) == (str(OUT), "random-study", "complete")
    assert (found["cells"], found["needed"], found["stored"], found["note"]) == (3, 3, 3, [])
    assert found["verdicts"] == verdicts
    assert found["bytes"] == sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    assert found["last"] == json.loads((OUT / "events.jsonl").read_text().splitlines()[-1])["time"]
    assert main(["runs", "list", "runs"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{OUT}  complete    {found['last'][:10]} ")
    assert "3/3 cells" in line
    assert main(["runs", "show", str(OUT)]) == 0
    assert "cells: 3 of 3 are there" in capsys.readouterr().out


@pytest.mark.long
def test_a_run_is_running_partial_or_unfinished(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def state() -> tuple[str, str]:
        found = answer(capsys, "runs", "show", str(OUT))
        return found["state"], " ".join(found["note"])

    with (OUT / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert state() == ("running", "")
    provenance = OUT / "provenance.json"
    content = json.loads(provenance.read_text())
    provenance.write_text(json.dumps({**content, "failures": ["circuit of after: killed"]}))
    assert state() == ("partial", "circuit of after: killed")
    (OUT / "analysis.json").unlink()
    assert state() == (
        "unfinished",
        f"{OUT}: the run has not come to an end (no analysis.json); run it again, it resumes",
    )
    shutil.rmtree(next((OUT / "cells").iterdir()))
    assert answer(capsys, "runs", "show", str(OUT))["cells"] == 2
    (OUT / "plan.json").write_text("{")
    assert state()[0] == "unfinished"
    assert "no plan of a run" in state()[1]
    (OUT / "plan.json").unlink()  # killed before there was a plan
    (OUT / "events.jsonl").write_text("half")
    (found,) = answer(capsys, "runs", "list")
    assert (found["state"], found["needed"], found["last"]) == ("unfinished", 0, None)


def test_what_is_no_run_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["show", "study"], ["gc", "study"], ["list", "nowhere"]):
        assert main(["runs", *command]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_no_runs_at_all_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs", "list"]) == 0
    assert capsys.readouterr().out == "no runs\n"
    assert answer(capsys, "runs", "gc") == {"removed": False, "items": []}


@pytest.mark.long
def test_gc_removes_what_no_plan_needs_and_only_when_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "runs", "gc", str(OUT))["items"] == []
    before = {cell.key for cell in stored_plan(OUT).cells}
    sensitivity = {"sensitivity": {"steps": [1]}}
    study = write_study(place / "study", interventions=[{**ATTRIBUTION, "name": "other"}])
    study.write_text(study.read_text() + json.dumps(sensitivity)[1:-1] + "\n")
    write_pairs(place / "study" / "pairs.jsonl", 12, changed=3)
    result = run(study, out=OUT)
    needed = {cell.key for _, cell in stored_plan(OUT).every_cell}
    own = {cell.key for cell in stored_plan(OUT).cells}
    assert (len(own), len(needed)) == (3, 6)  # the alternatives have cells of their own
    assert before.isdisjoint(needed)
    (OUT / "cells" / "notes").mkdir()
    (OUT / "data" / "notes.txt").write_text("mine")
    shown = answer(capsys, "runs", "gc")
    assert (shown["removed"], len(shown["items"])) == (False, 4)  # three cells and a data set
    assert before <= {path.name for path in (OUT / "cells").iterdir()}
    size_before = answer(capsys, "runs", "show", str(OUT))["bytes"]
    removed = answer(capsys, "runs", "gc", "--yes", str(OUT))
    assert removed == {"removed": True, "items": shown["items"]}
    assert {path.name for path in (OUT / "cells").iterdir()} == needed | {"notes"}
    assert (OUT / "data" / "notes.txt").read_text() == "mine"
    freed = size_before - answer(capsys, "runs", "show", str(OUT))["bytes"]
    assert freed == pytest.approx(sum(item["bytes"] for item in shown["items"]), abs=400)  # the log has grown
    again = run(study, out=OUT)
    assert (again.computed, again.analysed) == (0, False)
    assert again.findings == result.findings


def test_gc_leaves_a_run_alone_that_is_going_on_or_has_no_plan(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (OUT / "cells" / ("0" * 32)).mkdir()
    with (OUT / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert main(["runs", "gc", "--yes"]) == 3
    (OUT / "plan.json").write_text("{}")
    assert main(["runs", "gc", "--yes"]) == 3
    assert "no plan of a run" in capsys.readouterr().err
    assert (OUT / "cells" / ("0" * 32)).is_dir()


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**20, "3.0 MiB"), (5000 * 2**40, "5000.0 TiB")],
)
def test_sizes_are_for_the_eye(count: int, shown: str) -> None:
    assert size(count) == shown
