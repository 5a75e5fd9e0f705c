from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from toy_recipe import TOY, toy_recipe

from mechshift_core import zoo
from mechshift_core.spec import SpecError
from mechshift_core.tasks import BUNDLED_TASKS
from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe, load_any_recipe
from mechshift_core.zoo.recipes import PairRecipe

BUNDLED = Path(zoo.__file__).parent / "configs" / "tiny-s0.yaml"
GOOD = """\
schema: mechshift-pair/v1
name: toy
architecture: {layers: 1, hidden_size: 16, heads: 2, key_value_heads: 1}
batch: {ioi: 2, sudoku: 4}
pretrain: {steps: 5}
diffusion: {steps: 5, annealing: 0.5}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pair.yaml"


def test_the_bundled_recipe_trains_all_tasks() -> None:
    recipe = load_any_recipe(BUNDLED)
    assert (recipe.name, recipe.seed) == ("tiny-s0", 0)
    assert recipe.batch.keys() == set(BUNDLED_TASKS)
    assert recipe.diffusion.steps == recipe.pretrain.steps, "the control is trained on for as long"


def test_the_recipe_of_the_real_pair_trains_an_adapter_and_its_control() -> None:
    recipe = load_any_recipe(BUNDLED.with_name("smollm2.yaml"))
    assert isinstance(recipe, PostTrainingRecipe)
    assert recipe.base == "bundled:smollm2/arm" and recipe.lora is not None
    assert [*recipe.phases()] == ["mdm", "arm-continued"]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_recipes_of_other_seeds_differ_in_nothing_that_is_learnt_from(seed: int) -> None:
    other = load_any_recipe(BUNDLED.with_name(f"tiny-s{seed}.yaml"))
    own = {"name": f"tiny-s{seed}", "seed": seed, "threads": other.threads}
    assert other == load_any_recipe(BUNDLED).model_copy(update=own)


def test_what_is_not_given_has_a_default(path: Path) -> None:
    path.write_text(GOOD)
    recipe = load_any_recipe(path)
    assert (recipe.seed, recipe.pool, recipe.evaluation, recipe.architecture.context) == (0, 40_000, 1000, 64)
    assert (recipe.diffusion.annealing, recipe.diffusion.masked_prompts, recipe.pretrain.warmup) == (0.5, 0.1, 100)


def test_a_recipe_survives_json() -> None:
    assert PairRecipe.model_validate_json(toy_recipe().model_dump_json(by_alias=True)) == toy_recipe()


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "message"),
    [
        ("{ioi: 2", "{io: 2", 4, 9, "expected a task: countdown, greater_than, infilling, ioi, sudoku, got 'io'"),
        ("{ioi: 2", "{ioi: 0", 4, 14, "expected a number greater than 0, got 0"),
        ("{ioi: 2, sudoku: 4}", "{}", 4, 8, "expected at least 1 entry, got 0"),
        ("steps: 5}\nd", "steps: many}\nd", 5, 19, "expected an integer, got 'many'"),
        ("annealing: 0.5", "annealing: 1.5", 6, 34, "expected a number not above 1.0, got 1.5"),
        ("annealing", "anealing", 6, 23, "unknown key 'anealing' (did you mean 'annealing'?)"),
        ("pretrain: {steps: 5}\n", "", 1, 1, "missing key 'pretrain'"),
        ("pair/v1", "pair/v2", 1, 9, "expected 'mechshift-pair/v1', got 'mechshift-pair/v2'"),
        ("name: toy", "name: Toy!", 2, 7, "expected text of the form ^[a-z0-9][a-z0-9-]*$, got 'Toy!'"),
        ("heads: 2", "heads: 3", 3, 15, "expected hidden_size to be a multiple of 2 * heads (rotary pairs)"),
        ("value_heads: 1", "value_heads: 3", 3, 15, "expected heads to be a multiple of key_value_heads"),
        ("name: toy", "name: toy\nname: two", 3, 1, "duplicate key 'name'"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_position(
    old: str, new: str, line: int, column: int, message: str, path: Path
) -> None:
    assert GOOD.count(old) == 1
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(SpecError) as error:
        load_any_recipe(path)
    (problem,) = error.value.problems
    assert problem.message.startswith(message)
    assert (problem.file, problem.line, problem.column) == (str(path), line, column)


def test_everything_that_is_wrong_is_said_at_once(path: Path) -> None:
    path.write_text(GOOD.replace("ioi", "io").replace("annealing", "anealing").replace("layers: 1", "layers: 0"))
    with pytest.raises(SpecError) as error:
        load_any_recipe(path)
    assert [problem.line for problem in error.value.problems] == [3, 4, 6]


@pytest.mark.parametrize(
    ("content", "message"), [("", "the file is empty"), ("- 1", "expected a mapping"), ("a: [", "1:5: ")]
)
def test_a_file_that_is_no_recipe_is_refused(content: str, message: str, path: Path) -> None:
    path.write_text(content)
    with pytest.raises(SpecError, match=message):
        load_any_recipe(path)


def test_a_file_that_is_missing_is_refused(path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        load_any_recipe(path)


def test_a_recipe_made_in_python_is_validated_alike() -> None:
    assert json.loads(toy_recipe().model_dump_json(by_alias=True))["batch"] == TOY["batch"]
    with pytest.raises(ValidationError, match="a task: countdown"):
        toy_recipe(batch={"chess": 1})
