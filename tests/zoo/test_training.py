from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy_recipe import TOY, toy_recipe
from transformers import AutoModelForCausalLM

from mechshift_core.errors import UsageError
from mechshift_core.models.load import load_tokenizer
from mechshift_core.zoo import evaluate, train
from mechshift_core.zoo.corpus import Pool, draw_batch
from mechshift_core.zoo.losses import diffusion_loss
from mechshift_core.zoo.recipes import PairRecipe
from mechshift_core.zoo.train import train_pair

pytestmark = pytest.mark.long

MODELS = ("arm", "mdm", "arm-continued")
MASK = 2


class PowerCutError(Exception):
    """The power is cut."""


def weights(folder: Path) -> list[bytes]:
    return [(folder / model / "model.safetensors").read_bytes() for model in MODELS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy pair, trained without interruption."""
    folder = tmp_path_factory.mktemp("trained")
    train_pair(toy_recipe(), folder)
    return folder


# Training as a whole


def test_training_is_determined_by_the_seed(trained: Path, tmp_path: Path) -> None:
    train_pair(toy_recipe(), tmp_path / "again")
    assert weights(tmp_path / "again") == weights(trained)
    train_pair(toy_recipe(seed=1), tmp_path / "other")
    assert not set(weights(tmp_path / "other")) & set(weights(trained))
    assert len(set(weights(trained))) == 3, "three different models"


@pytest.mark.parametrize(("phase", "at"), [("arm", 1), ("arm", 3), ("mdm", 4), ("arm-continued", 5)])
def test_an_interrupted_training_ends_with_the_same_bits(
    phase: str, at: int, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 2)

    def cut(now: str, step: int, steps: int, loss: float) -> None:
        if (now, step) == (phase, at):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        train_pair(toy_recipe(), tmp_path, progress=cut)
    seen: list[tuple[str, int]] = []
    train_pair(toy_recipe(), tmp_path, progress=lambda now, step, steps, loss: seen.append((now, step)))
    assert weights(tmp_path) == weights(trained)
    rest = [(phase, step) for step in range((at - 1) // 2 * 2 + 1, 6)]
    assert seen[: len(rest)] == rest, "it goes on after the last saved step"
    assert {name for name, _ in seen} == set(MODELS[MODELS.index(phase) :])


def test_an_interruption_while_a_state_is_written_loses_only_that_state(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    write = Path.replace
    moved: list[str] = []

    def replace(self: Path, target: Path) -> Path:
        moved.append(self.name)
        if len(moved) == 2:
            self.write_bytes(b"half")
            raise PowerCutError
        return write(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PowerCutError):
        train_pair(toy_recipe(), tmp_path)
    train_pair(toy_recipe(), tmp_path)
    assert weights(tmp_path) == weights(trained)


def test_an_interruption_before_the_evaluation_repeats_no_more_than_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 5)

    def fail(*arguments: object, **options: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "accuracies", fail)
        with pytest.raises(PowerCutError):
            train_pair(toy_recipe(), tmp_path)
    seen = []
    train_pair(toy_recipe(), tmp_path, progress=lambda now, *_: seen.append(now))
    assert weights(tmp_path) == weights(trained) and "arm" not in seen


def test_a_pair_that_is_complete_is_not_trained_again(trained: Path) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("it trains")

    before = weights(trained)
    assert set(train_pair(toy_recipe(), trained, progress=fail)) == set(MODELS)
    assert weights(trained) == before


def test_a_folder_of_another_recipe_is_refused_and_left_alone(trained: Path) -> None:
    before = weights(trained)
    with pytest.raises(UsageError, match=r"holds models of another recipe \(.*recipe\.json\); train into another"):
        train_pair(toy_recipe(pool=51), trained)
    assert weights(trained) == before
    train_pair(toy_recipe(), trained)


def test_both_continuations_start_from_the_stored_arm(tmp_path: Path) -> None:
    still = {"steps": 1, "warmup": 0, "learning_rate": 1e-12, "weight_decay": 0.0}
    train_pair(toy_recipe(diffusion=still), tmp_path)
    arm, mdm, continued = weights(tmp_path)
    assert arm == mdm == continued


def test_the_control_is_trained_on_from_the_arm_and_knows_nothing_of_the_mdm(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = toy_recipe().phases()
    monkeypatch.setattr(PairRecipe, "phases", lambda _: {name: phases[name] for name in ("arm", "arm-continued")})
    train_pair(toy_recipe(), tmp_path)
    for model in ("arm", "arm-continued"):
        assert (tmp_path / model / "model.safetensors").read_bytes() == weights(trained)[MODELS.index(model)]


def test_every_step_of_every_phase_has_its_own_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def spy(*arguments: Any) -> list[Pool]:
        drawn = draw_batch(*arguments)
        seen.append(b"".join(group.ids.tobytes() for group in drawn))
        return drawn

    monkeypatch.setattr(train, "draw_batch", spy)
    train_pair(toy_recipe(), tmp_path)
    assert len(seen) == len(set(seen)) == 15


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_folder_is_whole_and_in_half_precision(model: str, trained: Path) -> None:
    folder = trained / model
    assert {path.name for path in folder.iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json",
        "evaluation.json",
    }  # fmt: skip
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["is_causal"] == (model != "mdm")
    assert PairRecipe.model_validate_json((folder / "training.json").read_text()) == toy_recipe()
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert (evaluation["model"], evaluation["prompts_per_task"]) == (model, TOY["evaluation"])
    assert evaluation["held_out"].keys() == evaluation["seen"].keys() == TOY["batch"].keys()
    AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    assert tokenizer is not None and tokenizer.mask_token_id == MASK


def test_what_is_evaluated_is_what_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[dict[str, torch.Tensor], bool, bool, int]] = []

    def spy(model: Any, *_: object, count: int, seed: int, held_out: bool) -> dict[str, float]:
        calls.append((model.state_dict(), model.training, held_out, count))
        return {"ioi": len(calls) / 10}

    monkeypatch.setattr(evaluate, "accuracies", spy)
    results = train_pair(toy_recipe(), tmp_path)
    assert [call[1:] for call in calls] == [(False, held_out, 3) for _ in MODELS for held_out in (True, False)]
    assert results == {"arm": {"ioi": 0.1}, "mdm": {"ioi": 0.3}, "arm-continued": {"ioi": 0.5}}
    for model, (state, *_) in zip(MODELS, calls[::2], strict=True):
        stored = load_file(tmp_path / model / "model.safetensors")
        assert state.keys() == stored.keys()
        assert all(torch.equal(state[name], stored[name].float()) for name in stored)


def test_attention_opens_over_the_annealed_share_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def spy(*arguments: Any, openness: float, **options: Any) -> Any:
        seen.append(openness)
        return diffusion_loss(*arguments, openness=openness, **options)

    monkeypatch.setattr(train, "diffusion_loss", spy)
    train_pair(toy_recipe(batch={"ioi": 2}), tmp_path / "annealed")
    assert seen == [0.0, 0.5, 1.0, 1.0, 1.0]
    seen.clear()
    train_pair(toy_recipe(batch={"ioi": 2}, diffusion={**TOY["diffusion"], "annealing": 0}), tmp_path / "open")
    assert seen == [1.0] * 5, "without annealing attention is bidirectional from the first step"


def test_the_learning_rate_rises_linearly_and_falls_to_a_tenth() -> None:
    rates = [train.schedule(step, toy_recipe().pretrain.model_copy(update={"steps": 102})) for step in range(102)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[52] == pytest.approx(0.55) and rates[101] == pytest.approx(0.1, abs=1e-3)
    assert rates[2:] == sorted(rates[2:], reverse=True)
