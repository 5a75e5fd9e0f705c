"""Runs are called by their folder or by their name in `runs`; what is neither is told with the names that there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored_runs import findings, write_run

from mechshift_core.cli.main import main


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "other"):
        (write_run(Path("runs") / name, findings()) / "report.html").write_text(name)


def test_a_run_is_opened_by_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("quickstart", "runs/quickstart", "./runs/quickstart/", str(tmp_path / "runs" / "quickstart")):
        assert main(["open", name, "--path"]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'runs' / 'quickstart' / 'report.html'}\n"


def test_a_folder_of_that_name_beside_runs_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("quickstart").mkdir()
    assert main(["open", "quickstart", "--path"]) == 0
    assert "/runs/quickstart/" in capsys.readouterr().out
    write_run(Path("quickstart"), findings())
    Path("quickstart", "report.html").write_text("nearer")
    assert main(["open", "quickstart", "--path"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'quickstart' / 'report.html'}\n"


@pytest.mark.parametrize(
    "command", [["compare", "quickstart", "other"], ["check", "other", "--baseline", "b.json", "--update"]]
)
def test_other_commands_take_names_too(command: list[str]) -> None:
    assert main(command) == 0


@pytest.mark.parametrize(
    "command",
    [
        ["open"],
        ["report"],
        ["analyze"],
        ["verify"],
        ["runs", "show"],
        ["runs", "gc"],
        ["export", "--sqlite", "x.sqlite"],
    ],
)
def test_a_slip_is_told_with_what_may_be_meant(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "quikstart"]) == 2
    assert capsys.readouterr().err == (
        "quikstart holds no run: there is no such folder (did you mean 'quickstart'?); give a run directory, such as "
        "runs/NAME, or the name of one in runs; runs here: 'other' and 'quickstart'\n"
    )


def test_what_is_listed_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "runs"]) == 0
    assert capsys.readouterr().out == "runs\n  runs/other\n  runs/quickstart\n"
    assert main(["list", "models", "--json"]) == 0
    assert [*json.loads(capsys.readouterr().out)] == ["models"]
    assert main(["list", "model"]) == 2
    said = "list: nothing is called 'model' (did you mean 'models'?); expected 'tasks', 'metrics', "
    assert said in capsys.readouterr().err


def test_a_file_is_no_run_but_may_lie_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "runs/other/report.html"]) == 2
    said = "runs/other/report.html holds no run: it is a file; give a run directory, runs/other\n"
    assert capsys.readouterr().err == said
    Path("notes.txt").write_text("x")
    assert main(["report", "notes.txt"]) == 2
    assert "it is a file; give a run directory, such as runs/NAME" in capsys.readouterr().err


def test_a_path_that_the_system_refuses_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["open"], ["report"], ["init", "--out"]):
        assert main([*command, "x" * 300]) == 3
        said = capsys.readouterr().err
        assert "File name too long; check that path, and the rights to it" in said and "internal error" not in said


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["compare", "other", "other", "--html", "file/x.html"], "file/x.html: cannot be written: file is a file, no"),
        (["init", "--out", "none/x.yaml"], "none/x.yaml: cannot be written: there is no folder none"),
        (["export", "other", "--to", "runs/other"], "runs/other: is a run directory, which is not written into"),
        (["runs", "list", "file"], "file: is a file; give a folder that holds run directories"),
        (
            ["analyze", "other", "--cluster", "slrum"],
            "--cluster: expected 'slurm', 'pbs', 'lsf', 'sge', ",
        ),
        (["analyze", "other", "--profile", "file"], "the file of a profile ends in .yaml"),
    ],
)
def test_what_can_not_be_written_or_read_is_told_in_words(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("x")
    assert main(command) == 2
    assert message in (said := capsys.readouterr().err) and "Errno" not in said
