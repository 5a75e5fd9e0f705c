from __future__ import annotations

import os
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


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    def run(**variables: str) -> str:
        code = "import sys; from mechshift_core.cli.main import main; sys.exit(main())"
        call = [sys.executable, "-c", code, *([] if variables else ["--show-completion", shell])]
        environment = {**os.environ, **variables, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
        return subprocess.run(call, capture_output=True, text=True, check=False, env=environment).stdout

    script = run()
    assert "_MECHSHIFT_COMPLETE" in script and "mechshift" in script
    asked = {
        "bash": {"COMP_WORDS": "mechshift cal", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "mechshift cal"},
        "fish": {"_TYPER_COMPLETE_ARGS": "mechshift cal", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    assert "calibrate" in run(_MECHSHIFT_COMPLETE=f"complete_{shell}", **asked)


def test_the_packages_are_marked_as_typed() -> None:
    for package in ("mechshift_core", "stats", "reports"):
        assert (Path(__file__).parents[2] / package / "py.typed").is_file()


@pytest.mark.parametrize("arguments", [["valdate"], ["validate"], ["--nonsense"], ["init", "--out"], []])
def test_a_wrong_command_line_ends_with_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("mechshift") or not arguments
    assert "Traceback" not in captured.err
