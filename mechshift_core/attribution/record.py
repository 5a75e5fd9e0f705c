"""What every source of a run writes, recorded through nnsight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened

EVERY_ROW = slice(None)


@dataclass(frozen=True, slots=True)
class Activations:
    """What the sources of a run wrote, in the terms of their weights.

    Attributes:
        embedding: Token embeddings, [rows, positions, hidden].
        heads: Per layer, what the output projection reads, [rows, positions, heads, head_size]; scaled, where a norm
            follows it (see :meth:`ArchitectureView.head_scale`).
        mlps: Per layer, what the MLP writes, [rows, positions, hidden].
    """

    embedding: Tensor
    heads: list[Tensor]
    mlps: list[Tensor]

    def map(self, change: Callable[[Tensor], Tensor]) -> Activations:
        """Every tensor changed alike."""
        return Activations(change(self.embedding), [change(z) for z in self.heads], [change(m) for m in self.mlps])

    def any(self) -> bool:
        """Whether anything is written at all."""
        return any(bool(values.any()) for values in (self.embedding, *self.heads, *self.mlps))


@dataclass(frozen=True, slots=True)
class Recording:
    """A run.

    Attributes:
        activations: What its sources wrote.
        metric: The metric of each row, [rows].
        predicted: The most likely token at the position read, [rows].
    """

    activations: Activations
    metric: Tensor
    predicted: Tensor

    def part(self, rows: slice) -> Recording:
        """Some of the rows."""
        return Recording(self.activations.map(lambda x: x[rows]), self.metric[rows], self.predicted[rows])


class Recorder(Visitor):
    """Keeps what sources write; of some rows only, where given."""

    def __init__(self, model: Model, rows: slice = EVERY_ROW) -> None:
        self.model = model
        self.rows = rows
        self.embeddings: list[Tensor] = []
        self.heads: list[Tensor] = []
        self.mlps: list[Tensor] = []

    def embedding(self, site: Site) -> None:
        """Keep the token embeddings."""
        self.keep_embedding(site.output)

    def attention_output(self, layer: int, site: Site) -> None:
        """Keep what the heads write."""
        self.keep_heads(live_heads(self.model, layer, site))

    def mlp_written(self, layer: int, site: Site) -> None:
        """Keep what the MLP writes."""
        self.keep_mlp(site.output)

    def keep_embedding(self, written: Tensor) -> None:
        """Keep the token embeddings, [rows, positions, hidden]."""
        self.embeddings.append(written[self.rows].detach())

    def keep_heads(self, heads: Tensor) -> None:
        """Keep a layer's heads, [rows, positions, heads, head_size]."""
        self.heads.append(heads[self.rows].detach())

    def keep_mlp(self, written: Tensor) -> None:
        """Keep what a layer's MLP writes, [rows, positions, hidden]."""
        self.mlps.append(written[self.rows].detach())

    def recording(self, batch: CounterfactualBatch, logits: Tensor) -> Recording:
        """What was kept, with the metric of its rows."""
        logits = logits[self.rows].detach()
        activations = Activations(self.embeddings[0], self.heads, self.mlps)
        return Recording(activations, batch.measure(logits), logits.argmax(-1))


def live_heads(model: Model, layer: int, site: Site) -> Tensor:
    """What each head writes in the terms of its output weight, [rows, positions, heads, head_size], inside a trace."""
    z: Tensor = site.input
    z = z.unflatten(-1, (model.shape.heads, model.shape.head_size))
    if model.view.declaration.attention_post_norm is None:
        return z
    scale = model.view.head_scale(layer, site.output)
    assert scale is not None
    return (widened(z) * scale[..., None]).to(z.dtype)


def record(model: Model, batch: CounterfactualBatch, ids: Tensor) -> Recording:
    """Run token ids, [copies x examples, positions], and keep what every source writes."""
    recorder = Recorder(model)
    with torch.no_grad(), traced(model, batch, ids):
        logits = walk(model, batch, recorder)
        found: Recording = nnsight.save(recorder.recording(batch, logits))
    return found
