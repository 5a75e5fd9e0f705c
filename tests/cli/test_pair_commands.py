from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils import logging

from mechshift_core import zoo
from mechshift_core.cli.main import main

RECIPE = """\
schema: mechshift-pair/v1
name: toy
architecture: {layers: 1, hidden_size: 16, heads: 2, key_value_heads: 1, intermediate_size: 24}
batch: {ioi: 2}
pool: 20
pretrain: {steps: 2, warmup: 1}
diffusion: {steps: 2, warmup: 1}
evaluation: 2
threads: 1
"""
MODELS = ["arm", "mdm", "arm-continued"]


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text(RECIPE)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    logging.enable_progress_bar()  # as in a process that begins
    yield
    logging.disable_progress_bar()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core.zoo import train

    def fail(*_: object) -> None:
        raise AssertionError("it trains")

    monkeypatch.setattr(train, "_train_phase", fail)


def test_train_says_where_it_is_and_what_came_out_and_resumes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["pairs", "train", "toy.yaml"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [f"[{step}/2] {model}" for model in MODELS for step in (1, 2)]
    assert [line.partition(": ioi ")[0] for line in captured.out.splitlines()] == [f"pairs/toy/{m}" for m in MODELS]
    assert all((Path("pairs/toy") / model / "model.safetensors").is_file() for model in MODELS)
    assert main(["pairs", "train", "toy.yaml"]) == 0
    assert capsys.readouterr() == (captured.out, "")


def test_train_speaks_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "train", "toy.yaml", "--out", "here", "--json"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert captured.err == "" and list(result) == MODELS
    for model in MODELS:
        assert result[model] == json.loads((Path("here") / model / "evaluation.json").read_text())["held_out"]


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{ioi: 2}",
            "{io: 2}",
            "toy.yaml:4:9: expected a task: countdown, greater_than, infilling, ioi, sudoku, got 'io'",
        ),
        ("pool: 20", "pool: 0", "toy.yaml:5:7: expected a number greater than 0, got 0"),
        ("pool", "pol", "toy.yaml:5:1: unknown key 'pol' (did you mean 'pool'?)"),
        ("name: toy\n", "", "toy.yaml:1:1: missing key 'name'"),
        (RECIPE, "[", "toy.yaml:"),
    ],
)
def test_a_wrong_recipe_ends_with_code_2_and_its_position(
    old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("toy.yaml").write_text(RECIPE.replace(old, new))
    assert main(["pairs", "train", "toy.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(message)
    assert not Path("pairs").exists()


@pytest.mark.usefixtures("no_training")
def test_a_recipe_that_is_missing_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "train", "gone.yaml"]) == 2
    assert capsys.readouterr() == ("", "gone.yaml: no such file\n")
    assert main(["pairs", "train"]) == 2
    assert "Missing argument 'CONFIG'" in capsys.readouterr().err


def test_a_folder_of_another_recipe_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "train", "toy.yaml", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    Path("toy.yaml").write_text(RECIPE.replace("pool: 20", "pool: 21"))
    assert main(["pairs", "train", "toy.yaml"]) == 2
    message = (
        "pairs/toy holds models of another recipe (pairs/toy/recipe.json); train into another folder or remove that one"
    )
    assert capsys.readouterr() == ("", message + "\n")


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("out", "reason"), [("file", "File exists"), ("file/below", "Not a directory"), ("sealed", "Permission denied")]
)
def test_a_folder_that_cannot_be_written_ends_with_code_2(
    out: str, reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("mine")
    write = Path.write_text

    def sealed(self: Path, *arguments: Any, **options: Any) -> int:  # root may write anywhere
        if self.parent.name == "sealed":
            raise PermissionError(13, "Permission denied", str(self))
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", sealed)
    assert main(["pairs", "train", "toy.yaml", "--out", out]) == 2
    assert capsys.readouterr() == ("", f"cannot write to {out}: {reason}\n")
    assert Path("file").read_text() == "mine"


def test_an_interrupted_training_ends_with_code_130_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core.zoo import train

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "_train_phase", interrupt)
        assert main(["pairs", "train", "toy.yaml"]) == 130
    assert main(["pairs", "train", "toy.yaml", "--quiet"]) == 0


@pytest.fixture
def two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored pair, of which one model was never evaluated."""
    for name in ("pair/arm", "pair/mdm"):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        (tmp_path / "zoo" / name / "config.json").write_text("{}")
    (tmp_path / "zoo" / "pair" / "notes").mkdir()
    evaluation = {"held_out": {"ioi": 1.0, "sudoku": 0.875}, "seen": {"ioi": 0.5}}
    (tmp_path / "zoo" / "pair" / "arm" / "evaluation.json").write_text(json.dumps(evaluation))
    monkeypatch.setattr(zoo, "CHECKPOINTS", tmp_path / "zoo")


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize("flags", [[], ["--quiet"]])
def test_list_shows_the_bundled_models_with_their_held_out_accuracy(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pairs", "list", *flags]) == 0
    captured = capsys.readouterr()
    assert [line.split() for line in captured.out.splitlines()] == [
        ["pair/arm", "ioi", "100.0%", "sudoku", "87.5%"],
        ["pair/mdm"],
    ]
    assert captured.err == ""


@pytest.mark.usefixtures("two_models")
def test_list_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pair/arm": {"ioi": 1.0, "sudoku": 0.875}, "pair/mdm": {}}
