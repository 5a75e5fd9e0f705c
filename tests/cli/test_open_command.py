"""`mechshift open` shows the report of a run, or says where it is."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest
from stored_runs import findings, write_run

from mechshift_core.cli.main import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "a run", findings())
    (folder / "plan.json").write_text("{}")
    (folder / "report.html").write_text("<p>report</p>")
    return folder


def test_it_is_opened_in_the_browser(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: asked.append(url) or True)
    assert main(["open", str(run)]) == 0
    assert asked == [(run / "report.html").as_uri()] and "%20" in asked[0]
    assert capsys.readouterr().out == f"opened {run / 'report.html'}\n"
    assert main(["open", str(run), "--path"]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert len(asked) == 1


def test_without_a_browser_it_says_where_the_report_is(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    assert main(["open", str(run)]) == 0
    assert capsys.readouterr().out == f"no browser here; the report is {run / 'report.html'}\n"

    def broken(url: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", broken)
    assert main(["open", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(run / "report.html"), "opened": False}


def test_what_is_no_run_or_has_no_report_is_an_error(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "nowhere"]) == 2
    assert "nowhere holds no run" in capsys.readouterr().err
    (run / "report.html").unlink()
    assert main(["open", str(run)]) == 2
    assert "holds no report.html yet" in capsys.readouterr().err
