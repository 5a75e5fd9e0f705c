from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils import logging

from mechshift_core import zoo
from mechshift_core.cli.main import main
from mechshift_core.zoo.post_training.recipe import load_any_recipe

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
    assert capsys.readouterr() == ("", "gone.yaml: no such file (did you mean 'toy.yaml'?)\n")
    assert main(["pairs", "train"]) == 2
    assert "CONFIG: expected a path (Recipe [YAML]), got nothing" in capsys.readouterr().err


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
    ("out", "said"),
    [
        ("file", "cannot write to file: File exists"),
        ("file/below", "cannot write to file/below: Not a directory"),
        ("sealed", "cannot write to sealed/recipe.json: Permission denied"),
    ],
)
def test_a_folder_that_cannot_be_written_ends_with_code_2(
    out: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("mine")
    write = Path.write_text

    def sealed(self: Path, *arguments: Any, **options: Any) -> int:  # root may write anywhere
        if self.parent.name == "sealed":
            raise PermissionError(13, "Permission denied", str(self))
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", sealed)
    assert main(["pairs", "train", "toy.yaml", "--out", out]) == 2
    assert capsys.readouterr() == ("", f"{said}\n")
    assert Path("file").read_text() == "mine"


@pytest.mark.long
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("recipe.json", "cannot read pairs/toy/recipe.json: Is a directory"),
        ("arm/evaluation.json", "cannot read pairs/toy/arm/evaluation.json: Is a directory"),
        ("mdm.state", "cannot read pairs/toy/mdm.state: "),
        ("arm/model.safetensors", "cannot read pairs/toy/arm: "),
    ],
)
def test_a_file_that_cannot_be_read_ends_with_code_2_and_is_named(
    file: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pairs", "train", "toy.yaml", "--quiet"]) == 0
    shutil.rmtree("pairs/toy/mdm")
    damaged = Path("pairs/toy") / file
    damaged.unlink(missing_ok=True)
    if damaged.suffix == ".json":
        damaged.mkdir()
    else:
        damaged.write_bytes(b"no weights")
    assert main(["pairs", "train", "toy.yaml", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(said) and captured.err.count("\n") == 1


def test_states_are_removed_when_the_pair_is_complete_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core.zoo import train

    monkeypatch.setattr(train, "SAVE_EVERY", 1)
    kept: dict[str, set[str]] = {}
    save = train.save_model

    def spy(model: Any, tokenizer: Any, recipe: Any, folder: Path) -> None:
        kept[folder.name] = {path.name for path in folder.parent.glob("*.state")}
        save(model, tokenizer, recipe, folder)

    monkeypatch.setattr(train, "save_model", spy)
    assert main(["pairs", "train", "toy.yaml", "--quiet"]) == 0
    assert kept == {model: {f"{name}.state" for name in MODELS[: number + 1]} for number, model in enumerate(MODELS)}
    assert {path.name for path in Path("pairs/toy").iterdir()} == {*MODELS, "recipe.json"}
    assert all((Path("pairs/toy") / model / "README.md").is_file() for model in MODELS)


def test_an_interrupted_training_ends_with_code_130_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core.zoo import train

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train, "_train_phase", interrupt)
        assert main(["pairs", "train", "toy.yaml"]) == 130
    assert main(["pairs", "train", "toy.yaml", "--quiet"]) == 0


@pytest.fixture
def two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stored pair, of which one model was never evaluated, nor says what it was trained by."""
    for name in ("pair/arm", "pair/mdm"):
        (tmp_path / "zoo" / name).mkdir(parents=True)
        (tmp_path / "zoo" / name / "config.json").write_text("{}")
    (tmp_path / "zoo" / "pair" / "notes").mkdir()
    evaluation = {"held_out": {"ioi": 1.0, "sudoku": 0.875}, "seen": {"ioi": 0.5, "sudoku": 1.0}}
    whole = {"model": "arm", "prompts_per_task": 8, "reveal": "left_to_right", **evaluation}
    (tmp_path / "zoo" / "pair" / "arm" / "evaluation.json").write_text(json.dumps(whole))
    recipe = load_any_recipe(Path("toy.yaml")).to_json().replace('"seed": 0', '"seed": 7')
    (tmp_path / "zoo" / "pair" / "arm" / "training.json").write_text(recipe)
    monkeypatch.setattr(zoo, "CHECKPOINTS", tmp_path / "zoo")


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize("flags", [[], ["--quiet"]])
def test_list_shows_seed_and_steps_and_held_out_beside_seen_accuracy(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pairs", "list", *flags]) == 0
    captured = capsys.readouterr()
    assert [" ".join(line.split()) for line in captured.out.splitlines()] == [
        "pair/arm",
        "seed 7, 2 steps",
        "ioi held out 100.0% seen 50.0%",
        "sudoku held out 87.5% seen 100.0%",
        "pair/mdm",
    ]
    assert captured.err == ""


@pytest.mark.usefixtures("two_models")
def test_list_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "pair/arm": {
            "seed": 7,
            "steps": 2,
            "held_out": {"ioi": 1.0, "sudoku": 0.875},
            "seen": {"ioi": 0.5, "sudoku": 1.0},
        },
        "pair/mdm": {"seed": None, "steps": None, "held_out": {}, "seen": {}},
    }


@pytest.mark.usefixtures("two_models")
@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("pair/arn", "unknown model 'pair/arn' (did you mean 'pair/arm'?); expected 'pair/arm' or 'pair/mdm'"),
        ("pair/mdm", "pair/mdm was not trained on tasks, so there is nothing to evaluate"),
        ("pair/arm", "cannot read"),
    ],
)
def test_what_cannot_be_evaluated_ends_with_code_2(model: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "evaluate", model]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(said) and captured.err.count("\n") == 1


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) for name in ("tiny-s0/arm", "tiny-s0/mdm")]
)
def test_evaluate_gives_what_the_model_solves_of_so_many_prompts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoModelForCausalLM

    from mechshift_core.tasks import BUNDLED_TASKS
    from mechshift_core.zoo.evaluate import accuracies
    from mechshift_core.zoo.vocabulary import build_tokenizer

    assert main(["pairs", "evaluate", name, "--prompts", "12", "--seed", "3", "--json"]) == 0
    captured = capsys.readouterr()
    model = AutoModelForCausalLM.from_pretrained(zoo.bundled_models()[name], dtype=torch.float32)
    expected = {
        part: accuracies(model, build_tokenizer(), sorted(BUNDLED_TASKS), count=12, seed=3, held_out=part == "held_out")
        for part in ("held_out", "seen")
    }
    found = json.loads(captured.out)
    assert captured.err == "" and (found["prompts_per_task"], found["seed"]) == (12, 3)
    assert {part: found[part] for part in expected} == expected
    assert main(["pairs", "evaluate", name, "--prompts", "12", "--seed", "3"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"{name}, 12 prompts per task"] + [
        f"{task} held out {expected['held_out'][task]:.1%} seen {expected['seen'][task]:.1%}"
        for task in sorted(BUNDLED_TASKS)
    ]
