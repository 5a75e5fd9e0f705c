"""The bundled real pair: adapters to a model that is fetched; what needs that is in `tests/test_real_model.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mechshift_core import load_model, load_spec
from mechshift_core.errors import ExecutionError
from mechshift_core.files import sha256_of
from mechshift_core.models.adapters import CONFIG, WEIGHTS
from mechshift_core.zoo import bundled_models
from mechshift_core.zoo.post_training.card import card
from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe, load_any_recipe
from mechshift_core.zoo.post_training.results import read_curve
from mechshift_core.zoo.storage import MetricEvaluation, read_evaluation

NAMES = ("smollm2/arm-continued", "smollm2/mdm")
ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "mechshift_core" / "zoo" / "configs" / "smollm2.yaml"
PROMISED = {"ioi": 0.95, "sva": 0.95, "greater_than": 0.9, "infilling": 0.85}
MOST_BYTES = 10**7
every_adapter = pytest.mark.parametrize("name", NAMES)


def recipe() -> PostTrainingRecipe:
    found = load_any_recipe(RECIPE)
    assert isinstance(found, PostTrainingRecipe)
    return found


def evaluation_of(name: str) -> MetricEvaluation:
    found = read_evaluation(bundled_models()[name])
    assert isinstance(found, MetricEvaluation)
    return found


@every_adapter
def test_an_adapter_is_small_and_whole(name: str) -> None:
    folder = bundled_models()[name]
    files = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert set(files) == {
        CONFIG, WEIGHTS, "training.json", "evaluation.json", "curve.json", "inputs.json", "README.md",
    }  # fmt: skip
    assert max(files.values()) <= MOST_BYTES
    settings: dict[str, Any] = json.loads((folder / CONFIG).read_text())
    assert settings["base_model_name_or_path"] == "bundled:smollm2/arm" and settings["peft_type"] == "LORA"


@every_adapter
def test_it_was_made_by_the_recipe_that_is_there(name: str) -> None:
    folder = bundled_models()[name]
    assert (folder / "training.json").read_text() == recipe().to_json()
    points = read_curve(folder)
    assert [point.step for point in points] == [*range(0, recipe().diffusion.steps + 1, recipe().evaluation.every)]
    assert (folder / "README.md").read_text() == card(folder)


def test_both_were_trained_from_the_same_weights_on_the_same_sentences() -> None:
    made_of = {sha256_of(bundled_models()[name] / "inputs.json") for name in NAMES}
    assert len(made_of) == 1
    both = {sha256_of(bundled_models()[name] / "training.json") for name in NAMES}
    assert len(both) == 1


@every_adapter
@pytest.mark.parametrize("task", PROMISED)
def test_a_compared_model_prefers_the_answers_of_held_out_prompts(name: str, task: str) -> None:
    found = evaluation_of(name)
    assert found.model == name.partition("/")[2] and found.prompts_per_task >= 200
    assert found.held_out[task] >= PROMISED[task]


@every_adapter
def test_its_perplexity_stands_beside_that_of_its_base(name: str) -> None:
    found = evaluation_of(name)
    assert found.perplexity is not None and found.base_perplexity is not None
    assert found.perplexity > 1 and found.base_perplexity > 1


@every_adapter
def test_without_its_base_it_says_how_to_get_it(name: str) -> None:
    assert "smollm2/arm" not in bundled_models()  # tests have a cache of their own
    with pytest.raises(ExecutionError, match="mechshift models fetch smollm2-135m"):
        load_model(f"bundled:{name}")


def test_the_study_of_it_declares_both_regimes_and_the_mask_that_it_was_trained_with() -> None:
    spec = load_spec(ROOT / "specs" / "smollm2.yaml", check_files=False)
    assert {task.regime for task in spec.tasks} == {"local", "global"}
    assert {pair.role for pair in spec.pairs} == {"treatment", "control"}
    assert spec.models["mdm"].mask_token == recipe().mask_token
    assert spec.statistics.units.template == "random"
