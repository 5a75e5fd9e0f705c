"""What training minimises: the next-token loss, and the masked-diffusion loss.

Diffusion post-training follows the DiffuLLaMA/Dream recipe: shifted prediction, bidirectional attention that opens
during the first steps, the loss of a masked token divided by the masking rate. The rate is drawn as a count: of an
example's n maskable tokens k ~ U{1..n} are masked and each counts 1/k, which has the same expectation as t ~ U(0, 1)
with weight 1/t and masking by coin flips (Ou et al. 2024, arXiv 2406.03736, "any-order" form), without examples that
mask nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from mechshift_core.zoo.corpus import Pool


def causal_loss(model: torch.nn.Module, batch: Pool, *, prompt_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token loss as (weighted sum, sum of weights); answer tokens weigh 1, prompt tokens `prompt_weight`."""
    ids = torch.from_numpy(batch.ids)
    position = torch.arange(1, ids.shape[1])
    weights = torch.where(position >= torch.from_numpy(batch.prompt_lengths)[:, None], 1.0, prompt_weight)
    weights = weights * (position < torch.from_numpy(batch.lengths)[:, None])
    logits = model(input_ids=ids).logits[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights.flatten()).sum(), weights.sum()


def diffusion_loss(
    model: torch.nn.Module,
    batch: Pool,
    rng: np.random.Generator,
    *,
    openness: float,
    masked_prompts: float,
    mask_id: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masked-diffusion loss as (sum over examples of n/k x CE over the k masked of n tokens, sum of n).

    Args:
        openness: Probability that a query sees a key to its right; 1 is bidirectional. Padding is never seen.
        masked_prompts: Share of the examples in which prompt tokens are masked like answer tokens.
    """
    count, width = batch.ids.shape
    position = np.arange(width)
    whole = rng.random(count) < masked_prompts
    start = np.where(whole, 1, batch.prompt_lengths)  # token 0 has no position to its left that could predict it
    maskable = (position >= start[:, None]) & (position < batch.lengths[:, None])
    total = maskable.sum(1)
    chosen = rng.integers(1, total + 1)
    order = np.where(maskable, rng.random((count, width)), 2.0).argsort(1).argsort(1)
    masked = order < chosen[:, None]

    ids = torch.from_numpy(batch.ids)
    hidden = torch.from_numpy(masked)
    real = torch.from_numpy(position < batch.lengths[:, None])
    seen = torch.ones(width, width, dtype=torch.bool).tril()
    if openness < 1:
        seen = seen | torch.from_numpy(rng.random((count, 1, width, width)) < openness)
    else:
        seen = torch.ones_like(seen)
    attend = (seen & real[:, None, None, :]) | torch.eye(width, dtype=torch.bool)
    logits = model(input_ids=ids.masked_fill(hidden, mask_id), attention_mask=attend).logits[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = torch.from_numpy(total / chosen)[:, None] * hidden[:, 1:]
    return (losses * weights.flatten().float()).sum(), torch.tensor(float(total.sum()))
