"""Masked diffusion from random weights: a fourth model that is there only if the recipe asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy_recipe import TOY, toy_recipe
from transformers import PreTrainedTokenizerFast

from mechshift_core.errors import UsageError
from mechshift_core.zoo import train
from mechshift_core.zoo.corpus import draw_batch
from mechshift_core.zoo.recipes import PairRecipe
from mechshift_core.zoo.storage import read_record
from mechshift_core.zoo.train import new_model, train_pair

pytestmark = pytest.mark.long

SCRATCH: dict[str, Any] = {"steps": 10, "warmup": 2, "learning_rate": 0.01, "annealing": 0}
STILL: dict[str, Any] = {"steps": 1, "warmup": 0, "learning_rate": 1e-12, "weight_decay": 0.0}
OTHERS = ("arm", "mdm", "arm-continued")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy models with the one from scratch."""
    folder = tmp_path_factory.mktemp("scratch")
    assert list(train_pair(toy_recipe(scratch=SCRATCH), folder)) == [*OTHERS, "mdm-scratch"]
    return folder


def test_a_recipe_without_the_section_says_nothing_of_it_and_trains_three_models(tmp_path: Path) -> None:
    assert "scratch" not in toy_recipe().to_json() and list(toy_recipe().phases()) == list(OTHERS)
    assert json.loads(toy_recipe().to_json()).keys() == {*TOY, "prompt_weight"}
    assert list(train_pair(toy_recipe(), tmp_path)) == list(OTHERS)
    assert not (tmp_path / "mdm-scratch").exists()


def test_it_starts_from_the_random_weights_of_the_arm(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    recipe = toy_recipe(scratch=STILL)
    train_pair(recipe, tmp_path)
    stored, initial = weights(tmp_path / "mdm-scratch"), new_model(recipe, tokenizer).state_dict()
    assert all(torch.equal(stored[name], initial[name].half()) for name in stored)
    assert not torch.equal(stored["lm_head.weight"], weights(tmp_path / "arm")["lm_head.weight"])


def test_it_is_trained_by_the_diffusion_loss_for_the_steps_of_its_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[bytes] = []
    opened: list[float] = []

    def spy_batch(*arguments: Any) -> Any:
        drawn = draw_batch(*arguments)
        batches.append(b"".join(group.ids.tobytes() for group in drawn))
        return drawn

    def spy_loss(*arguments: Any, openness: float, **options: Any) -> Any:
        opened.append(openness)
        return real(*arguments, openness=openness, **options)

    real = train.diffusion_loss
    monkeypatch.setattr(train, "draw_batch", spy_batch)
    monkeypatch.setattr(train, "diffusion_loss", spy_loss)
    seen: list[str] = []
    recipe = toy_recipe(batch={"ioi": 2}, scratch=SCRATCH)
    train_pair(recipe, tmp_path, progress=lambda phase, *_: seen.append(phase))
    assert seen.count("mdm-scratch") == recipe.pretrain.steps + recipe.diffusion.steps == 10
    assert opened[5:] == [1.0] * 10
    assert len(set(batches)) == len(batches) == 25, "every step of every phase has its own batch"


def test_it_is_bidirectional_and_knows_its_steps(trained: Path) -> None:
    assert json.loads((trained / "mdm-scratch" / "config.json").read_text())["is_causal"] is False
    steps = {name: read_record(trained / name).steps for name in (*OTHERS, "mdm-scratch")}
    assert steps == {"arm": 5, "mdm": 10, "arm-continued": 10, "mdm-scratch": 10}
    assert toy_recipe().steps_since_random("mdm-scratch") is None
    card = (trained / "mdm-scratch" / "README.md").read_text()
    assert "from the random weights" in card and "bidirectional from the first step" in card
    assert "Pre-training" not in card


@pytest.mark.nightly
def test_the_section_can_be_added_to_a_pair_that_is_trained_and_changes_no_other_model(
    trained: Path, tmp_path: Path
) -> None:
    train_pair(toy_recipe(), tmp_path)
    before = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in OTHERS}
    seen: set[str] = set()
    train_pair(toy_recipe(scratch=SCRATCH), tmp_path, progress=lambda phase, *_: seen.add(phase))
    assert seen == {"mdm-scratch"}
    assert {name: (tmp_path / name / "model.safetensors").read_bytes() for name in OTHERS} == before
    assert {name: (trained / name / "model.safetensors").read_bytes() for name in OTHERS} == before
    for recipe in (toy_recipe(), toy_recipe(scratch={**SCRATCH, "steps": 11})):
        with pytest.raises(UsageError, match="another recipe"):
            train_pair(recipe, tmp_path)


@pytest.mark.nightly
def test_an_interrupted_training_from_scratch_ends_with_the_same_bits(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 3)

    def cut(phase: str, step: int, *_: object) -> None:
        if (phase, step) == ("mdm-scratch", 8):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_pair(toy_recipe(scratch=SCRATCH), tmp_path, progress=cut)
    names = [f"{name}.state" for name in (*OTHERS, "mdm-scratch")]
    assert all((tmp_path / name).is_file() for name in names), "kept until the pair is complete"
    train_pair(toy_recipe(scratch=SCRATCH), tmp_path)
    assert not any((tmp_path / name).exists() for name in names)
    assert PairRecipe.model_validate_json((tmp_path / "recipe.json").read_text()).scratch is not None
    for name in (*OTHERS, "mdm-scratch"):
        file = Path(name) / "model.safetensors"
        assert (tmp_path / file).read_bytes() == (trained / file).read_bytes()
