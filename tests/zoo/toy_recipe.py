"""A recipe that trains in moments, and a model that is as small."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from mechshift_core.zoo.recipes import PairRecipe
from mechshift_core.zoo.train import new_model

TOY: dict[str, Any] = {
    "schema": "mechshift-pair/v1",
    "name": "toy",
    "seed": 0,
    "architecture": {
        "layers": 1, "hidden_size": 16, "heads": 2, "key_value_heads": 1, "intermediate_size": 24, "context": 64,
    },
    "batch": {"countdown": 4, "ioi": 2, "sudoku": 2},
    "pool": 50,
    "pretrain": {"steps": 5, "warmup": 2, "learning_rate": 0.01},
    "diffusion": {"steps": 5, "warmup": 2, "learning_rate": 0.01, "annealing": 0.4, "masked_prompts": 0.5},
    "evaluation": 3,
    "threads": 1,
}  # fmt: skip


def toy_recipe(**changes: Any) -> PairRecipe:
    """The toy recipe with some of its keys replaced."""
    return PairRecipe.model_validate({**TOY, **changes})


def toy_model(tokenizer: PreTrainedTokenizerFast, *, layers: int = 2) -> Qwen2ForCausalLM:
    """A random model whose predictions depend on their context (weights larger than at initialisation)."""
    model = new_model(toy_recipe(architecture={**TOY["architecture"], "layers": layers}), tokenizer).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model
