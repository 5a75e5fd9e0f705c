from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mechshift_core.cli import spec_commands
from mechshift_core.cli.console import hoist_flags
from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError, MechshiftError, UsageError
from mechshift_core.spec import SpecError, load_spec
from mechshift_core.spec.starters import starter, starters


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(spec_commands, "check_spec_file", fail)


@pytest.mark.long
def test_what_init_writes_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    assert main(["init", "--template", "custom-task", "--out", "mine.yaml"]) == 0
    assert Path("quickstart.yaml").read_text() == starter("quickstart").spec
    capsys.readouterr()
    assert main(["validate", "quickstart.yaml", "mine.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok: quickstart.yaml",
        "  ioi: 120 of 120 aligned; bundled words, 8 templates",
        "  countdown: 120 of 120 aligned; bundled words, 4 templates",
        *("ok: mine.yaml", "  mine: 40 of 40 aligned", "  ioi: 100 of 100 aligned; bundled words, 8 templates"),
        "models were not run: `mechshift try SPEC` runs each on a few prompts",
    ]
    assert main(["validate", "--no-files", "quickstart.yaml"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "models, tokenizers and data were not looked up, and no model was run: `mechshift try quickstart.yaml` runs "
        "each on a few prompts"
    )


def test_init_overwrites_nothing_and_writes_all_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("custom-task.jsonl").write_text("mine")
    assert main(["init", "--template", "custom-task"]) == 2
    assert "custom-task.jsonl: exists already" in capsys.readouterr().err
    assert Path("custom-task.jsonl").read_text() == "mine"
    assert not Path("custom-task.yaml").exists()


def test_init_says_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--template", "quikstart"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("unknown template 'quikstart' (did you mean 'quickstart'?); expected 'quickstart', ")
    assert main(["init", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [*starters()]
    assert main(["init", "--out", "no/such/folder.yaml"]) == 2
    assert capsys.readouterr().err == "no/such/folder.yaml: cannot be written: there is no folder no/such\n"


def test_validate_shows_the_problems_of_every_spec_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.yaml").write_text(starter("quickstart").spec)
    Path("bad.yaml").write_text(starter("quickstart").spec.replace("name: ioi,", "name: io,"))
    assert main(["validate", "gone.yaml", "bad.yaml", "good.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines()[0] == "ok: good.yaml" and captured.out.count("ok: ") == 1
    first, second, source, caret = captured.err.splitlines()
    assert first == "gone.yaml: no such file (did you mean 'good.yaml'?)"
    assert second.startswith("bad.yaml:") and second.endswith(": unknown task 'io' (did you mean 'ioi'?)")
    assert source[caret.index("^") :].startswith("io,")


def test_validate_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.yaml").write_text(starter("quickstart").spec)
    assert main(["validate", "good.yaml", "gone.yaml", "--json"]) == 2
    captured = capsys.readouterr()
    counts = {"asked": 120, "found": 120, "aligned": 120, "read": 120, "dropped": []}
    tasks = [
        {"task": name, **counts, "words": "bundled", "templates": templates}
        for name, templates in (("ioi", 8), ("countdown", 4))
    ]
    problem = {"file": "gone.yaml", "line": 0, "column": 0, "message": "no such file (did you mean 'good.yaml'?)"}
    assert json.loads(captured.out)["specs"] == [
        {"spec": "good.yaml", "ok": True, "problems": [], "tasks": tasks, "warnings": []},
        {"spec": "gone.yaml", "ok": False, "problems": [problem]},
    ]
    assert captured.err == ""


def test_quiet_leaves_only_the_exit_code_of_a_good_spec(capsys: pytest.CaptureFixture[str]) -> None:
    Path("good.yaml").write_text(starter("quickstart").spec)
    assert main(["validate", "--quiet", "good.yaml"]) == 0
    assert capsys.readouterr() == ("", "")


def test_schema_prints_a_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == "mechshift spec"
    assert "schema" in schema["properties"]


def test_the_gate_comes_with_a_workflow_that_runs_it() -> None:
    assert main(["init", "--template", "gate"]) == 0
    steps = YAML(typ="safe", pure=True).load(Path("gate-workflow.yml").read_text())["jobs"]["gate"]["steps"]
    commands = [step["run"].split() for step in steps if step.get("run", "").startswith("mechshift")]
    assert [command[1:3] for command in commands] == [["run", "gate.yaml"], ["check", "runs/gate"]]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("wrong"), 2, "wrong"),
        (ExecutionError("broken"), 3, "broken"),
        (MechshiftError("some"), 3, "some"),
        (KeyError("x"), 3, "internal error: KeyError: 'x' (run again with --debug for the traceback)"),
    ],
)
def test_an_error_is_one_message_and_its_exit_code(
    error: Exception, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raising(monkeypatch, error)
    assert main(["validate", "x.yaml"]) == code
    assert capsys.readouterr().err == message + "\n"


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _raising(monkeypatch, KeyError("x"))
    assert main(["validate", "x.yaml", "--debug"]) == 3
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback") and shown.endswith("internal error: KeyError: 'x'\n")


def test_an_interrupt_ends_with_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    _raising(monkeypatch, KeyboardInterrupt())
    assert main(["validate", "x.yaml"]) == 130


def test_a_spec_error_is_a_usage_error() -> None:
    assert issubclass(SpecError, UsageError) and SpecError([]).exit_code == 2


def test_global_flags_may_stand_anywhere_before_two_dashes() -> None:
    assert hoist_flags(["validate", "a", "--json", "--", "--debug"]) == ["--json", "validate", "a", "--", "--debug"]


def test_a_template_names_a_schema_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--out", "study.yaml", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"written": ["study.yaml"], "schema": "mechshift.schema.json"}
    first = Path("study.yaml").read_text().splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert named != first and json.loads(Path(named).read_text())["title"] == "mechshift spec"
    Path(named).write_text('{"title": "mechshift spec", "old": true}')
    assert main(["init", "--out", "other.yaml"]) == 0
    assert "properties" in json.loads(Path(named).read_text())
    Path(named).write_text('{"title": "mine"}')
    assert main(["init", "--out", "third.yaml"]) == 0
    assert Path(named).read_text() == '{"title": "mine"}'


def test_a_schema_is_written_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--write", "mechshift.schema.json"]) == 0
    assert capsys.readouterr().out == "wrote mechshift.schema.json\n"
    written = json.loads(Path("mechshift.schema.json").read_text())
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    Path("mine.json").write_text("{}")
    assert main(["schema", "--write", "mine.json"]) == 2
    assert "is no schema of specs and is not overwritten" in capsys.readouterr().err
    assert main(["schema", "--write", "no/folder/x.json"]) == 2


def test_the_specs_of_the_repository_name_the_schema_beside_them() -> None:
    folder = Path(__file__).parents[2] / "specs"
    for path in folder.glob("*.yaml"):
        assert path.read_text().startswith("# yaml-language-server: $schema=mechshift.schema.json\n"), path
    from mechshift_core.spec.editors import schema_text

    stored = (folder / "mechshift.schema.json").read_text()
    assert stored == schema_text(), "run mechshift schema --write specs/mechshift.schema.json"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *(("other.yaml", "other"), ("My Study (2).yaml", "my-study-2"), ("1e5.yaml", "1e5"), ("null.yaml", "null")),
        *(("世界.yaml", "quickstart"), ("quickstart.yaml", "quickstart"), (f"{'x' * 90}.yaml", "x" * 80)),
    ],
)
def test_a_spec_is_named_after_its_file(file: str, name: str) -> None:
    assert main(["init", "--out", file]) == 0
    assert load_spec(Path(file), check_files=False).name == name
    assert "\n#   mechshift run quickstart.yaml " not in Path(file).read_text() or file == "quickstart.yaml"


def test_what_names_the_file_or_the_run_goes_along() -> None:
    assert main(["init", "--template", "gate", "--out", "mine.yaml"]) == 0
    for path in (Path("mine.yaml"), Path("gate-workflow.yml")):
        text = path.read_text()
        assert "mechshift run mine.yaml" in text and "check runs/mine " in text
        assert "gate.yaml" not in text.replace("gate-workflow", "") and "runs/gate" not in text
    assert load_spec(Path("mine.yaml"), check_files=False).name == "mine"


def test_a_folder_is_no_file_for_a_spec(capsys: pytest.CaptureFixture[str]) -> None:
    Path("there").mkdir()
    assert main(["init", "--out", "there"]) == 2
    assert "there: is a folder; give a file, such as --out there/study.yaml" in capsys.readouterr().err


def test_a_run_directory_is_no_spec_but_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/study").mkdir(parents=True)
    Path("runs/study/spec.yaml").write_text(starter("quickstart").spec)
    assert main(["run", "runs/study"]) == 2
    said = "runs/study: expected a file, got a folder; it is a run directory, whose spec is runs/study/spec.yaml\n"
    assert capsys.readouterr().err == said
