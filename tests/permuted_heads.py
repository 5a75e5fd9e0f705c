"""A twin of a checkpoint whose heads stand in another order: other weights, the same function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def write_permuted_twin(source: Path, folder: Path, order: Sequence[int]) -> Path:
    """Save the twin: its head `i` of every layer is the model's head `order[i]`.

    Heads that share keys and values must stay together. For architectures with separate projections (llama, qwen2).
    """
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(source)
    heads, shared_heads = model.config.num_attention_heads, model.config.num_key_value_heads
    group = heads // shared_heads
    shared = [order[first] // group for first in range(0, heads, group)]
    assert [head // group for head in order] == [one for one in shared for _ in range(group)]
    with torch.no_grad():
        for block in model.model.layers:
            attention = block.self_attn
            for projection, own in ((attention.q_proj, order), (attention.k_proj, shared), (attention.v_proj, shared)):
                for tensor in (projection.weight, projection.bias):
                    if tensor is not None:
                        tensor.copy_(tensor.unflatten(0, (-1, attention.head_dim))[list(own)].flatten(0, 1))
            weight = attention.o_proj.weight
            weight.copy_(weight.unflatten(1, (-1, attention.head_dim))[:, list(order)].flatten(1, 2))
    model.save_pretrained(folder)
    return folder
