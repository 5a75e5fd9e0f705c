"""Tiny checkpoints with random weights, one a supported architecture, and prompts of random tokens for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mechshift_core import CounterfactualBatch

SIZES: dict[str, Any] = {
    "vocab_size": 40, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None, "use_cache": False,
}  # fmt: skip
DECODER: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
    "initializer_range": 0.3,
}
FAMILIES = ("gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "gpt_neox", "gpt_neox-sequential")


def write_random_model(family: str, folder: Path, *, layers: int = 2, seed: int = 0, key_value_heads: int = 2) -> Path:
    """Save a random model: 4 heads of 4, or of 6, and two key/value heads where the family has such."""
    torch.manual_seed(seed)
    model = random_model(family, layers, key_value_heads)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name or ".ln_" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)  # type: ignore[operator]
    return folder


def random_model(family: str, layers: int, key_value_heads: int = 2) -> nn.Module:
    """The model, in memory."""
    import transformers as hf

    decoder = DECODER | SIZES | {"num_hidden_layers": layers, "num_key_value_heads": key_value_heads}
    if family == "gpt2":
        return hf.GPT2LMHeadModel(
            hf.GPT2Config(
                n_embd=16, n_layer=layers, n_head=4, n_positions=32, initializer_range=0.3,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **SIZES,
            )
        )  # fmt: skip
    if family == "smollm3":
        return hf.SmolLM3ForCausalLM(hf.SmolLM3Config(**decoder, no_rope_layer_interval=2))
    if family == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**decoder))
    if family == "mistral":
        return hf.MistralForCausalLM(hf.MistralConfig(**decoder, sliding_window=4))
    if family == "qwen2":
        return hf.Qwen2ForCausalLM(hf.Qwen2Config(**decoder))
    if family == "qwen3":
        return hf.Qwen3ForCausalLM(hf.Qwen3Config(**decoder, head_dim=6))
    if family == "gemma2":  # caps low enough to bite, one local layer, one global
        caps = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}
        return hf.Gemma2ForCausalLM(
            hf.Gemma2Config(**decoder, **caps, head_dim=6, query_pre_attn_scalar=6, sliding_window=4)
        )
    if family == "gemma3_text":
        local = {"sliding_window": 4, "layer_types": ["sliding_attention"] * (layers - 1) + ["full_attention"]}
        return hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**decoder, **local, head_dim=6, query_pre_attn_scalar=6))
    decoder = {name: value for name, value in decoder.items() if name != "num_key_value_heads"}
    parallel = family == "gpt_neox"
    return hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**decoder, use_parallel_residual=parallel, rotary_pct=0.5))


def random_batch(examples: int = 5, positions: int = 6) -> CounterfactualBatch:
    """Pairs of prompts of random tokens, the same in every call."""
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (examples, positions), generator=draw) for _ in range(2))
    answers = torch.arange(examples)
    return CounterfactualBatch(clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=answers + 20)
