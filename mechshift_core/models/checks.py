"""What is proven of a model before any number comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.models.precision import widened

PROBE_LENGTH = 6


def check_attention(module: nn.Module, *, bidirectional: bool, source: str, weights: Sequence[Path] = ()) -> None:
    """The leak test: changing the last token must change the logits at position 0, or, causal, must not.

    Flags do not prove it: which ones a kernel honours depends on the class and on the version of Transformers.

    Args:
        module: The Transformers model.
        bidirectional: What its attention should be.
        source: What the model is called in messages.
        weights: The files it comes from, in which a number that is not finite is looked for.

    Raises:
        ExecutionError: if attention is not what it should be, or logits are not finite.
    """
    config: Any = module.config
    device = next(module.parameters()).device
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(config.vocab_size, (4, PROBE_LENGTH), generator=generator)
    changed = ids.clone()
    changed[:, -1] = (ids[:, -1] + 1 + torch.arange(4)) % config.vocab_size

    def first_logits(tokens: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                logits: Tensor = module(input_ids=tokens.to(device), use_cache=False).logits
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever Transformers and torch make of a setting that does not go
            raise ExecutionError(
                f"{source} does not run on a prompt of {PROBE_LENGTH} tokens, so that a setting in its config.json or "
                f"a weight must be wrong: {type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
            ) from error
        if not bool(torch.isfinite(logits).all()):
            raise ExecutionError(_useless(module, source, weights, "not finite"))
        if bool((logits == logits.flatten()[0]).all()):  # a norm makes 0 of numbers whose squares overflow
            raise ExecutionError(_useless(module, source, weights, "the same for all tokens"))
        return widened(logits[:, 0])

    before, after = first_logits(ids), first_logits(changed)
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


def overflow_advice(dtype: torch.dtype) -> str:
    """What to do about numbers that are not finite in a number format; empty for float32."""
    name = str(dtype).removeprefix("torch.")
    wider = {torch.float16: "bfloat16 or float32", torch.bfloat16: "float32"}.get(dtype)
    largest = f" (which ends at {torch.finfo(dtype).max:.0f})" if dtype == torch.float16 else ""
    return "" if wider is None else f" in {name}{largest}; load the model in {wider} (`dtype`)"


def _useless(module: nn.Module, source: str, weights: Sequence[Path], what: str) -> str:
    """Whether the checkpoint or the number format is to blame for logits that are not finite, or all the same."""
    damaged = _not_finite_tensors(weights)
    if damaged:
        return f"{source}: the checkpoint is damaged: NaN or infinite numbers in {', '.join(damaged[:3])}"
    dtype = next(module.parameters()).dtype
    advice, name = overflow_advice(dtype), str(dtype).removeprefix("torch.")
    if advice:
        return f"{source}: the logits are {what}{advice}"
    return f"{source}: the logits are {what} in {name} too, though every weight is finite; the checkpoint is damaged"


def _not_finite_tensors(weights: Sequence[Path]) -> list[str]:
    from safetensors import safe_open

    found: list[str] = []
    for file in weights:
        with safe_open(file, framework="pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - no mapping
                values = tensors.get_tensor(key)
                if values.is_floating_point() and not bool(torch.isfinite(values.float()).all()):
                    found.append(key)
    return found
