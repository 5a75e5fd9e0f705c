"""Python files that a spec names: never run unasked, run as they were read, and in effect for their spec alone."""

from __future__ import annotations

import json
import os
import py_compile
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from studies import write_study

from mechshift_core import SpecError, load_spec, run
from mechshift_core.cli.main import main
from mechshift_core.execution.plan import make_plan
from mechshift_core.kinds import MEASURES
from mechshift_core.spec import json_schema
from mechshift_core.spec.starters import starter

SOURCE = starter("own-measure").companions["mlp_share.py"]
RAN = "from pathlib import Path\nPath({flag!r}).write_text('ran')\n"
pytestmark = pytest.mark.usefixtures("own_kinds")


def study(folder: Path, *files: str, **changed: Any) -> Path:
    path = write_study(folder, examples=12)
    hypothesis = {"id": "mlps", "measure": "mlp_share", "test": {"kind": "difference"}}
    content = {**YAML().load(path.read_text()), "extensions": [*files], "measures": {"mlp_share": {}}}
    content |= {"select": {"correct": "none"}, "hypotheses": [hypothesis], **changed}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


def problems(path: Path, *, allow_code: bool = True) -> list[tuple[int, str]]:
    with pytest.raises(SpecError) as raised:
        load_spec(path, allow_code=allow_code)
    return [(one.line, one.message) for one in raised.value.problems]


def test_no_command_runs_code_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "mine.py").write_text(SOURCE + RAN.format(flag=str(flag)))
    spec, out = str(study(tmp_path, "./mine.py")), str(tmp_path / "out")
    assert main(["run", spec, "--out", out, "--allow-code"]) == 0 and flag.exists()
    flag.unlink()
    for module in [name for name in sys.modules if name.startswith("mechshift_extension_")]:
        del sys.modules[module]
    for command in (
        ["validate", spec], ["validate", "--no-files", spec], ["plan", spec], ["run", spec, "--out", out],
        ["calibrate", spec, "--out", out], ["register", spec], ["analyze", out], ["report", out], ["verify", out],
        ["compare", out, out],
    ):  # fmt: skip
        assert main(command) == 2, command
        assert "that has not been run; look at it, then give --allow-code" in capsys.readouterr().err, command
    for command in (["runs", "show", out], ["list"], ["init", "--list"], ["schema"]):
        assert main(command) == 0, command
    assert not flag.exists()


WRONG: dict[str, tuple[bytes | None, str]] = {
    "nothing there": (None, "no such file: ./mine.py"),
    "no kinds": (b"x = 1\n", "./mine.py has no `KINDS`: a list of the kinds that it brings"),
    "no kind": (b"KINDS = ['x']\n", "./mine.py: KINDS has a str, which is no kind"),
    "fails": (b"\n1 / 0\n", "./mine.py fails in line 2: ZeroDivisionError: division by zero"),
    "ends": (b"import sys\nsys.exit(0)\n", "./mine.py fails in line 2: SystemExit: 0"),
    "no Python": (b"def\n", "./mine.py fails: SyntaxError: invalid syntax"),
    "latin": (b"# \xe9\n", "./mine.py is not UTF-8: the byte 0xe9"),
    "large": (b"#" * (2**20 + 1), "./mine.py is larger than 1 MiB"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_refused_at_its_place(name: str, tmp_path: Path) -> None:
    content, message = WRONG[name]
    path = study(tmp_path, "./mine.py")
    if content is not None:
        (tmp_path / "mine.py").write_bytes(content)
    ((line, found),) = problems(path)
    assert found.startswith(message) and "./mine.py" in path.read_text().splitlines()[line - 1]


@pytest.mark.parametrize("file", ["fifo", "/dev/zero", ".", "~nosuchuser/x.py", "a\0b"])
def test_what_is_no_file_is_refused_and_never_read(file: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for allow in (True, False):
        ((_, message),) = problems(study(tmp_path, file), allow_code=allow)
        assert "expected a Python file" in message or "cannot be read" in message or "not a valid" in message


def test_a_file_named_twice_and_two_files_with_the_same_kind(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(SOURCE + f"# of {folder}\n")
    assert problems(study(tmp_path, "a/mine.py", "a/mine.py"))[0][1] == "duplicate file 'a/mine.py'"
    assert (
        "there is one of that name already, from mine.py" in problems(study(tmp_path, "a/mine.py", "b/mine.py"))[0][1]
    )


def test_what_is_run_is_what_was_read(tmp_path: Path) -> None:
    """No compiled file beside it, and nothing that is written to it later."""
    flag, other = tmp_path / "flag", tmp_path / "other.py"
    (tmp_path / "mine.py").write_text(SOURCE)
    other.write_text(RAN.format(flag=str(flag)))
    (tmp_path / "__pycache__").mkdir()
    for tag in ("cpython-311", "cpython-312", "cpython-313"):
        target = tmp_path / "__pycache__" / f"mine.{tag}.pyc"
        py_compile.compile(str(other), str(target), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    spec = load_spec(study(tmp_path, "./mine.py"), allow_code=True)
    (tmp_path / "mine.py").write_text(RAN.format(flag=str(flag)))
    made = run(spec, out=tmp_path / "out")
    assert not flag.exists() and not made.failures
    (copy,) = (tmp_path / "out" / "extensions").glob("*.py")
    assert copy.read_text() == SOURCE


def test_a_folder_called_extensions_is_not_that_of_a_run(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "0-mine.py").write_text(SOURCE + RAN.format(flag=str(flag)))
    load_spec(study(tmp_path, "./mine.py"), allow_code=True)
    assert not flag.exists()


@pytest.mark.long
def test_kinds_are_in_effect_for_their_spec_alone(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (tmp_path / "mine.py").write_text(
        SOURCE.replace("usual=", "").replace("        least=", "        usual=True,\n        least=")
    )
    with_kinds = load_spec(study(tmp_path, "./mine.py"), allow_code=True)
    assert "mlp_share" in MEASURES and "mlp_share" in json.dumps(json_schema())
    others = write_study(plain)
    content = YAML().load(others.read_text())
    del content["measures"]
    with others.open("w") as handle:
        YAML().dump(content, handle)
    without = load_spec(others)
    assert "mlp_share" not in MEASURES and "mlp_share" not in json.dumps(json_schema())
    assert [*without.measures.declared] == ["overlap", "depth", "specialization"]
    assert any("unknown key 'mlp_share'" in message for _, message in problems(study(tmp_path)))
    assert run(with_kinds, out=tmp_path / "out").findings.hypotheses[0].status == "ok"


def test_other_code_makes_other_cells_of_its_own_kinds_only(tmp_path: Path) -> None:
    source = (Path(__file__).parents[2] / "docs" / "examples" / "dimmed_embeddings.py").read_text()
    kinds = [{"name": "circuit", "kind": "edge_attribution"}, {"name": "dimmed", "kind": "dimmed_embeddings"}]
    keys = []
    for text in (source, source + "# changed\n"):
        (tmp_path / "mine.py").write_text(text)
        path = study(tmp_path, "./mine.py", interventions=kinds, measures={"depth": {}}, hypotheses=[])
        plan = make_plan(load_spec(path, allow_code=True))
        keys.append({name: {c.key for c in plan.cells if c.intervention == name} for name in ("circuit", "dimmed")})
    assert keys[0]["circuit"] == keys[1]["circuit"] and not keys[0]["dimmed"] & keys[1]["dimmed"]


BREAKING = {
    "returns nothing": (
        "    return paired_shift(",
        "    return None and paired_shift(",
        "expected Measured, got NoneType",
    ),
    "raises": ("    return paired_shift(", "    return 1 / 0 or paired_shift(", "ZeroDivisionError: division by zero"),
    "another table": (
        '    return paired_shift(sample, spec, "mlp_share", values)',
        '    return Measured(rows={"typo": []})',
        "rows of a table 'typo', which no kind declares",
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("name", BREAKING)
def test_a_measure_that_breaks_is_a_status_and_no_lost_run(name: str, tmp_path: Path) -> None:
    old, new, message = BREAKING[name]
    assert old in SOURCE
    (tmp_path / "mine.py").write_text(SOURCE.replace(old, new))
    made = run(study(tmp_path, "./mine.py"), out=tmp_path / "out", allow_code=True)
    (finding,) = made.findings.hypotheses
    assert finding.status == "failed" and message in finding.message
    assert message in made.failures[0] and (made.path / "report.html").is_file()
