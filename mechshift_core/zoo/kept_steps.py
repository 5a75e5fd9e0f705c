"""Checkpoints within a phase of training, kept as models of their own: `mdm-step-0200` beside `mdm`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.errors import UsageError
from mechshift_core.zoo.cards import write_card
from mechshift_core.zoo.evaluate import evaluate_checkpoint
from mechshift_core.zoo.recipes import PairRecipe, Phase, kept_name
from mechshift_core.zoo.storage import EVALUATION, TRAINING, reading, save_text, writing

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM


def lacking(out: Path, phase: str, settings: Phase) -> tuple[int, ...]:
    """The steps of a phase that are to be kept and are not there yet, ascending."""
    kept = settings.kept_steps
    return tuple(step for step in kept if not (out / kept_name(phase, step, settings) / EVALUATION).exists())


def save_model(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: PairRecipe, folder: Path) -> None:
    """Write a model in float16, which it is then, evaluate exactly what was written, and write its card."""
    with writing(folder):
        model.half().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    save_text(folder / TRAINING, recipe.to_json())
    evaluation = evaluate_checkpoint(folder, sorted(recipe.batch), count=recipe.evaluation)
    save_text(folder / EVALUATION, evaluation.to_json())
    write_card(folder)


def keep(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: PairRecipe, phase: str, step: int, out: Path
) -> Path:
    """Write what a phase has come to after a step as a model beside those of the recipe; the training is untouched."""
    folder = out / kept_name(phase, step, recipe.phases()[phase])
    save_model(copy.deepcopy(model).eval(), tokenizer, recipe, folder)
    return folder


def keep_state(recipe: PairRecipe, phase: str, state: Path, out: Path) -> Path:
    """Write a stored state of a phase, as an interrupted training leaves it, as :func:`keep` would have at its step.

    Args:
        recipe: What is trained.
        phase: The model that is trained in it, e.g. `mdm`.
        state: The file `PHASE.state`, or a copy of it.
        out: Receives the folder.

    Raises:
        UsageError: if the recipe has no such phase, or the state can't be read or is of another model.
    """
    import torch

    from mechshift_core.zoo.states import restore
    from mechshift_core.zoo.train import is_causal, new_model
    from mechshift_core.zoo.vocabulary import build_tokenizer

    if phase not in recipe.phases():
        raise UsageError(f"{recipe.name} has no phase {phase!r}; it has {', '.join(recipe.phases())}")
    tokenizer = build_tokenizer()
    model = new_model(recipe, tokenizer)
    model.config.is_causal = is_causal(phase)
    with reading(state):
        step, _ = restore(state, model, torch.optim.AdamW(model.parameters()))
    if not step:
        raise UsageError(f"no such file: {state}")
    return keep(model, tokenizer, recipe, phase, step, out)
