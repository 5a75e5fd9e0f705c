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
from mechshift_core.options import Count, Seed, checked

Ablation = Literal["counterfactual", "mean", "zero", "resample"]
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
        ValueError: for an unknown ablation, or `resample` with a single example.
    """

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


def _derangement(examples: int, seed: int) -> Tensor:
    """Every example's partner, never itself: a random cycle through all of them."""
    if examples < 2:
        raise ValueError("the ablation 'resample' draws from other examples, and there is only one")
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    partners = torch.empty(examples, dtype=torch.long)
    partners[order] = order.roll(1)
    return partners


def _mean(model: Model, batch: CounterfactualBatch, rows: int) -> Activations:
    """Mean over the examples, position by position, [1, positions, ...]; padded positions do not count."""
    device = model.device
    present = torch.ones_like(batch.clean_ids) if batch.attention_mask is None else batch.attention_mask
    weights = (present.float() / present.sum(0).clamp(min=1)).to(device)
    sums: Activations | None = None
    for start in range(0, len(batch), rows):
        part = batch.rows(slice(start, start + rows)).to(device)
        weight = weights[start : start + rows]

        def weighted(values: Tensor, weight: Tensor = weight) -> Tensor:
            return torch.einsum("bs...,bs->s...", values.float(), weight)[None]

        found = record(model, part, part.clean_ids).activations.map(weighted)
        sums = found if sums is None else _added(sums, found)
    assert sums is not None
    return sums


def _added(left: Activations, right: Activations) -> Activations:
    return Activations(
        left.embedding + right.embedding,
        [a + b for a, b in zip(left.heads, right.heads, strict=True)],
        [a + b for a, b in zip(left.mlps, right.mlps, strict=True)],
    )
