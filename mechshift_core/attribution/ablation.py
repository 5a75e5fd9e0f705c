"""What takes the place of a source's output when it is knocked out.

- `counterfactual`: what it writes on the corrupted prompt;
- `mean`: what it writes on the clean prompts of the batch on average, position by position;
- `zero`: nothing;
- `resample`: what it writes on the clean prompt of another example, drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.record import Activations, record
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened
from mechshift_core.options import Count, Seed, checked

Ablation = Literal["counterfactual", "mean", "zero", "resample"]
SHARED = ("mean", "resample")
"""Ablations that take their values from other examples."""
Replacement = Callable[[Tensor], Activations]
"""Numbers of examples -> what replaces their activations; one row serves all examples where they share it."""


@checked
def replacement_of(
    model: Model, batch: CounterfactualBatch, ablation: Ablation, *, seed: Seed = 0, rows: Count = 256
) -> Replacement:
    """What an ablation puts in the place of activations.

    Args:
        model: The model.
        batch: All examples over which `mean` averages and from which `resample` draws: those of equal length of a task.
        ablation: See the module.
        seed: Seed of `resample`.
        rows: Examples that go through the model at once.

    Raises:
        ValueError: for an unknown ablation, `mean` or `resample` with a single example, whose values would be replaced
            by themselves, or with prompts that are padded differently, whose positions do not correspond.
    """
    if ablation in SHARED:
        _check_shared(batch, ablation)

    def run(part: CounterfactualBatch, *, clean: bool) -> Activations:
        part = part.to(model.device)
        return record(model, part, part.clean_ids if clean else part.corrupt_ids).activations

    if ablation == "counterfactual":
        return lambda part: run(batch.rows(part), clean=False)
    if ablation == "resample":
        partners = _derangement(len(batch), seed)
        return lambda part: run(batch.rows(partners[part]), clean=True)
    if ablation == "zero":
        zeros = run(batch.rows(slice(0, 1)), clean=True).map(torch.zeros_like)
        return lambda _: zeros
    mean = _mean(model, batch, rows)
    return lambda _: mean


def _check_shared(batch: CounterfactualBatch, ablation: Ablation) -> None:
    if len(batch) < 2:
        raise ValueError(
            f"the ablation {ablation!r} takes values from other examples, and there is only one (of its length and "
            "state of its answer); use 'zero' or 'counterfactual', or more prompts of that length"
        )
    if batch.attention_mask is not None and bool((batch.attention_mask != batch.attention_mask[:1]).any()):
        raise ValueError(
            f"the ablation {ablation!r} takes values from other examples position by position, and these are padded "
            "differently; evaluate prompts of each length on their own"
        )


def _derangement(examples: int, seed: int) -> Tensor:
    """Every example's partner, never itself: a random cycle through all of them."""
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    partners = torch.empty(examples, dtype=torch.long)
    partners[order] = order.roll(1)
    return partners


def _mean(model: Model, batch: CounterfactualBatch, rows: int) -> Activations:
    """Mean over the examples, position by position, [1, positions, ...]."""
    sums: Activations | None = None
    for start in range(0, len(batch), rows):
        part = batch.rows(slice(start, start + rows)).to(model.device)
        found = record(model, part, part.clean_ids).activations
        found = found.map(lambda values: widened(values).sum(0, keepdim=True) / len(batch))
        sums = found if sums is None else _added(sums, found)
    assert sums is not None
    return sums


def _added(left: Activations, right: Activations) -> Activations:
    return Activations(
        left.embedding + right.embedding,
        [a + b for a, b in zip(left.heads, right.heads, strict=True)],
        [a + b for a, b in zip(left.mlps, right.mlps, strict=True)],
    )
