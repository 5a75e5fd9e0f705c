"""The README sets everything up and shows a study that works; what it had of commands and models is in the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mechshift_core.cli.main import app, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_study_of_the_readme_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study,) = re.findall(r"^```yaml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "study.yaml").write_text(study)
    assert main(["validate", "--no-files", str(tmp_path / "study.yaml")]) == 0
    assert main(["validate", str(tmp_path / "study.yaml")]) == 0
    assert "120 of 120 aligned" in capsys.readouterr().out


def test_every_command_is_in_the_overview_of_the_reference() -> None:
    overview = page("reference/commands.md").partition("\n## ")[0]
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    names += [group.name for group in app.registered_groups if group.name]
    missing = [name for name in names if f"`mechshift {name}" not in overview]
    assert missing == []


def test_every_event_of_the_log_is_in_the_reference() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "mechshift_core").rglob("*.py"))
    events = set(re.findall(r'(?:\.log|\._note)\("([^"]+)"', code))
    described = re.findall(r"^\| `([^`]+)` \| .+ \| .*\|$", page("reference/events.md"), re.MULTILINE)
    assert len(events) >= 8
    assert sorted(described) == sorted(events)


def test_the_readme_sets_everything_up_with_two_commands() -> None:
    blocks = re.findall(r"```sh setup\n(.*?)\n```", README, flags=re.DOTALL)
    assert len(blocks) == 2
    assert all("\n" not in block for block in blocks)
    assert blocks[0].endswith("mechshift run specs/quickstart.yaml")
    assert blocks[1].endswith("pytest")


def test_the_accuracies_of_the_docs_are_those_of_the_bundled_models() -> None:
    import json

    from mechshift_core.zoo import bundled_models

    for name, folder in bundled_models().items():
        stored = json.loads((folder / "evaluation.json").read_text())
        row = next(line for line in page("bundled-pairs.md").splitlines() if line.startswith(f"| `{name}`"))
        shown = [float(cell.strip(" %")) for cell in row.split("|")[2:-1]]
        real = name.startswith("smollm2/")
        tasks = ["ioi", "greater_than", "infilling", *(["sva"] if real else ["sudoku", "countdown"])]
        expected = [100 * stored["held_out"][task] for task in tasks] + ([stored["perplexity"]] if real else [])
        assert shown == pytest.approx(expected, abs=0.05)


def test_torch_is_pinned_to_the_build_that_is_tested() -> None:
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()
