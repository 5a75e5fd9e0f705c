"""What is kept of a post-training beside its weights: the learning curve, and how the written model does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from mechshift_core.models import load_model
from mechshift_core.zoo.post_training.base import find_base
from mechshift_core.zoo.post_training.evaluate import SEED, InTraining, answered, held_out_prompts, perplexity
from mechshift_core.zoo.storage import MetricEvaluation, reading, save_text

if TYPE_CHECKING:
    from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe
    from mechshift_core.zoo.post_training.sentences import Sentence
from mechshift_core.zoo.recipes import split_name

CURVE = "curve"
CURVE_FILE = "curve.json"


class Point(BaseModel):
    """Where a training stood before a step.

    Attributes:
        step: Steps done.
        metric: Task -> share of held-out prompts on which the answer is preferred to the foil.
        perplexity: A token of held-out text; of a diffusion model an upper bound.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    metric: dict[str, float]
    perplexity: float | None = None


def save_curve(folder: Path, points: Sequence[Point]) -> None:
    """Write the learning curve beside a model."""
    save_text(folder / CURVE_FILE, json.dumps([point.model_dump() for point in points], indent=1) + "\n")


def read_curve(folder: Path) -> list[Point]:
    """The learning curve beside a model.

    Raises:
        UsageError: if it can't be read.
    """
    with reading(folder / CURVE_FILE):
        stored = json.loads((folder / CURVE_FILE).read_text(encoding="utf-8"))
        return [Point.model_validate(point) for point in stored]


def evaluate_written(
    recipe: PostTrainingRecipe,
    folder: Path,
    text: Sequence[Sentence] = (),
    *,
    count: int | None = None,
    seed: int = SEED,
) -> MetricEvaluation:
    """How the model in a folder does, as it was written, in float32, beside its base.

    Args:
        recipe: What it was trained by.
        folder: Its folder, or that of its adapter; its name is that of the model.
        text: Running text that it was not trained on.
        count: Held-out prompts of each task; as the recipe says unless given.
        seed: Of the prompts.
    """
    base = find_base(recipe)
    diffusion = split_name(folder.name)[0] == "mdm"
    located = base.located
    source, adapters = (folder, ()) if recipe.lora is None else (located.folder, (*located.adapters, folder))
    count = recipe.evaluation.prompts if count is None else count
    prompts = held_out_prompts([*recipe.batch], base.tokenizer, count=count, seed=seed)
    model = load_model(
        source,
        adapter=adapters,
        paradigm="masked_diffusion" if diffusion else "autoregressive",
        mask_token=base.mask if diffusion else None,
        dtype="float32",
    )
    shares = answered(model, prompts)
    parent: Any = base.module("autoregressive", "float32").eval()
    of_base = answered(InTraining(parent, "autoregressive", base.mask), prompts)

    def on_text(module: Any, paradigm: str) -> float | None:
        if not text:
            return None
        return perplexity(module, text, paradigm=paradigm, mask=base.mask, tokens=recipe.tokens_at_once)

    return MetricEvaluation(
        model=folder.name,
        prompts_per_task=count,
        held_out={name: share.metric for name, share in shares.items()},
        argmax={name: share.argmax for name, share in shares.items()},
        perplexity=on_text(model.module, model.paradigm),
        base={name: share.metric for name, share in of_base.items()},
        base_perplexity=on_text(parent, "autoregressive"),
    )
