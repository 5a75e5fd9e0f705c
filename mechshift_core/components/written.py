"""What is on the residual stream at the position read, and who wrote it, recorded through nnsight."""

from __future__ import annotations

from dataclasses import dataclass

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.record import live_heads
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened


@dataclass(frozen=True, slots=True)
class Written:
    """The residual stream at the position read, on clean prompts.

    Attributes:
        streams: What each block and, last, the final norm reads, [rows, layers + 1, hidden].
        sources: What each source of the graph writes, in its order, [rows, sources, hidden]; float32, of a model
            in float64 float64. The input is what the first block reads, positions included. The last stream is their
            sum and the biases.
        biases: Sum of the biases of the attention outputs, which no head writes, [rows, hidden]; alike.
        logits: The model's logits, [rows, vocabulary].
    """

    streams: Tensor
    sources: Tensor
    biases: Tensor
    logits: Tensor


def record_written(model: Model, batch: CounterfactualBatch) -> Written:
    """Run the clean prompts of a batch, which is on the model's device, and keep what is written."""
    reader = _Reader(model, batch)
    with torch.no_grad(), traced(model, batch, batch.clean_ids):
        logits: Tensor = nnsight.save(walk(model, batch, reader))
    sources = [widened(reader.streams[0])[:, None]]
    biases = torch.zeros_like(widened(reader.streams[0]))
    for layer, (heads, mlp) in enumerate(zip(reader.heads, reader.mlps, strict=True)):
        sources.append(torch.einsum("rhe,hed->rhd", widened(heads), widened(model.view.output_weight(layer))))
        sources.append(widened(mlp)[:, None])
        bias = model.view.output_bias(layer)
        biases = biases if bias is None else biases + widened(bias)
    return Written(torch.stack(reader.streams, dim=1), torch.cat(sources, dim=1), biases, logits)


class _Reader(Visitor):
    """Keeps residual streams, heads and MLPs at the position read, each [rows, ...]."""

    def __init__(self, model: Model, batch: CounterfactualBatch) -> None:
        self.model = model
        self.batch = batch
        self.streams: list[Tensor] = []
        self.heads: list[Tensor] = []
        self.mlps: list[Tensor] = []

    def block(self, layer: int, site: Site) -> None:
        """Keep what the block reads."""
        self.streams.append(self._read(site.input))

    def attention_output(self, layer: int, site: Site) -> None:
        """Keep what the heads write, in the terms of the output weight."""
        self.heads.append(self._read(live_heads(self.model, layer, site)))

    def mlp_written(self, layer: int, site: Site) -> None:
        """Keep what the MLP writes."""
        self.mlps.append(self._read(site.output))

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        """Keep what the final norm reads."""
        self.streams.append(residual[:, 0].detach())
        return output

    def _read(self, values: Tensor) -> Tensor:
        return self.batch.rows_read(values)[:, 0].detach()
