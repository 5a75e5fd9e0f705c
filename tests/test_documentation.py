"""The README speaks of every command and table, and its set-up commands are the ones that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mechshift_core.cli.main import app
from mechshift_core.tables import TABLES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_every_table_and_column_is_in_the_readme(name: str) -> None:
    line = next(line for line in README.splitlines() if line.startswith(f"- **`{name}`**"))
    assert re.findall(r"`(\w+)`", line) == [name, *TABLES[name]]


def test_every_command_is_in_the_readme() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    names += [group.name for group in app.registered_groups if group.name]
    missing = [name for name in names if f"`mechshift {name}" not in README]
    assert missing == []


def test_every_event_of_the_log_is_in_the_readme() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mechshift_core").rglob("*.py"))
    events = set(re.findall(r'\.log\("([^"]+)"', code))
    described = README[README.index("`events.jsonl` is the log") :].split("\n\n")[0]
    assert len(events) >= 8
    assert [event for event in sorted(events) if f"`{event}`" not in described] == []


def test_the_readme_sets_everything_up_with_two_commands() -> None:
    blocks = re.findall(r"```sh setup\n(.*?)\n```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    assert all("\n" not in block for block in blocks)
    assert blocks[0].endswith("mechshift run specs/quickstart.yaml")
    assert blocks[1].endswith("pytest")


def test_the_readme_s_accuracies_are_those_of_the_bundled_models() -> None:
    import json

    from mechshift_core.zoo import bundled_models

    for name, folder in bundled_models().items():
        accuracies = json.loads((folder / "evaluation.json").read_text())["held_out"]
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
        shown = [float(cell.strip(" %")) for cell in row.split("|")[2:-1]]
        tasks = ["ioi", "greater_than", "infilling", "sudoku", "countdown"]
        assert shown == pytest.approx([100 * accuracies[task] for task in tasks], abs=0.05)


def test_torch_is_pinned_to_the_build_that_is_tested() -> None:
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()
