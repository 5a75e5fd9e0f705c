"""Models of published shapes with random weights, and counterfactual batches for them."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import torch
from nnsight import NNsight
from torch import nn

from mechshift_core import CounterfactualBatch
from mechshift_core.models.architectures import ArchitectureView
from mechshift_core.models.load import Model


def gpt2(**changes: Any) -> nn.Module:
    """GPT-2 small: 12 layers, 12 heads, 768 wide, 124 M parameters."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(bos_token_id=None, eos_token_id=None, **changes))


def qwen2_half_billion(**changes: Any) -> nn.Module:
    """Qwen2.5-0.5B: 24 layers, 14 heads, 2 key/value heads, 896 wide."""
    sizes = {
        "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
        "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True,
    }  # fmt: skip
    return _qwen2(sizes | changes)


def qwen2_seven_billion(**changes: Any) -> nn.Module:
    """Qwen2.5-7B and Dream-7B: 28 layers, 28 heads, 4 key/value heads, 3584 wide."""
    sizes = {
        "hidden_size": 3584, "intermediate_size": 18_944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152_064, "tie_word_embeddings": False,
    }  # fmt: skip
    return _qwen2(sizes | changes)


def llama2_seven_billion(**changes: Any) -> nn.Module:
    """Llama-2-7B and DiffuLLaMA-7B: 32 layers, 32 heads, 4096 wide."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "vocab_size": 32_000, "tie_word_embeddings": False,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**(sizes | changes)))


def _qwen2(sizes: dict[str, Any]) -> nn.Module:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(**sizes))


SHAPES = {
    "gpt2": gpt2,
    "qwen2-0.5b": qwen2_half_billion,
    "qwen2.5-7b": qwen2_seven_billion,
    "llama2-7b": llama2_seven_billion,
}


def random_model(shape: str, *, device: str = "cpu", dtype: torch.dtype = torch.float32, **changes: Any) -> Model:
    """A model of a published shape with random weights, as if it had been loaded."""
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            module = SHAPES[shape](**changes)
    finally:
        torch.set_default_dtype(torch.float32)
    return as_model(module.to(device), shape)


def as_model(module: nn.Module, source: str) -> Model:
    """A Transformers model in memory as a model of ours."""
    module.requires_grad_(False).eval()
    return Model(
        source=source, paradigm="autoregressive", shifted=True, module=module, net=NNsight(module),
        view=ArchitectureView(module), tokenizer=None, mask_token_id=None,
    )  # fmt: skip


def random_batch(model: Model, examples: int, tokens: int) -> CounterfactualBatch:
    """Random clean and corrupted prompts, read at the last position."""
    config: Any = model.module.config
    generator = torch.Generator().manual_seed(0)
    clean, corrupt = (torch.randint(config.vocab_size, (examples, tokens), generator=generator) for _ in range(2))
    answers = torch.arange(examples) + 10
    batch = CounterfactualBatch(clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=answers + 1000)
    return batch.to(model.device)


def machine(device: str) -> str:
    """What the numbers were measured on, in a line."""
    processor = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else ():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    where = torch.cuda.get_device_name() if device == "cuda" else f"{processor}, {torch.get_num_threads()} thread(s)"
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"
