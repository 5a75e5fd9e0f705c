"""Commands in docs, templates and messages can work: they install what exists, and their options are there."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from mechshift_core.cli.console import GLOBAL_FLAGS
from mechshift_core.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEMPLATES = sorted((ROOT / "mechshift_core" / "spec" / "templates").iterdir())
CODE = [path for name in ("mechshift_core", "stats", "reports") for path in sorted((ROOT / name).rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def distribution(requirement: str) -> str:
    return re.split(r"[<>=!\[ ]", requirement, maxsplit=1)[0].lower()


KNOWN = {
    distribution(one)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for one in group
} - {PROJECT["name"]}
"""What the project depends on; the project itself is on no index, so that its name would install a stranger's code."""


def installations(text: str) -> list[list[str]]:
    """The words behind every `pip install`."""
    lines = re.findall(r"pip install ([^`\n&;|#\"]*(?:\"[^\"\n]*\"[^`\n&;|#\"]*)*)", text)
    return [shlex.split(line.strip().rstrip(")").replace("\\'", "'")) for line in lines]


@pytest.mark.parametrize("path", [*PAGES, *TEMPLATES, *CODE], ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_installed_exists(path: Path) -> None:
    for words in installations(path.read_text(encoding="utf-8")):
        while words:
            word = words.pop(0)
            if word == "-c":
                constraints = words.pop(0)
                assert Path(constraints).name == "constraints.txt" and (ROOT / "constraints.txt").is_file()
            elif word.startswith(".") or word.startswith("$MECHSHIFT"):
                extras = re.findall(r"\[(\w+)\]", word)
                assert set(extras) <= set(PROJECT["optional-dependencies"]), word
            elif not word.startswith("-"):
                assert distribution(word) in KNOWN, f"{path}: pip install {word}"


def test_the_install_lines_are_found() -> None:
    assert installations("x `pip install -c a.txt -e '.[docs]' && mkdocs serve` y") == [
        ["-c", "a.txt", "-e", ".[docs]"]
    ]
    assert installations('- run: pip install -c "$M/c.txt" "$M"\n- run: x') == [["-c", "$M/c.txt", "$M"]]
    assert distribution("mechshift[test]") == "mechshift" and "mechshift" not in KNOWN
    assert {"shapiq", "syrupy", "torch"} <= KNOWN
    assert len(installations((ROOT / "README.md").read_text(encoding="utf-8"))) >= 3


def commands(path: Path) -> list[list[str]]:
    """The words of every `mechshift` command of a page's shell blocks, or of a workflow's steps."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yml":
        steps = [step for job in YAML(typ="safe", pure=True).load(text)["jobs"].values() for step in job["steps"]]
        lines = [step["run"] for step in steps if "run" in step]
    else:
        blocks = re.findall(r"^```(?:sh|console|yaml)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = [re.sub(r"^(\$ |- run: )", "", line) for block in blocks for line in block.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    found = [shlex.split(part, comments=True) for part in parts if re.match(r"(\.venv/bin/)?mechshift ", part)]
    return [words[1:] for words in found]


@pytest.mark.parametrize(
    "path", [*PAGES, *(one for one in TEMPLATES if one.suffix == ".yml")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_commands_have_these_options(path: Path) -> None:
    group: Any = typer.main.get_command(app)
    for words in commands(path):
        command, rest = group, [word for word in words if word not in GLOBAL_FLAGS]
        while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
            name = rest.pop(0)
            assert name in command.commands, f"{path}: mechshift {' '.join(words)}"
            command = command.commands[name]
        with command.context_class(command, info_name="mechshift") as context:
            command.make_parser(context).parse_args(args=list(rest))  # raises for an option that is not there


def test_the_commands_are_found() -> None:
    assert sum(len(commands(path)) for path in PAGES) >= 10
    (workflow,) = (path for path in TEMPLATES if path.suffix == ".yml")
    assert [words[0] for words in commands(workflow)] == ["run", "check"]
