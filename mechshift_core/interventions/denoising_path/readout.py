"""What a model says at the position of the answer: how likely the answer is, and which token is the most likely one.

A masked diffusion model can also denoise the completion by itself: in every step all hidden tokens are predicted at
once, and some of them, the leftmost or the surest ones, are kept; the others are masked again. (With the surest ones
that is the low-confidence remasking of LLaDA, Nie et al. 2025, arXiv 2502.09992.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import nnsight
import numpy as np
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.walk import Visitor, traced, walk
from mechshift_core.errors import ExecutionError
from mechshift_core.execution.lengths import padded_rows
from mechshift_core.execution.reading import Reading
from mechshift_core.metrics import NO_TOKEN
from mechshift_core.models import Model
from mechshift_core.models.precision import widened
from mechshift_core.tasks.counterfactual import Example


@dataclass(frozen=True, slots=True)
class Readout:
    """What is read at the position of the answer, on the CPU; every field is [rows].

    Attributes:
        answer: Probability of all answers together.
        others: Sum of the squared probabilities of all other tokens.
        confidence: Probability of the most likely token.
        top: That token.
    """

    answer: Tensor
    others: Tensor
    confidence: Tensor
    top: Tensor


def read_out(model: Model, batch: CounterfactualBatch, *, rows: int | None, halvings: list[int]) -> Readout:
    """Read the clean prompts of a batch.

    Args:
        model: A loaded model.
        batch: Examples.
        rows: Examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Raises:
        ValueError: for a batch that the model can't read.
        ExecutionError: if a number is not finite.
    """
    check_readable(model, batch)

    def compute(part: slice) -> Readout:
        of_part = batch.rows(part).to(model.device)
        with torch.no_grad(), traced(model, of_part, of_part.clean_ids):
            logits = nnsight.save(walk(model, of_part, Visitor()))
        check_finite(model, "a logit", logits)
        return of_probabilities(widened(logits).softmax(-1), of_part.answer_ids)

    batching = Batching(rows or sequences_for_gradients(model, batch.clean_ids.shape[1]), halvings)
    return joined(list(in_batches(len(batch), batching, compute)))


def of_probabilities(p: Tensor, answer_ids: Tensor) -> Readout:
    """What is read of distributions [rows, vocabulary], given the answers [rows, set], padded with -1."""
    present = answer_ids != NO_TOKEN
    answers = p.gather(1, answer_ids.clamp(min=0)) * present
    confidence, top = p.max(-1)
    others = (p**2).sum(-1) - (answers**2).sum(-1)
    return Readout(answers.sum(-1).cpu(), others.clamp(min=0).cpu(), confidence.cpu(), top.cpu())


def joined(parts: Sequence[Readout]) -> Readout:
    """The rows of several, one after the other."""
    return Readout(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Readout)))


def own_path(
    model: Model, examples: Sequence[Example], reading: Reading, *, rows: int | None, halvings: list[int]
) -> list[Readout]:
    """What a model says in every step of denoising examples of equal length by itself, as long as the answer is hidden.

    Args:
        model: A loaded model.
        examples: Examples whose prompts and completions have the same lengths.
        reading: In which order, and in how many steps.
        rows: Examples that go through the model at once.
        halvings: Receives the numbers of rows that did not fit into memory.

    Returns:
        Of each example, [steps].

    Raises:
        ExecutionError: if an autoregressive model has to read hidden tokens and has no mask token for them, or a number
            is not finite.
    """
    first = examples[0]
    if model.mask_token_id is None and first.revealed:
        raise ExecutionError(
            f"{model.source} has no mask token to hide with what it has not chosen yet; use `tokens: solution`"
        )
    width = len(first.clean_ids) + first.masks + len(first.clean_behind_ids)
    batching = Batching(rows or sequences_for_gradients(model, width), halvings)
    parts = in_batches(len(examples), batching, lambda part: _denoised(model, examples[part], reading))
    return [path for part in parts for path in part]


def _denoised(model: Model, examples: Sequence[Example], reading: Reading) -> list[Readout]:
    first, diffusion = examples[0], model.paradigm == "masked_diffusion"
    place, length = first.revealed, first.revealed + first.masks
    start = len(first.clean_ids) - place
    prompts = torch.tensor([example.clean_ids[:start] for example in examples])
    behind = torch.tensor([example.clean_behind_ids for example in examples], dtype=torch.int64)
    answers = padded_rows([example.answer_ids for example in examples], NO_TOKEN)
    seen = length if diffusion else place  # an autoregressive model does not see what follows
    reads = seen + (not diffusion)
    tokens = torch.full((len(examples), reads), model.mask_token_id or 0)
    known = torch.zeros(tokens.shape, dtype=torch.bool)
    ordered = not diffusion or reading.order == "left_to_right"
    steps = reading.steps_of(length)
    found: list[tuple[Readout, np.ndarray, bool]] = []
    for step in range(steps):
        hidden = ~known[:, place].numpy()
        if not hidden.any():
            break
        ids = torch.cat([prompts, tokens[:, :seen], *([behind] if diffusion else [])], dim=1)
        at = start - int(model.shifted)
        logits = model.logits(ids)[:, at : at + reads].cpu()
        check_finite(model, "a logit", logits)
        p = widened(logits).softmax(-1)
        counted = reading.holds((True,) * (step * length // steps), first)
        found.append((of_probabilities(p[:, place], answers), hidden, counted))
        sure, likely = p.max(-1)
        priority = -torch.arange(reads).expand(sure.shape) if ordered else sure.mul(10_000).round()
        priority = priority.double().masked_fill(known, -torch.inf)
        wanted = (step + 1) * length // steps - step * length // steps
        chosen = priority.argsort(dim=1, descending=True, stable=True)[:, :wanted]
        taken = torch.zeros_like(known).scatter(1, chosen, value=True) & ~known
        tokens, known = torch.where(taken, likely, tokens), known | taken
    return [_path_of(row, found) for row in range(len(examples))]


def _path_of(row: int, found: Sequence[tuple[Readout, np.ndarray, bool]]) -> Readout:
    """The path of an example: the steps of the budget in which its answer is hidden, or the last if there are none."""
    steps = [(one, counted) for one, hidden, counted in found if hidden[row]]
    kept = [one for one, counted in steps if counted] or [steps[-1][0]]
    return joined([Readout(*(getattr(one, field.name)[row : row + 1] for field in fields(Readout))) for one in kept])
