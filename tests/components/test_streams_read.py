"""Residual streams at the position read, against the hidden states that Transformers itself returns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from random_models import write_random_model

from mechshift_core import CounterfactualBatch, load_model
from mechshift_core.components.streams import streams_read


@pytest.mark.parametrize("family", ["gpt2", "gemma2"])
def test_the_streams_are_the_inputs_of_blocks_and_final_norm(family: str, tmp_path: Path) -> None:
    model = load_model(write_random_model(family, tmp_path), paradigm="masked_diffusion", device="cpu")
    ids = torch.randint(40, (4, 6), generator=torch.Generator().manual_seed(0))
    at = torch.tensor([5, 0, 3, 2])
    batch = CounterfactualBatch(
        clean_ids=ids, corrupt_ids=ids.flip(0), answer_ids=torch.arange(4), foil_ids=torch.arange(4) + 5, position=at
    )
    read = []
    modules = [*model.view.module(model.view.declaration.blocks), model.view.module(model.view.declaration.final_norm)]
    hooks = [module.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])) for module in modules]
    model.logits(ids)
    for hook in hooks:
        hook.remove()
    expected = torch.stack([one[torch.arange(4), at] for one in read], dim=1)
    torch.testing.assert_close(streams_read(model, batch, rows=3), expected)
