"""Checkpoints that are kept within a phase: models beside the others, the same however they come about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from toy_recipe import TOY, toy_recipe

from mechshift_core.errors import UsageError
from mechshift_core.zoo import train
from mechshift_core.zoo.kept_steps import keep_state
from mechshift_core.zoo.recipes import PairRecipe, Phase
from mechshift_core.zoo.storage import read_record
from mechshift_core.zoo.train import train_pair

MODELS = ("arm", "mdm", "arm-continued")
KEPT = ("mdm-step-2", "mdm-step-4", "arm-continued-step-2", "arm-continued-step-4")


def keeping(keep: Any) -> PairRecipe:
    return toy_recipe(diffusion={**TOY["diffusion"], "keep": keep})


def files(out: Path, names: tuple[str, ...] = (*MODELS, *KEPT)) -> dict[str, bytes]:
    return {name: (out / name / "model.safetensors").read_bytes() for name in names}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy models with two checkpoints of each second phase, and the states at them."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "SAVE_EVERY", 2)
        states = folder / "states"
        states.mkdir()

        def copied(phase: str, step: int, *_: object) -> None:
            file = folder / "toy" / f"{phase}.state"
            if step == 3 and file.exists():  # what was stored after the second step
                shutil.copy(file, states / f"{phase}-2")

        train_pair(keeping([2, 4]), folder / "toy", progress=copied)
    return folder


def test_a_recipe_that_keeps_nothing_is_written_as_it_was() -> None:
    assert "keep" not in toy_recipe().to_json()
    assert keeping([2, 4]).without_kept() == toy_recipe()


def test_a_count_is_of_steps_that_are_evenly_spaced() -> None:
    assert Phase(steps=4000, keep=10).kept_steps == (364, 727, 1091, 1455, 1818, 2182, 2545, 2909, 3273, 3636)
    assert Phase(steps=4000, keep=(200, 400)).kept_steps == (200, 400)
    assert Phase(steps=4000).kept_steps == ()


@pytest.mark.parametrize("keep", [[5], [2, 2], [3, 2], 5, []])
def test_steps_that_are_not_within_the_phase_are_refused(keep: Any) -> None:
    with pytest.raises(ValidationError):
        keeping(keep)


@pytest.mark.long
def test_they_are_models_like_the_others(kept: Path) -> None:
    out = kept / "toy"
    assert {path.name for path in out.iterdir()} == {*MODELS, *KEPT, "recipe.json"}
    steps = {name: read_record(out / name).steps for name in KEPT}
    assert steps == {"mdm-step-2": 7, "mdm-step-4": 9, "arm-continued-step-2": 7, "arm-continued-step-4": 9}
    card = (out / "mdm-step-2" / "README.md").read_text()
    assert "after 2 of 5 steps" in card and "bidirectional" in card and "Steps since random weights: 7" in card
    causal = {name: json.loads((out / name / "config.json").read_text())["is_causal"] for name in KEPT}
    assert causal == {name: name.startswith("arm") for name in KEPT}
    assert len(set(files(out).values())) == len(MODELS) + len(KEPT)


@pytest.mark.long
def test_a_state_becomes_what_was_kept_at_its_step(kept: Path, tmp_path: Path) -> None:
    recipe = keeping([2, 4])
    for phase in ("mdm", "arm-continued"):
        folder = keep_state(recipe, phase, kept / "states" / f"{phase}-2", tmp_path)
        of_training = kept / "toy" / folder.name
        assert folder.name == f"{phase}-step-2"
        for file in of_training.iterdir():
            assert (folder / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_state_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        keep_state(toy_recipe(), "mdm", tmp_path / "mdm.state", tmp_path)
    with pytest.raises(UsageError, match="no phase 'mdn'"):
        keep_state(toy_recipe(), "mdn", tmp_path / "mdm.state", tmp_path)


@pytest.mark.nightly
def test_keeping_changes_no_model_and_can_be_asked_for_later(kept: Path, tmp_path: Path) -> None:
    train_pair(toy_recipe(), tmp_path)
    assert files(tmp_path, MODELS) == files(kept / "toy", MODELS)
    seen: list[tuple[str, int]] = []
    train_pair(keeping([2, 4]), tmp_path, progress=lambda phase, step, *_: seen.append((phase, step)))
    assert seen == [(phase, step) for phase in ("mdm", "arm-continued") for step in range(1, 5)]
    assert files(tmp_path) == files(kept / "toy")
    assert json.loads((tmp_path / "recipe.json").read_text())["diffusion"]["keep"] == [2, 4]
    seen.clear()
    train_pair(toy_recipe(), tmp_path, progress=lambda phase, step, *_: seen.append((phase, step)))
    assert seen == []
    with pytest.raises(UsageError, match="another recipe"):
        train_pair(toy_recipe(seed=1), tmp_path)


@pytest.mark.nightly
def test_an_interrupted_training_keeps_the_same_bits(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 3)

    def cut(phase: str, step: int, *_: object) -> None:
        if (phase, step) == ("mdm", 4):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_pair(keeping([2, 4]), tmp_path, progress=cut)
    assert (tmp_path / "mdm-step-2").is_dir() and not (tmp_path / "mdm-step-4").exists()
    train_pair(keeping([2, 4]), tmp_path)
    assert files(tmp_path) == files(kept / "toy")
