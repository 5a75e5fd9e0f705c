"""What a model is told about padding, so that it computes what it computes of the prompts alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def padding(mask: Tensor | None, device: torch.device) -> dict[str, Any]:
    """Options of a model's call for prompts that are padded; none where they are not.

    Positions are given beside the mask: Transformers counts them from the first column otherwise, padding included, so
    that a prompt that is padded on the left would be read at other positions.

    Args:
        mask: [rows, positions], 0 where a position is padding; None where nothing is padded.
        device: Where the model is.
    """
    if mask is None or bool((mask != 0).all()):
        return {}
    present = (mask != 0).to(device=device, dtype=torch.long)
    return {"attention_mask": present, "position_ids": (present.cumsum(-1) - 1).clamp(min=0)}
