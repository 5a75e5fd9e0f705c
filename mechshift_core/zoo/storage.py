"""What is stored beside a model: the recipe that it was trained by, and how well it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from mechshift_core.errors import UsageError
from mechshift_core.files import write_text
from mechshift_core.zoo.recipes import PairRecipe

if TYPE_CHECKING:
    from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe

EVALUATION, TRAINING = "evaluation.json", "training.json"
INPUTS = "inputs.json"
"""Hashes of the base and of text files that a model was post-trained on."""


class _Kind(BaseModel):
    """What tells stored recipes and evaluations of one kind from those of the other."""

    base: object = None
    argmax: object = None


class Evaluation(BaseModel):
    """Share of the prompts that a model solves, by task.

    Attributes:
        model: Name of the model within its pair.
        prompts_per_task: Prompts of each task and part.
        reveal: Order in which masked tokens are revealed.
        held_out: Accuracy on combinations that the training corpus does not have.
        seen: Accuracy on combinations of the training corpus.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    prompts_per_task: int
    reveal: str = "left_to_right"
    held_out: dict[str, float]
    seen: dict[str, float]

    def to_json(self) -> str:
        """The text of `evaluation.json`."""
        return json.dumps(self.model_dump(), indent=2) + "\n"


class MetricEvaluation(BaseModel):
    """Share of held-out prompts that a post-trained model answers, by task.

    Attributes:
        model: Name of the model within its pair.
        prompts_per_task: Prompts of each task.
        held_out: Share on which the answer is preferred to the foil, by the task's metric.
        argmax: Share on which the likeliest token is an answer.
        perplexity: A token of held-out text; of a diffusion model an upper bound; None where there was no text.
        base: The same of the base model, for comparison: shares by the metric.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    prompts_per_task: int
    held_out: dict[str, float]
    argmax: dict[str, float]
    perplexity: float | None = None
    base: dict[str, float] = {}
    base_perplexity: float | None = None

    @property
    def seen(self) -> dict[str, float]:
        """Prompts of the training corpus are not measured."""
        return {}

    def to_json(self) -> str:
        """The text of `evaluation.json`."""
        return json.dumps(self.model_dump(), indent=2) + "\n"


@dataclass(frozen=True, slots=True)
class Record:
    """A stored model; what is None was not stored with it.

    Attributes:
        folder: Its Transformers folder.
        recipe: What it was trained by.
        evaluation: How well it does.
    """

    folder: Path
    recipe: PairRecipe | PostTrainingRecipe | None
    evaluation: Evaluation | MetricEvaluation | None

    @property
    def steps(self) -> int | None:
        """Optimizer steps since its random weights, where they are known."""
        return None if self.recipe is None else self.recipe.steps_since_random(self.folder.name)


def read_record(folder: Path) -> Record:
    """What is stored beside a model.

    Raises:
        UsageError: if a file is there and can't be read.
    """
    recipe, evaluation = None, None
    if (folder / TRAINING).exists():
        with reading(folder / TRAINING):
            recipe = _recipe((folder / TRAINING).read_text(encoding="utf-8"))
    if (folder / EVALUATION).exists():
        evaluation = read_evaluation(folder)
    return Record(folder, recipe, evaluation)


def _recipe(text: str) -> PairRecipe | PostTrainingRecipe:
    """The recipe of a model that was trained from random weights, or of one with a base."""
    from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe

    return (PairRecipe if _Kind.model_validate_json(text).base is None else PostTrainingRecipe).model_validate_json(
        text
    )


def bare_text(kind: type[PairRecipe] | type[PostTrainingRecipe], text: str) -> str:
    """A stored recipe without the checkpoints that it keeps; the text itself where it is no recipe of the kind."""
    try:
        return kind.model_validate_json(text).without_kept().to_json()
    except ValidationError:
        return text


def read_evaluation(folder: Path) -> Evaluation | MetricEvaluation:
    """The stored evaluation of a model.

    Raises:
        UsageError: if it can't be read.
    """
    with reading(folder / EVALUATION):
        text = (folder / EVALUATION).read_text(encoding="utf-8")
        kind = Evaluation if _Kind.model_validate_json(text).argmax is None else MetricEvaluation
        return kind.model_validate_json(text)


def save_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        UsageError: if it can't be written.
    """
    with writing(path):
        write_text(path, text)


@contextmanager
def reading(path: Path, *, advice: str = "") -> Iterator[None]:
    """A file or folder that can't be read inside is a UsageError that names it and says what to do."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        raise UsageError(f"cannot read {path}: {_reason(error)}" + (f"; {advice}" if advice else "")) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A file or folder that can't be written inside is a UsageError that names it."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UsageError(f"cannot write to {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text.splitlines()[0]
