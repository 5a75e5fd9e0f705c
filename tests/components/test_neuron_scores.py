"""Scores of neurons, against gradients by plain PyTorch hooks, finite differences and planted neurons."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import write_random_model
from torch import Tensor

from mechshift_core import CounterfactualBatch, load_model
from mechshift_core.interventions.neurons.scores import LAST_PROJECTIONS, neuron_scores
from mechshift_core.models import Model
from mechshift_core.zoo.planted import planted_duplicate

LENGTH = 6


def drawn(examples: int = 4) -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (examples, LENGTH), generator=draw) for _ in range(2))
    answers = torch.arange(examples)
    return CounterfactualBatch(
        clean_ids=clean,
        corrupt_ids=corrupt,
        answer_ids=answers,
        foil_ids=answers + 20,
        position=torch.tensor([5, 2, 3, 4]),
    )


def projection(model: Model, layer: int) -> torch.nn.Module:
    mlp = model.view.module(model.view.declaration.mlp, layer)
    return next(getattr(mlp, name) for name in LAST_PROJECTIONS if hasattr(mlp, name))


def by_hooks(model: Model, batch: CounterfactualBatch) -> tuple[Tensor, Tensor]:
    """Scores [examples, layers, neurons] and clean activations [examples, layers, positions, neurons]."""
    read: dict[tuple[int, str], Tensor] = {}
    run = "clean"

    def hook(layer: int) -> Any:
        def keep(_: object, inputs: tuple[Tensor]) -> tuple[Tensor]:
            kept = inputs[0].detach().requires_grad_(True) if run == "clean" and layer == 0 else inputs[0]
            if run == "clean" and layer > 0:
                kept.retain_grad()
            read[layer, run] = kept
            return (kept,)

        return keep

    handles = [projection(model, layer).register_forward_pre_hook(hook(layer)) for layer in range(model.shape.layers)]
    try:
        logits = model.module(input_ids=batch.clean_ids, use_cache=False).logits
        batch.measure(batch.rows_read(logits).squeeze(1)).sum().backward()
        run = "corrupt"
        model.logits(batch.corrupt_ids)
    finally:
        for handle in handles:
            handle.remove()
    layers = range(model.shape.layers)
    scores = [((read[n, "clean"] - read[n, "corrupt"]) * read[n, "clean"].grad).sum(1) for n in layers]  # type: ignore[operator]
    return torch.stack(scores, 1).detach(), torch.stack([read[n, "clean"].detach() for n in layers], 1)


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2", "gpt_neox"])
def test_scores_are_activation_differences_times_gradients(family: str, tmp_path: Path) -> None:
    model = load_model(write_random_model(family, tmp_path), paradigm="masked_diffusion", device="cpu")
    batch = drawn()
    found = neuron_scores(model, batch, rows=3)
    scores, activations = by_hooks(model, batch)
    torch.testing.assert_close(found.values, scores, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.activations.abs(), activations.abs().amax(2), atol=1e-6, rtol=1e-5)
    example, position = found.drivers(1, 3, 1)[0]
    assert activations[:, 1, :, 3].abs().argmax() == example * LENGTH + position
    only = neuron_scores(model, batch, layers=[1])
    torch.testing.assert_close(only.values[:, 0], found.values[:, 1])


def test_the_neurons_that_were_planted_are_the_strongest(tmp_path: Path) -> None:
    planted = planted_duplicate()
    planted.module.save_pretrained(tmp_path)
    model = load_model(tmp_path, device="cpu")
    found = neuron_scores(model, CounterfactualBatch(**asdict(planted.draw(40, 1))))
    assert set(found.strongest(2)) == {(2, 0), (2, 1)}
    sizes = found.values.mean(0).abs().flatten().sort(descending=True).values
    assert sizes[1] > 5 * sizes[2]


def test_layers_are_those_of_the_model(tmp_path: Path) -> None:
    model = load_model(write_random_model("qwen2", tmp_path), device="cpu")
    for wrong in ([2], [1, 0], [0, 0], []):
        with pytest.raises(ValueError, match="layers: expected some of 0 to 1, ascending, got"):
            neuron_scores(model, drawn(), layers=wrong)
