from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from mechshift_core.errors import UsageError
from mechshift_core.models.sources import weights_hash
from mechshift_core.zoo import bundled_models
from mechshift_core.zoo.card_parts import CARD
from mechshift_core.zoo.cards import card, write_card

TINY = [name for name in bundled_models() if name.startswith("tiny-")]
every_model = pytest.mark.parametrize("name", TINY)


@every_model
def test_a_bundled_model_has_a_card_whose_numbers_are_those_of_the_files(name: str) -> None:
    folder = bundled_models()[name]
    text = (folder / CARD).read_text()
    assert f"# {name}\n" in text and "license: apache-2.0" in text
    assert re.findall(r"`([0-9a-f]{64})`", text) == [weights_hash(folder)]
    evaluation = json.loads((folder / "evaluation.json").read_text())
    rows = re.findall(r"^\| (\w+) \| ([\d.]+)% \| ([\d.]+)% \|$", text, flags=re.MULTILINE)
    assert {task: float(held_out) / 100 for task, held_out, _ in rows} == pytest.approx(evaluation["held_out"])
    assert {task: float(seen) / 100 for task, _, seen in rows} == pytest.approx(evaluation["seen"])
    assert f"{evaluation['prompts_per_task']:,} prompts" in text
    recipe = json.loads((folder / "training.json").read_text())
    mix = re.findall(r"^\| (\w+) \| (\d+) \|$", text, flags=re.MULTILINE)
    assert {task: int(count) for task, count in mix} == recipe["batch"]
    phases = {"arm": ["pretrain"], "mdm-scratch": ["scratch"]}.get(name.partition("/")[2], ["pretrain", "diffusion"])
    steps = [recipe[phase]["steps"] for phase in phases]
    assert [int(count) for count in re.findall(r"(\d+) steps of AdamW", text)] == steps
    assert f"Steps since random weights: {sum(steps)}\n" in text
    assert f"the models of seed {recipe['seed']}" in text


@every_model
def test_the_card_in_the_folder_is_the_one_that_would_be_written(name: str) -> None:
    folder = bundled_models()[name]
    assert (folder / CARD).read_text() == card(folder)
    assert max(len(line) for line in card(folder).splitlines()) <= 120


def test_a_card_follows_the_files_and_changes_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "mdm"
    shutil.copytree(bundled_models()["tiny-s0/mdm"], folder)
    (folder / CARD).unlink()
    evaluation = json.loads((folder / "evaluation.json").read_text())
    evaluation["held_out"]["ioi"] = 0.123
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_card(folder)
    assert "| ioi | 12.3% | 100.0% |" in (folder / CARD).read_text()
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != CARD} == before


@pytest.mark.parametrize("file", ["training.json", "evaluation.json"])
def test_a_model_that_was_not_trained_by_a_recipe_has_no_card(file: str, tmp_path: Path) -> None:
    folder = tmp_path / "mdm"
    shutil.copytree(bundled_models()["tiny-s0/mdm"], folder)
    (folder / file).unlink()
    with pytest.raises(UsageError, match=r"mdm is no trained model: expected training\.json and evaluation\.json in"):
        card(folder)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("training.json", "{", r"cannot read .*mdm/training\.json: Invalid JSON"),
        ("evaluation.json", "{}", r"cannot read .*mdm/evaluation\.json: model: Field required"),
        ("config.json", "{", r"cannot read .*mdm: Expecting property name"),
    ],
)
def test_a_damaged_file_is_named(file: str, content: str, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "mdm"
    shutil.copytree(bundled_models()["tiny-s0/mdm"], folder)
    (folder / file).write_text(content)
    with pytest.raises(UsageError, match=message):
        card(folder)
