from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mechshift_core
from mechshift_core.cli.main import app, main

HEAVY = ("torch", "transformers", "nnsight", "polars", "pydantic", "ruamel", "altair", "rich")


def test_the_command_line_answers_without_importing_anything_heavy() -> None:
    code = "import sys, mechshift_core.cli.main; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "typer" in loaded
    assert set(loaded) & set(HEAVY) == set()


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in app.registered_commands:
        assert command.callback is not None
        assert re.search(rf"^  {command.name or command.callback.__name__}\b", shown, re.MULTILINE)


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert main([command.name or command.callback.__name__, "--help"]) == 0
        assert str(command.callback.__doc__).splitlines()[0] in " ".join(capsys.readouterr().out.split())


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mechshift {mechshift_core.__version__}\n"
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert mechshift_core.__version__ == project["version"]


@pytest.mark.parametrize("arguments", [["valdate"], ["validate"], ["--nonsense"], ["init", "--out"], []])
def test_a_wrong_command_line_ends_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Error:" in captured.err or not arguments
    assert "Traceback" not in captured.err
