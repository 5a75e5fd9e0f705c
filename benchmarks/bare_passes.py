"""The passes that EAP-IG cannot avoid: a clean and a corrupted forward, and forward and backward for every step.

Two forms, both with frozen weights and with the same Transformers model, without nnsight:

- `tight`: what we could not write faster: clean and corrupted in one batch, all steps in one batch, logits at the last
  position only;
- `plain`: what a script would do: one run after the other, logits everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mechshift_core import CounterfactualBatch
from mechshift_core.models.load import Model


def tight(model: Model, batch: CounterfactualBatch, steps: int, *, at_once: int | None = None) -> None:
    """All steps in one batch (or `at_once` of them), logits at the last position."""
    module: Any = model.module
    with torch.no_grad():
        module(input_ids=torch.cat([batch.clean_ids, batch.corrupt_ids]), use_cache=False, logits_to_keep=1)
    for embeddings in torch.stack(_path(model, batch, steps)).split(at_once or steps):
        _backward(module, embeddings.flatten(0, 1), batch, logits_to_keep=1)


def plain(model: Model, batch: CounterfactualBatch, steps: int) -> None:
    """One run after the other, logits everywhere."""
    module: Any = model.module
    with torch.no_grad():
        for ids in (batch.clean_ids, batch.corrupt_ids):
            module(input_ids=ids, use_cache=False)
    for embeddings in _path(model, batch, steps):
        _backward(module, embeddings, batch)


def _path(model: Model, batch: CounterfactualBatch, steps: int) -> list[Tensor]:
    embed = model.view.module(model.view.declaration.embedding)
    clean, corrupt = embed(batch.clean_ids), embed(batch.corrupt_ids)
    return [(corrupt + k / steps * (clean - corrupt)).detach() for k in range(steps)]


def _backward(module: Any, embeddings: Tensor, batch: CounterfactualBatch, **options: int) -> None:
    embeddings = embeddings.requires_grad_(True)
    logits = module(inputs_embeds=embeddings, use_cache=False, **options).logits[:, -1]
    torch.autograd.grad(batch.measure(logits).sum(), embeddings)
