"""How the models of a recipe are trained and evaluated: from random weights, or on top of a pretrained base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe
    from mechshift_core.zoo.recipes import PairRecipe
    from mechshift_core.zoo.storage import Evaluation, MetricEvaluation

Told = Callable[[str, int, int, float], None]
"""What training is told to call: phase, step, steps in all, loss."""


@dataclass(frozen=True, slots=True)
class Work:
    """What can be done with a recipe.

    Attributes:
        train: Trains its models into a folder: model -> task -> share of the prompts that it solves.
        evaluate: How the model in a folder does on so many prompts of each task, drawn from a seed.
    """

    train: Callable[[Path, Told], dict[str, dict[str, float]]]
    evaluate: Callable[[Path, int, int], Evaluation | MetricEvaluation]


def work_of(recipe: PairRecipe | PostTrainingRecipe) -> Work:
    """How the models of a recipe are trained and evaluated."""
    from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe

    if isinstance(recipe, PostTrainingRecipe):
        from mechshift_core.zoo.post_training.results import evaluate_written
        from mechshift_core.zoo.post_training.train import post_train

        return Work(
            lambda folder, told: post_train(recipe, folder, progress=told),
            lambda folder, count, seed: evaluate_written(recipe, folder, count=count, seed=seed),
        )
    from mechshift_core.zoo.evaluate import evaluate_checkpoint
    from mechshift_core.zoo.train import train_pair

    return Work(
        lambda folder, told: train_pair(recipe, folder, progress=told),
        lambda folder, count, seed: evaluate_checkpoint(folder, sorted(recipe.batch), count=count, seed=seed),
    )
