"""Tiny checkpoints with random weights, one a supported architecture."""

from __future__ import annotations

from pathlib import Path

import torch

SIZES = {"vocab_size": 40, "bos_token_id": None, "eos_token_id": None, "use_cache": False}
FAMILIES = ("gpt2", "llama", "qwen2")


def write_random_model(family: str, folder: Path, *, layers: int = 2, seed: int = 0) -> Path:
    """Save a random model (4 heads of 4, two key/value heads where the family can share them)."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    shared = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "tie_word_embeddings": False,
        "initializer_range": 0.3,
    }
    if family == "gpt2":
        config = GPT2Config(
            n_embd=16, n_layer=layers, n_head=4, n_positions=32, initializer_range=0.3,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **SIZES,
        )  # fmt: skip
        model = GPT2LMHeadModel(config)
    elif family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shared, **SIZES))
    else:
        model = Qwen2ForCausalLM(Qwen2Config(**shared, **SIZES))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name or ".ln_" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder
