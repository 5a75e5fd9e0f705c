from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import binomtest
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from mechshift_core.models.load import load_tokenizer
from mechshift_core.tasks import BUNDLED_TASKS
from mechshift_core.zoo import bundled_models
from mechshift_core.zoo.evaluate import accuracies
from mechshift_core.zoo.recipes import PairRecipe

MODELS = ("arm", "arm-continued", "mdm", "mdm-scratch")
NAMES = tuple(f"tiny-s{seed}/{model}" for seed in range(6) for model in MODELS if seed < 3 or model != "mdm-scratch")
ADAPTERS = ("smollm2/arm-continued", "smollm2/mdm")
"""Of a model that is fetched; see `test_bundled_adapters.py`."""
PROMISED = {"ioi": 0.99, "greater_than": 0.99, "infilling": 0.99, "sudoku": 0.95, "countdown": 0.85}
MOST_BYTES, MOST_BYTES_TOGETHER = 5 * 10**6, 75 * 10**6
every_model = pytest.mark.parametrize("name", NAMES)


def stored(name: str, file: str = "evaluation.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundled_models()[name] / file).read_text())
    return content


def load(folder: Path) -> Any:
    """The model, as anyone would load it."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_these_models_are_bundled_and_no_others() -> None:
    assert tuple(bundled_models()) == (*ADAPTERS, *NAMES)


def test_all_bundled_models_together_are_small() -> None:
    files = [path for folder in bundled_models().values() for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES_TOGETHER


@every_model
def test_a_bundled_model_is_small_and_whole(name: str) -> None:
    files = {path.name: path.stat().st_size for path in bundled_models()[name].iterdir()}
    assert files.keys() >= {"config.json", "model.safetensors", "tokenizer.json", "training.json", "evaluation.json"}
    assert max(files.values()) <= MOST_BYTES
    text = (bundled_models()[name] / "training.json").read_text()
    recipe = PairRecipe.model_validate_json(text)
    assert recipe.name == name.partition("/")[0] and recipe.to_json() == text


@every_model
def test_the_stored_evaluation_names_the_model_and_has_every_task(name: str) -> None:
    evaluation = stored(name)
    assert evaluation["model"] == name.partition("/")[2] and evaluation["prompts_per_task"] >= 1000
    for part in ("held_out", "seen"):
        assert evaluation[part].keys() == set(BUNDLED_TASKS)
        assert all(0 <= accuracy <= 1 for accuracy in evaluation[part].values())


@pytest.mark.parametrize("task", PROMISED)
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("/arm", "/mdm"))])
def test_a_compared_model_solves_its_tasks_on_held_out_prompts(name: str, task: str) -> None:
    assert stored(name)["held_out"][task] >= PROMISED[task]


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "tiny-s0/mdm" else [pytest.mark.nightly]) for name in NAMES]
)
def test_the_stored_evaluation_holds_on_other_prompts(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    """100 other held-out prompts a task; the band is the binomial acceptance region at p > 1e-4.

    The rate tested is that of the stored evaluation with one success and one failure more, so that a stored 100 % does
    not forbid a single failure.
    """
    evaluation = stored(name)
    found = accuracies(load(bundled_models()[name]), tokenizer, sorted(BUNDLED_TASKS), count=100, seed=2)
    for task, accuracy in found.items():
        count = evaluation["prompts_per_task"]
        rate = (evaluation["held_out"][task] * count + 1) / (count + 2)
        assert binomtest(round(accuracy * 100), 100, rate).pvalue > 1e-4, (task, accuracy, rate)


@every_model
def test_a_bundled_model_loads_plainly_with_every_weight_from_the_checkpoint(name: str) -> None:
    folder = bundled_models()[name]
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(model).__name__ == "Qwen2ForCausalLM" and model.dtype == torch.float16
    assert model.config.is_causal == ("/mdm" not in name)


@every_model
def test_only_the_diffusion_model_sees_what_follows(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    model = load(bundled_models()[name])
    ids = torch.tensor([tokenizer(f"3 5 7 target {target} :")["input_ids"] for target in ("22", "38")])
    (at,) = (ids[0] != ids[1]).nonzero().flatten().tolist()
    with torch.no_grad():
        moved = (lambda logits: (logits[0] - logits[1]).abs().amax(-1))(model(input_ids=ids).logits)
    assert (moved[at:] > 1e-3).all()
    assert (moved[:at] > 1e-3).all() if "/mdm" in name else (moved[:at] == 0).all()


@every_model
def test_the_bundled_tokenizer_is_that_of_the_vocabulary(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    kept = load_tokenizer(bundled_models()[name])
    assert kept is not None and kept.get_vocab() == tokenizer.get_vocab()
    assert kept.all_special_tokens == tokenizer.all_special_tokens
    assert (kept.pad_token, kept.unk_token, kept.mask_token) == ("<pad>", "<unk>", "<mask>")
    text = "When Mary and John went to the store in 1732, _ : <mask>"
    assert kept(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert load(bundled_models()[name]).config.vocab_size == len(tokenizer)
