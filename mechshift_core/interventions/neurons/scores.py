"""Neurons: how much the metric owes to single neurons of the MLPs, and what drives them.

A neuron is a coordinate of what an MLP's last projection reads. Its score is the first-order estimate of what
corrupting it does to the metric, (clean - corrupted activation) x gradient at the clean run, summed over positions:
positive where corrupting lowers the metric, as for edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import nnsight
import numpy as np
import polars as pl
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.frames import Per, repeated, scored
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.walk import traced
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened
from mechshift_core.options import Count, checked

LAST_PROJECTIONS = ("down_proj", "c_proj", "dense_4h_to_h")
"""What the last projection of an MLP is called in the declared architectures."""


@dataclass(frozen=True, slots=True)
class NeuronScores:
    """Scores of some MLPs' neurons, on the CPU; float32 or, as the model, float64.

    Attributes:
        layers: The MLPs.
        values: [examples, layers, neurons].
        activations: Clean activations of the largest magnitude over the positions, with their sign, as `values`.
        positions: Where they are, int64, as `values`.
    """

    layers: tuple[int, ...]
    values: Tensor
    activations: Tensor
    positions: Tensor

    def __repr__(self) -> str:
        examples, layers, neurons = self.values.shape
        return f"NeuronScores({examples} examples x {layers} layers x {neurons:,} neurons)"

    @checked
    def to_frame(self, per: Per = "mean") -> pl.DataFrame:
        """The scores as a frame, layer by layer.

        Args:
            per: `mean` has a row a neuron, `prompt` one for every neuron on every prompt.

        Returns:
            Columns `layer`, `neuron` and `score`; of means also `se`, the standard error over prompts, and `rank` by
            magnitude; of prompts `example`, `activation` (the largest by magnitude) and `position` (where that is).
        """
        width = self.values.shape[2]
        columns = pl.DataFrame(
            {
                "layer": np.repeat(np.array(self.layers, dtype=np.int64), width),
                "neuron": np.tile(np.arange(width), len(self.layers)),
            }
        )
        if per == "mean":
            return scored(columns, self.values.flatten(1), per=per)
        found = {"score": self.values, "activation": self.activations, "position": self.positions}
        return repeated(columns, {name: one.flatten(1).numpy() for name, one in found.items()})

    def strongest(self, count: int) -> list[tuple[int, int]]:
        """(layer, neuron) of the largest mean scores by magnitude, the largest first."""
        mean = self.values.double().mean(0).abs().flatten()
        order = mean.sort(descending=True, stable=True).indices[:count].tolist()
        return [(self.layers[place // self.values.shape[2]], place % self.values.shape[2]) for place in order]

    def drivers(self, layer: int, neuron: int, count: int) -> list[tuple[int, int]]:
        """(example, position) at which a neuron is most active by magnitude, one an example, the largest first."""
        at = self.layers.index(layer)
        order = self.activations[:, at, neuron].abs().sort(descending=True, stable=True).indices[:count].tolist()
        return [(example, int(self.positions[example, at, neuron])) for example in order]


@checked
def neuron_scores(
    model: Model,
    batch: CounterfactualBatch,
    *,
    layers: Sequence[int] | None = None,
    rows: Count | None = None,
    halvings: list[int] | None = None,
) -> NeuronScores:
    """Scores of the neurons of some MLPs, those of a circuit for example.

    Args:
        model: A loaded model.
        batch: Examples.
        layers: The MLPs, ascending; all unless given.
        rows: Examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Raises:
        ValueError: for a layer that the model does not have, layers that do not ascend, or none, or a batch that the
            model can't read.
        ExecutionError: if a score is not finite.
    """
    check_readable(model, batch)
    chosen = tuple(range(model.shape.layers) if layers is None else layers)
    if not chosen or list(chosen) != sorted({*chosen} & {*range(model.shape.layers)}):
        raise ValueError(f"layers: expected some of 0 to {model.shape.layers - 1}, ascending, got {list(chosen)}")
    batching = Batching(
        rows or sequences_for_gradients(model, batch.clean_ids.shape[1]), [] if halvings is None else halvings
    )

    def compute(part: slice) -> NeuronScores:
        return _of_part(model, batch.rows(part).to(model.device), chosen)

    parts = list(in_batches(len(batch), batching, compute))
    return NeuronScores(
        chosen, *(torch.cat([getattr(part, name) for part in parts]) for name in ("values", "activations", "positions"))
    )


def _of_part(model: Model, batch: CounterfactualBatch, layers: tuple[int, ...]) -> NeuronScores:
    declared = model.view.declaration
    with torch.no_grad(), traced(model, batch, batch.corrupt_ids):
        corrupted = nnsight.save([site.input for site in _projections(model, layers)])
    embeddings = model.view.module(declared.embedding)(batch.clean_ids).detach().requires_grad_(True)
    net: Any = model.net
    with traced(model, batch, batch.clean_ids):
        attrgetter(declared.embedding)(net).output = embeddings
        clean = [site.input for site in _projections(model, layers)]
        final = batch.rows_read(attrgetter(declared.final_norm)(net).output)
        attrgetter(declared.head)(net).input = final
        metric = batch.measure(net.output.logits[:, 0])
        gradients = nnsight.save(torch.autograd.grad(metric.sum(), clean))
        activations = nnsight.save([one.detach() for one in clean])
    found = []
    for before, after, gradient in zip(activations, corrupted, gradients, strict=True):
        score = ((widened(before) - widened(after)) * widened(gradient)).sum(1)
        place = before.abs().masked_fill(~batch.present[:, :, None], -1).argmax(1, keepdim=True)
        found.append((score, widened(before).gather(1, place).squeeze(1), place.squeeze(1)))
    check_finite(model, "the score of a neuron", *(score for score, _, _ in found))
    return NeuronScores(layers, *(torch.stack(parts, dim=1).cpu() for parts in zip(*found, strict=True)))


def _projections(model: Model, layers: Sequence[int]) -> Iterator[Any]:
    """The last projections of the MLPs of a traced model, in running order."""
    net: Any = model.net
    blocks = attrgetter(model.view.declaration.blocks)(net)
    for layer in layers:
        mlp = model.view.module(model.view.declaration.mlp, layer)
        name = next(name for name in LAST_PROJECTIONS if hasattr(mlp, name))
        yield getattr(attrgetter(model.view.declaration.mlp)(blocks[layer]), name)
