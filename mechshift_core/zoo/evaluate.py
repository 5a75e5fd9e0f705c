"""Accuracy of a model on held-out prompts: what it writes, greedily and left to right, is checked by the task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.tasks import TASKS, Exercise
from mechshift_core.zoo.corpus import exercises
from mechshift_core.zoo.storage import Evaluation, reading

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SEED = 1
"""Seed of the prompts of a stored evaluation."""


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    drawn: Sequence[Exercise],
    *,
    shifted: bool = True,
    batch_size: int = 256,
) -> list[str]:
    """Greedy completions, revealed left to right, with the tokens to come masked.

    One loop serves both paradigms: what follows the position read is invisible to a causal model. Prompts are batched
    by length, so nothing is padded.
    """
    import torch

    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    prompts = tokenizer([e.prompt for e in drawn], add_special_tokens=False)["input_ids"]
    answers = tokenizer([e.completion for e in drawn], add_special_tokens=False)["input_ids"]
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        groups[len(prompt), len(answer)].append(row)
    written: dict[int, str] = {}
    for (length, count), rows in groups.items():
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            ids = torch.full((len(part), length + count), int(tokenizer.mask_token_id))
            ids[:, :length] = torch.tensor([prompts[row] for row in part])
            for position in range(length, length + count):
                with torch.no_grad():
                    logits = model(input_ids=ids, use_cache=False).logits[:, position - int(shifted)]
                ids[:, position] = logits.argmax(-1)
            for row, tokens in zip(part, ids[:, length:].tolist(), strict=True):
                written[row] = " ".join(tokenizer.convert_ids_to_tokens(tokens))
    return [written[row] for row in range(len(drawn))]


def accuracies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[str],
    *,
    count: int,
    seed: int,
    held_out: bool = True,
    shifted: bool = True,
) -> dict[str, float]:
    """Share of prompts solved per task, on held-out combinations or on those of the training corpus."""
    result = {}
    for task in tasks:
        drawn = exercises(task, count, seed=seed, held_out=held_out)
        solved = [
            TASKS[task].is_correct(exercise.prompt, completion)
            for exercise, completion in zip(drawn, complete(model, tokenizer, drawn, shifted=shifted), strict=True)
        ]
        result[task] = sum(solved) / len(solved)
    return result


def evaluate_checkpoint(folder: Path, tasks: Sequence[str], *, count: int, seed: int = SEED) -> Evaluation:
    """Accuracy of a stored model of a pair, in float32, on held-out prompts and on those of the training corpus.

    Raises:
        UsageError: if it can't be read.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    from mechshift_core.models.load import load_tokenizer

    logging.disable_progress_bar()  # a small model is there at once
    with reading(folder):
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = load_tokenizer(folder)
        if tokenizer is None:
            raise ValueError("expected a tokenizer in it")
    held_out, seen = (
        accuracies(model, tokenizer, tasks, count=count, seed=seed, held_out=held_out) for held_out in (True, False)
    )
    return Evaluation(model=folder.name, prompts_per_task=count, held_out=held_out, seen=seen)
