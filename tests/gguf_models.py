"""Tiny GGUF files, written from random models of Transformers as llama.cpp's converter does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Format
from torch import Tensor, nn

LAYERS = 2
SIZES: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "num_hidden_layers": LAYERS, "max_position_embeddings": 48, "initializer_range": 0.3, "use_cache": False,
    "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma3", "gpt2")
NORMS_PLUS_ONE = ("gemma3",)
TEXT = "When Mary and John went to the store, John gave a drink to Mary. The war lasted from 1732 to 1745."


@dataclass(frozen=True)
class Written:
    """A GGUF file, and the model whose weights are the numbers in it."""

    file: Path
    model: Any


def words() -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-level BPE that was trained on one sentence, one special token in front."""
    import json

    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<|end|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), merges


def random_model(architecture: str, vocabulary: int, *, tied: bool) -> Any:
    """A model of Transformers that GGUF calls so."""
    import transformers as hf

    torch.manual_seed(0)
    decoder = SIZES | {"vocab_size": vocabulary, "tie_word_embeddings": tied}
    if architecture == "gpt2":
        model: nn.Module = hf.GPT2LMHeadModel(
            hf.GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=LAYERS, n_head=4, n_positions=48,
                          initializer_range=0.3, bos_token_id=None, eos_token_id=None)
        )  # fmt: skip
    elif architecture == "gemma3":
        local = {"sliding_window": 6, "query_pre_attn_scalar": 8}
        model = hf.Gemma3ForCausalLM(hf.Gemma3TextConfig(**decoder, **local, head_dim=8))
    elif architecture == "qwen3":
        model = hf.Qwen3ForCausalLM(hf.Qwen3Config(**decoder, head_dim=16))
    else:
        of = {"llama": (hf.LlamaForCausalLM, hf.LlamaConfig), "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config)}
        model_class, config_class = of[architecture]
        model = model_class(config_class(**decoder))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "norm" in name or ".ln_" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def write_gguf(
    file: Path,
    architecture: str = "llama",
    *,
    form: Format = Format.Q4_1,
    tied: bool = True,
    split: str = "gpt-2",
    settings: dict[str, float | str] | None = None,
    extra: dict[str, tuple[int, ...]] | None = None,
    left_out: str = "",
    bos: bool = False,
) -> Written:
    """Write a file.

    Args:
        file: Its path.
        architecture: What GGUF calls it.
        form: Number format of the matrices, those whose rows are of whole blocks.
        tied: Whether there is no output matrix of its own.
        split: `tokenizer.ggml.pre`.
        settings: Others than those of the model, without the architecture's name.
        extra: Tensors that the model does not have, by name, with their shapes.
        left_out: A tensor of the model that is not written.
        bos: Whether texts begin with the special token.
    """
    tokens, merges = words()
    model = random_model(architecture, len(tokens), tied=tied)
    writer = gguf.GGUFWriter(file, architecture)
    _add_settings(writer, model.config, settings or {})
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(bos)
    kind = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, LAYERS)
    state = model.state_dict()
    with torch.no_grad():
        for key, weight in state.items():
            if tied and key == "lm_head.weight":
                continue
            stem, _, suffix = key.rpartition(".")
            name = f"{names.get_name(stem)}.{suffix}"
            if name != left_out:
                weight.copy_(_write(writer, name, weight, architecture, model.config, form))
    for name, shape in (extra or {}).items():
        writer.add_tensor(name, np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Written(file, model)


def _add_settings(writer: gguf.GGUFWriter, config: Any, others: dict[str, float | str]) -> None:
    architecture = writer.arch
    numbers = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": getattr(config, "intermediate_size", 4 * config.hidden_size),
        "attention.head_count": config.num_attention_heads,
    }
    if architecture == "gpt2":
        floats = {"attention.layer_norm_epsilon": config.layer_norm_epsilon}
    else:
        numbers["attention.head_count_kv"] = config.num_key_value_heads
        parameters = config.rope_parameters
        theta = parameters.get("full_attention", parameters)["rope_theta"]
        floats = {"attention.layer_norm_rms_epsilon": config.rms_norm_eps, "rope.freq_base": theta}
    if architecture in ("qwen3", "gemma3"):
        numbers |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    if architecture == "gemma3":
        numbers["attention.sliding_window"] = config.sliding_window
    for key, value in {**numbers, **floats, **others}.items():
        name = f"{architecture}.{key}"
        if isinstance(value, str):
            writer.add_string(name, value)
        elif key in numbers and isinstance(value, int):
            writer.add_uint32(name, value)
        else:
            writer.add_float32(name, value)


def _write(writer: gguf.GGUFWriter, name: str, weight: Tensor, architecture: str, config: Any, form: Format) -> Tensor:
    """Write a tensor as the converter does; returns the numbers that are then in the file, as the model has them."""
    values = weight.clone()
    if architecture in NORMS_PLUS_ONE and "norm" in name:
        values = values + 1
    heads = {"attn_q": config.num_attention_heads, "attn_k": getattr(config, "num_key_value_heads", 0)}
    of = name.split(".")[-2]
    permuted = architecture == "llama" and of in heads
    if permuted:
        values = _permuted(values, heads[of])
    transposed = architecture == "gpt2" and name.startswith("blk.") and values.ndim == 2
    if transposed:
        values = values.T
    block = gguf.GGML_QUANT_SIZES[form][0]
    used = form if values.ndim == 2 and values.shape[-1] % block == 0 else Format.F32
    data = gguf.quantize(values.contiguous().numpy(), used)
    writer.add_tensor(name, data, raw_dtype=used)
    found = torch.from_numpy(gguf.dequantize(data, used).astype(np.float32)).reshape(values.shape)
    if transposed:
        found = found.T
    if permuted:
        found = _unpermuted(found, heads[of])
    return found - 1 if architecture in NORMS_PLUS_ONE and "norm" in name else found


def _permuted(weight: Tensor, heads: int) -> Tensor:
    """Rotary halves interleaved, as llama.cpp reads them."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def _unpermuted(weight: Tensor, heads: int) -> Tensor:
    return (
        weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )
