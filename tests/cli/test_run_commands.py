"""`mechshift run`, `plan`, `analyze`, `report`, `validate`, `list`, `doctor` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from studies import write_study

from mechshift_core.cli.main import main


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    return write_study(folder)


def test_a_run_prints_its_verdicts_and_resumes(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(study)]) == 0
    printed = capsys.readouterr()
    assert "cells: 3 computed, 0 cached, 0 failed" in printed.out
    assert "kept" in printed.out
    assert "report: runs/random-study/report.html" in printed.out
    assert "[0/3] loading before" in printed.err
    assert main(["run", str(study), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["cached"] == 3
    assert printed.err == ""
    assert main(["analyze", "runs/random-study", "--quiet"]) == 0
    verdicts = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in verdicts] == ["not", "inconclusive"]
    assert main(["report", "runs/random-study"]) == 0
    assert capsys.readouterr().out == "wrote runs/random-study/report.html\n"
    page = Path("runs/random-study/report.html")
    scripts = [page.read_text().count("<script>")]
    for options in (["--static"], []):
        assert main(["report", "runs/random-study", "--quiet", *options]) == 0
        scripts.append(page.read_text().count("<script>"))
    assert scripts == [2, 0, 2]  # of every page, and of its circuits
    capsys.readouterr()
    assert main(["export", "runs/random-study", "--to", "paper", "--sqlite", "all.sqlite", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["folder"] == "paper" and said["written"] == "all.sqlite" and said["failures"] == []
    index = json.loads(Path("paper/index.json").read_text())
    assert {"verdicts", "circuits", "overlap"} <= {one["name"] for one in index["figures"]}
    assert all(Path("paper", name).is_file() for name in said["files"])


@pytest.mark.long
def test_a_hypothesis_that_must_hold_and_does_not_gives_exit_code_1(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(study), "--quiet", "--fail-on", "earlier"]) in (0, 1)
    verdict = json.loads(Path("runs/random-study/findings.json").read_text())["hypotheses"][1]["verdict"]
    capsys.readouterr()
    code = main(["run", str(study), "--quiet", "--fail-on", "earlier"])
    assert code == (0 if verdict == "supported" else 1)
    assert ("not supported: earlier" in capsys.readouterr().err) == (code == 1)


def test_an_unknown_hypothesis_is_refused_before_anything_runs(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(study), "--fail-on", "earler"]) == 2
    assert "unknown hypothesis 'earler' (did you mean 'earlier'?)" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.long
def test_a_partial_run_gives_exit_code_3_and_says_what_failed(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = study.parent / "after" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main(["run", str(study), "--quiet"]) == 3
    error = capsys.readouterr().err
    assert "failed: circuit of after on mine" in error
    assert "Traceback" not in error


@pytest.mark.long
def test_a_plan_shows_cells_cache_and_cost(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(study)]) == 0
    printed = capsys.readouterr().out
    assert "to do   circuit of before on mine, 12 examples" in printed
    assert "3 cells, 3 to do: 144 forward and 72 backward passes of one prompt" in printed
    assert "hypothesis kept: retention, equivalence" in printed
    assert not Path("runs").exists()
    main(["run", str(study), "--quiet"])
    capsys.readouterr()
    assert main(["plan", str(study), "--json"]) == 0
    assert all(cell["cached"] for cell in json.loads(capsys.readouterr().out)["cells"])


def test_validation_finds_what_the_data_have_wrong(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(study)]) == 0
    with (study.parent / "pairs.jsonl").open("a") as handle:
        handle.write("{broken\n")
    assert main(["validate", str(study)]) == 2
    error = capsys.readouterr().err
    assert "pairs.jsonl:13: not a JSON object" in error
    assert "Traceback" not in error


def test_list_and_doctor_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed["tasks"]) == {"ioi", "greater_than", "countdown", "infilling", "sudoku", "sva", "path_star"}
    assert "retention" in listed["measures"]
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["packages"]["torch"]
