"""`--set` and `--limit` on the command line: what is run, recorded and shown, and what does not mix."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from studies import write_study

from mechshift_core.cli.main import main
from mechshift_core.earlier_spec import default_folder
from mechshift_core.pipeline import stored_plan
from mechshift_core.spec import Spec


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path / "study")


def test_a_limited_run_says_so_and_can_be_repeated_from_its_own_copy(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(study), "--limit", "10", "--set", "statistics.confidence=0.9"]) == 0
    assert "note: overrides of the spec: limit=10, statistics.confidence=0.9" in capsys.readouterr().out
    run = Path("runs/random-study-limit-10-statistics.confidence-0.9")
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["overrides"] == {"limit": 10, "statistics.confidence": 0.9}
    assert (provenance["data"]["mine"]["examples"], stored_plan(run).spec.statistics.confidence) == (10, 0.9)
    page = (run / "report.html").read_text()
    assert page.count("This run was limited to at most 10 prompts of each task") == 3  # in short, methods, how it ran
    assert "statistics.confidence = 0.9" in page
    findings = (run / "findings.json").read_bytes()
    copy = study.parent / "again.yaml"
    copy.write_bytes((run / "spec.yaml").read_bytes())
    assert main(["run", str(copy), "--out", "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overrides"] == {"limit": 10, "statistics.confidence": 0.9}
    assert Path("again/findings.json").read_bytes() == findings
    assert main(["analyze", str(run), "--quiet"]) == 0
    assert main(["verify", str(run), "--quiet"]) == 0


@pytest.mark.long
def test_each_variation_of_a_study_has_its_own_folder(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(study), "--quiet", "--limit", "10"]) == 0
    limited = Path("runs/random-study-limit-10/findings.json")
    before = limited.read_bytes()
    assert main(["run", str(study), "--quiet"]) == 0
    assert main(["plan", str(study), "--limit", "10"]) == 0
    shown = capsys.readouterr().out
    assert "3 cells, 0 to do" in shown and "run directory: runs/random-study-limit-10\n" in shown
    assert {path.name for path in Path("runs").iterdir()} == {"random-study", "random-study-limit-10"}
    assert limited.read_bytes() == before != Path("runs/random-study/findings.json").read_bytes()
    assert main(["run", str(study), "--limit", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cached"] == 3


@pytest.mark.long
def test_a_folder_that_holds_another_variation_is_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(study), "--quiet", "--limit", "10", "--out", "runs/random-study"]) == 0
    before = Path("runs/random-study/spec.yaml").read_bytes()
    capsys.readouterr()
    assert main(["run", str(study)]) == 2
    assert capsys.readouterr().err == (
        "runs/random-study holds a run of 'random-study' with limit=10, and this one is without overrides; choose "
        "another folder, e.g. --out runs/random-study-plain\n"
    )
    assert Path("runs/random-study/spec.yaml").read_bytes() == before
    assert main(["plan", str(study), "--json"]) == 0
    assert "with limit=10" in json.loads(capsys.readouterr().out)["other_run"]


def spec_with(overrides: dict[str, Any]) -> Spec:
    return cast(Spec, SimpleNamespace(name="study", overrides=overrides))


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=200)
ALIKE = st.sampled_from(["1", 1, "1.0", 1.0, "true", True, "null", None, "b-1", "b", "1-b-1", -1, 1e-9])


@given(
    st.lists(st.dictionaries(st.text(min_size=1, max_size=100), VALUES, max_size=3), min_size=2, max_size=4)
    | st.lists(st.dictionaries(st.sampled_from(["a", "b", "a-1"]), ALIKE), min_size=2, max_size=9)
)
def test_different_overrides_have_different_folders_that_can_be_made(many: list[dict[str, Any]]) -> None:
    told = {json.dumps(one, sort_keys=True): default_folder(spec_with(one)) for one in many}
    assert len({*told.values()}) == len(told)
    for folder in told.values():
        assert folder.parent == Path("runs") and folder.name.startswith("study") and len(folder.name) < 110
        assert folder.name.isascii() and re.fullmatch(r"[A-Za-z0-9._-]+", folder.name)


@pytest.mark.long
def test_a_spec_that_was_edited_goes_on_in_its_folder_and_that_is_said(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(study), "--quiet"]) == 0
    study.write_text(study.read_text().replace("replicates: 100", "replicates: 120"))
    capsys.readouterr()
    assert main(["run", str(study)]) == 0
    shown = capsys.readouterr().out
    assert "note: the run directory held a run of another spec; what is not as it was:" in shown
    assert "  statistics.bootstrap.replicates: 100 -> 120" in shown
    assert main(["run", str(study)]) == 0
    assert "another spec" not in capsys.readouterr().out


def test_what_is_wrong_is_said_of_the_option(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "plan", "validate", "try"):
        assert main([command, str(study), "--set", "tasks.0.exampels=50"]) == 2
        error = "--set tasks.0.exampels: unknown key 'exampels' (did you mean 'examples'?)\n"
        assert capsys.readouterr().err == error
        assert main([command, str(study), "--set", "tasks"]) == 2
        assert "--set tasks: expected KEY=VALUE" in capsys.readouterr().err
    assert main(["run", str(study), "--limit", "0"]) == 2
    # Found once models and data are known, at the setting all the same.
    assert main(["validate", str(study), "--set", "models.after.add_bos_token=true"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("--set models.after.add_bos_token: ")
    assert not Path("runs").exists()


def test_a_plan_and_a_check_take_them_too(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(study), "--limit", "10"]) == 0
    assert "to do   circuit of before on mine, 10 examples" in capsys.readouterr().out
    assert main(["validate", str(study), "--set", "tasks.mine.examples=11"]) == 0
    assert "11 of 12 drawn" in capsys.readouterr().out
