"""What is proven of a model before any number comes out of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError

PROBE_LENGTH = 6


def check_attention(module: nn.Module, *, bidirectional: bool, source: str) -> None:
    """The leak test: changing the last token must change the logits at position 0, or, causal, must not.

    Flags do not prove it: which ones a kernel honours depends on the class and on the version of Transformers.

    Raises:
        ExecutionError: if attention is not what it should be.
    """
    config: Any = module.config
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (4, PROBE_LENGTH), generator=generator)
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1 + torch.arange(4)) % config.vocab_size

    def first_logits(tokens: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = module(input_ids=tokens.to(device), use_cache=False).logits
        return logits[:, 0].float()

    before, after = first_logits(ids), first_logits(changed)
    if not bool(torch.isfinite(before).all()):
        raise ExecutionError(f"{source}: the logits are not finite; the checkpoint is damaged")
    moved = float((before - after).abs().max())
    scale = float(before.abs().max())
    if bidirectional and moved <= 1e-6 * scale:
        raise ExecutionError(
            f"{source} fails the leak test: declared masked_diffusion, but its attention is causal "
            "(the last token does not reach position 0); is the paradigm right?"
        )
    if not bidirectional and moved > 1e-5 * scale:
        raise ExecutionError(
            f"{source} fails the leak test: declared autoregressive, but the last token changes the logits at "
            f"position 0 (by {moved:.2g}); is the paradigm right?"
        )
