"""Tiny checkpoints with the keys and the configuration of published diffusion models, and the models that they hold."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

VOCABULARY, POSITIONS = 40, 64
LAYOUTS = ("diffugpt", "diffullama", "dream", "a2d", "llada")
NATIVE = {"diffugpt": "gpt2", "diffullama": "llama", "dream": "qwen2", "a2d": "qwen3", "llada": "llama"}
SHIFTED = {"diffugpt": True, "diffullama": True, "dream": True, "a2d": False, "llada": False}

_SIZES = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": POSITIONS, "vocab_size": VOCABULARY, "initializer_range": 0.3, "use_cache": False,
    "bos_token_id": None, "eos_token_id": None, "tie_word_embeddings": False,
}  # fmt: skip
_LLADA_KEYS = {
    r"model\.embed_tokens\.": "model.transformer.wte.",
    r"model\.norm\.": "model.transformer.ln_f.",
    r"lm_head\.": "model.transformer.ff_out.",
    r"model\.layers\.(\d+)\.self_attn\.o_proj\.": r"model.transformer.blocks.\1.attn_out.",
    r"model\.layers\.(\d+)\.self_attn\.": r"model.transformer.blocks.\1.",
    r"model\.layers\.(\d+)\.input_layernorm\.": r"model.transformer.blocks.\1.attn_norm.",
    r"model\.layers\.(\d+)\.post_attention_layernorm\.": r"model.transformer.blocks.\1.ff_norm.",
    r"model\.layers\.(\d+)\.mlp\.gate_proj\.": r"model.transformer.blocks.\1.ff_proj.",
    r"model\.layers\.(\d+)\.mlp\.up_proj\.": r"model.transformer.blocks.\1.up_proj.",
    r"model\.layers\.(\d+)\.mlp\.down_proj\.": r"model.transformer.blocks.\1.ff_out.",
}
_WRAPPED_KEYS = {
    r"transformer\.wte\.": "embed_tokens.",
    r"model\.embed_tokens\.": "embed_tokens.",
    r"(transformer|model)\.": "denoise_model.",
}
KEYS: dict[str, dict[str, str]] = {"diffugpt": _WRAPPED_KEYS, "diffullama": _WRAPPED_KEYS, "llada": _LLADA_KEYS}


def random_model(layout: str, *, seed: int = 0, vocabulary: int = VOCABULARY) -> Any:
    """A random model of the class that a layout is published from."""
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config, Qwen3Config

    torch.manual_seed(seed)
    sizes = {**_SIZES, "vocab_size": vocabulary}
    config: Any
    if layout == "diffugpt":
        config = GPT2Config(
            n_embd=16, n_layer=2, n_head=4, n_positions=POSITIONS, vocab_size=vocabulary, initializer_range=0.3,
            bos_token_id=None, eos_token_id=None, use_cache=False,
        )  # fmt: skip
    elif layout in ("dream", "a2d"):
        own = {"head_dim": 8} if layout == "a2d" else {}
        config = (Qwen3Config if own else Qwen2Config)(**sizes, **own, num_key_value_heads=2, rope_theta=5e4)
    else:
        heads = 4 if layout == "llada" else 2
        config = LlamaConfig(**sizes, num_key_value_heads=heads, rope_theta=5e4, rms_norm_eps=1e-3)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name or ".ln_" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def write_published(layout: str, folder: Path, *, seed: int = 0, vocabulary: int = VOCABULARY) -> Path:
    """Save a random model as its published relatives are."""
    model = random_model(layout, seed=seed, vocabulary=vocabulary)
    folder.mkdir(parents=True)
    save_weights(folder, published_weights(layout, model))
    (folder / "config.json").write_text(json.dumps(published_config(layout, model)))
    return folder


def store_as_hub(cache: Path, repository: str, folder: Path, *, commit: str, ref: str | None = "main") -> Path:
    """Put a folder into a cache of the Hub as `hf download` would: blobs, snapshots of links to them, refs."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "blobs").mkdir(parents=True, exist_ok=True)
    (root / "snapshots" / commit).mkdir(parents=True)
    for file in folder.iterdir():
        blob = root / "blobs" / f"{commit}-{file.name}"
        shutil.copy(file, blob)
        (root / "snapshots" / commit / file.name).symlink_to(Path("..", "..", "blobs", blob.name))
    if ref is not None:
        (root / "refs").mkdir(exist_ok=True)
        (root / "refs" / ref).write_text(commit)
    return root / "snapshots" / commit


def save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write one safetensors file."""
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors", {})


def published_weights(layout: str, model: nn.Module) -> dict[str, Tensor]:
    """The weights of a model under the keys that a layout publishes them with."""
    weights = {_renamed(layout, name): tensor.clone() for name, tensor in model.state_dict().items()}
    if layout == "diffugpt":
        del weights["lm_head.weight"]  # tied: safetensors stores it once
        for layer in range(2):
            seen = torch.ones(1, 1, POSITIONS, POSITIONS, dtype=torch.bool)  # the causal mask, opened
            weights[f"denoise_model.h.{layer}.attn.bias"] = seen
            weights[f"denoise_model.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    return weights


def _renamed(layout: str, name: str) -> str:
    for pattern, new in KEYS.get(layout, {}).items():
        if re.match(pattern, name):
            return re.sub(pattern, new, name, count=1)
    return name


def published_config(layout: str, model: Any) -> dict[str, Any]:
    """A `config.json` as published: the class's own entries, or, for LLaDA, those of its own code."""
    own = json.loads(model.config.to_json_string(use_diff=False))
    own.pop("layer_types", None)
    if layout in ("diffugpt", "diffullama"):
        return own
    code = {"AutoConfig": "configuration_x.XConfig", "AutoModel": "modeling_x.XModel"}
    if layout == "a2d":
        return {**own, "model_type": "a2d-qwen3", "architectures": ["A2DQwen3LMHeadModel"], "auto_map": code}
    if layout == "dream":
        own["rope_theta"] = own.pop("rope_parameters")["rope_theta"]  # as written by Transformers 4
        dream = {"model_type": "Dream", "architectures": ["DreamModel"], "use_mrope": False, "mask_token_id": 38}
        return {**own, **dream, "auto_map": code}
    return {
        "model_type": "llada", "architectures": ["LLaDAModelLM"], "auto_map": code, "activation_type": "silu",
        "alibi": False, "attention_dropout": 0.0, "attention_layer_norm": False, "bias_for_layer_norm": False,
        "block_group_size": 1, "block_type": "llama", "d_model": 16, "embedding_dropout": 0.0,
        "embedding_size": VOCABULARY, "include_bias": False, "include_qkv_bias": False, "input_emb_norm": False,
        "layer_norm_type": "rms", "mask_token_id": 38, "max_sequence_length": POSITIONS, "mlp_hidden_size": 24,
        "mlp_ratio": 4, "multi_query_attention": None, "n_heads": 4, "n_kv_heads": 4, "n_layers": 2,
        "rms_norm_eps": 1e-3, "rope": True, "rope_full_precision": True, "rope_theta": 5e4, "scale_logits": False,
        "vocab_size": VOCABULARY, "weight_tying": False,
    }  # fmt: skip
