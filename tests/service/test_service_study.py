"""A study of random models from the shell to the findings, by a server whose jobs really compute."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from servers import REAL, serving
from studies import write_study

from mechshift_core.cli.main import main
from mechshift_core.pipeline import run as run_study
from stats.findings import Findings


@pytest.mark.long
def test_a_study_on_a_server_finds_what_it_finds_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    path = write_study(work)
    monkeypatch.chdir(work)
    text = path.read_text()
    for model in ("before", "after", "continued"):
        text = text.replace(f"source: {model}", f"source: {work / model}")
    path.write_text(text)
    settings = f"sources: [local]\nfolders: [{json.dumps(str(work))}]\ncells: none\n"
    with serving(tmp_path / "root", settings=settings, command=REAL) as server:
        monkeypatch.setenv("MECHSHIFT_SERVER", server.address)
        checked = server.http.post(
            "/specs/validate",
            json={"spec": text, "files": {"pairs.jsonl": (work / "pairs.jsonl").read_text()}, "full": True},
        ).json()
        assert checked["ok"] and checked["cost"]["missing"] > 0, checked
        assert main(["submit", str(path), "--watch", "--json"]) == 0
        run = json.loads(capsys.readouterr().out)
        assert main(["fetch", run["name"], "--to", "fetched"]) == 0
        tables = server.http.get(f"/runs/{run['name']}/tables").json()
        assert {"edges", "findings"} <= {*tables}
        for table in tables:
            for format in ("json", "csv", "parquet"):
                asked = {"format": format, "limit": 50}
                assert server.http.get(f"/runs/{run['name']}/tables/{table}", params=asked).status_code == 200, table
    here = run_study(path, out="here", cells="none")
    fetched = Findings.from_json((Path("fetched") / "findings.json").read_text())
    assert fetched == here.findings
    assert main(["export", "fetched", "here", "--sqlite", "both.sqlite", "--quiet"]) == 0
    assert main(["compare", "fetched", "here"]) == 0
