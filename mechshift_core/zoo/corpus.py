"""The training corpus as arrays: one pool of tokenised exercises a task, drawn once from the recipe's seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mechshift_core.tasks import TASKS, Exercise, is_held_out

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Pool:
    """Exercises of one task, right-padded.

    Attributes:
        ids: Token ids, [n, length].
        prompt_lengths: Tokens of each prompt, [n].
        lengths: Tokens of prompt and completion, [n].
    """

    ids: npt.NDArray[np.int64]
    prompt_lengths: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]


def exercises(task: str, count: int, *, seed: int, held_out: bool) -> list[Exercise]:
    """`count` draws of a task from its training or its held-out combinations, deterministic in `seed`."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, int(held_out), *task.encode()]))
    drawn: list[Exercise] = []
    while len(drawn) < count:
        exercise = TASKS[task].exercise(rng)
        if is_held_out(exercise.key) == held_out:
            drawn.append(exercise)
    return drawn


def pool(task: str, count: int, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Pool:
    """Tokenise `count` training exercises of a task."""
    drawn = exercises(task, count, seed=seed, held_out=False)
    prompts = tokenizer([e.prompt for e in drawn], add_special_tokens=False)["input_ids"]
    completions = tokenizer([e.completion for e in drawn], add_special_tokens=False)["input_ids"]
    lengths = np.array([len(p) + len(c) for p, c in zip(prompts, completions, strict=True)])
    ids = np.full((count, int(lengths.max())), int(tokenizer.pad_token_id), dtype=np.int64)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        ids[row, : lengths[row]] = [*prompt, *completion]
    return Pool(ids, np.array([len(p) for p in prompts]), lengths)


def draw_batch(pools: Mapping[str, Pool], sizes: Mapping[str, int], rng: np.random.Generator) -> list[Pool]:
    """A training step's examples, in two groups of similar length (so that little is padded)."""
    picked = []
    for task in sorted(sizes):
        source = pools[task]
        rows = rng.integers(len(source.ids), size=sizes[task])
        picked.append(Pool(source.ids[rows], source.prompt_lengths[rows], source.lengths[rows]))
    longest = max(int(p.lengths.max()) for p in picked)
    short = [p for p in picked if p.lengths.max() <= longest * 2 // 3]
    long = [p for p in picked if p.lengths.max() > longest * 2 // 3]
    return [_stack(group) for group in (short, long) if group]


def _stack(parts: list[Pool]) -> Pool:
    width = max(int(p.lengths.max()) for p in parts)
    padded = [np.pad(p.ids, ((0, 0), (0, max(0, width - p.ids.shape[1]))))[:, :width] for p in parts]
    return Pool(
        np.concatenate(padded),
        np.concatenate([p.prompt_lengths for p in parts]),
        np.concatenate([p.lengths for p in parts]),
    )
