"""What takes the place of a source's output when it is knocked out.

- `counterfactual`: what it writes on the corrupted prompt;
- `mean`: what it writes on the clean prompts of the batch on average, position by position, counted from the first
  token of each;
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
        ValueError: for an unknown ablation; for `mean` or `resample` with a single example, or a position that only one
            has, whose values would be replaced by themselves; for `resample` with prompts that are padded differently.
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
    if not batch.padded:
        return lambda _: mean
    places = _places(batch).to(model.device)
    return lambda part: mean.map(lambda values: values[0, places[part.to(places.device)]])


def _check_shared(batch: CounterfactualBatch, ablation: Ablation) -> None:
    """Refuse values that would be replaced by themselves, or by those of positions that another example lacks."""
    advice = "use 'zero' or 'counterfactual', or more prompts of that length"
    if len(batch) < 2:
        raise ValueError(
            f"the ablation {ablation!r} takes values from other examples, and there is only one (of its length and "
            f"state of its answer); {advice}"
        )
    if ablation == "resample" and bool((batch.present != batch.present[:1]).any()):
        raise ValueError(
            "the ablation 'resample' takes values from another example position by position, and these are padded "
            "differently; evaluate prompts of each length on their own"
        )
    counts = _examples_with(batch)
    if ablation == "mean" and bool((counts == 1).any()):
        place = int((counts == 1).nonzero()[0, 0])
        raise ValueError(
            f"the ablation 'mean' takes values from other examples, and only one has a position {place}; {advice}"
        )


def _places(batch: CounterfactualBatch) -> Tensor:
    """The position of every column in its prompt, [examples, columns], 0 at its first token."""
    first = batch.present.int().argmax(1, keepdim=True)
    columns = torch.arange(batch.clean_ids.shape[1], device=first.device)
    return (columns - first).clamp(min=0)


def _examples_with(batch: CounterfactualBatch) -> Tensor:
    """How many examples have each position, [positions]."""
    return torch.bincount(_places(batch)[batch.present], minlength=batch.clean_ids.shape[1])


def _derangement(examples: int, seed: int) -> Tensor:
    """Every example's partner, never itself: a random cycle through all of them."""
    order = torch.randperm(examples, generator=torch.Generator().manual_seed(seed))
    partners = torch.empty(examples, dtype=torch.long)
    partners[order] = order.roll(1)
    return partners


def _mean(model: Model, batch: CounterfactualBatch, rows: int) -> Activations:
    """Mean over the examples, position by position, [1, positions, ...]; only examples that have a position count."""
    counts = _examples_with(batch).clamp(min=1).to(model.device)
    sums: Activations | None = None
    for start in range(0, len(batch), rows):
        part = batch.rows(slice(start, start + rows)).to(model.device)
        present, places = part.present, _places(part)

        def summed(values: Tensor, present: Tensor = present, places: Tensor = places) -> Tensor:
            wide = widened(values)
            total = torch.zeros(values.shape[1:], dtype=wide.dtype, device=values.device)
            return total.index_add_(0, places[present], wide[present])[None]

        found = record(model, part, part.clean_ids).activations.map(summed)
        sums = found if sums is None else _added(sums, found)
    assert sums is not None
    return sums.map(lambda total: total / counts.reshape(-1, *[1] * (total.ndim - 2)))


def _added(left: Activations, right: Activations) -> Activations:
    return Activations(
        left.embedding + right.embedding,
        [a + b for a, b in zip(left.heads, right.heads, strict=True)],
        [a + b for a, b in zip(left.mlps, right.mlps, strict=True)],
    )
