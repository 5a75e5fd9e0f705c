"""One way through a model inside an nnsight trace: every module that attribution reads or changes, in running order."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.models.load import Model
from mechshift_core.models.padding import padding

Site = Any
"""A module of the traced model; `input` and `output` can be read, `output` can be set."""


class Visitor:
    """What is done on the way; each method can do nothing. Sites must be read in the order of the methods."""

    def embedding(self, site: Site) -> None:
        """The token embedding."""

    def block(self, layer: int, site: Site) -> None:
        """The block, whose input is the residual stream."""

    def attention_norm(self, layer: int, site: Site) -> None:
        """The norm whose input is the residual stream that the heads read."""

    def projection(self, layer: int, path: str, site: Site) -> None:
        """A projection to queries, keys or values (several of them where fused)."""

    def attention_output(self, layer: int, site: Site) -> None:
        """The output projection, whose input is the concatenated head outputs."""

    def attention_written(self, layer: int, site: Site) -> None:
        """The module whose output is added to the residual stream for the heads."""

    def mlp_norm(self, layer: int, site: Site) -> None:
        """The norm whose input is the residual stream that the MLP reads."""

    def mlp_written(self, layer: int, site: Site) -> None:
        """The module whose output is added to the residual stream for the MLP."""

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        """The final norm's input and output at the position read, [rows, 1, hidden]; returns what the head reads."""
        return output

    def head(self, site: Site) -> None:
        """The head, whose output are logits at the position read, [rows, 1, vocabulary], before they are capped."""


def walk(model: Model, batch: CounterfactualBatch, visitor: Visitor) -> Tensor:
    """Visit a traced model in running order; to be called inside of a trace.

    Logits are computed at the position read only: a vocabulary is wide.

    Returns:
        Logits there, [rows, vocabulary].
    """
    declared = model.view.declaration
    net: Any = model.net
    visitor.embedding(attrgetter(declared.embedding)(net))
    modules = declared.modules
    for layer, block in enumerate(attrgetter(declared.blocks)(net)):
        visitor.block(layer, block)
        visitor.attention_norm(layer, attrgetter(declared.attention_norm)(block))
        for path in modules:
            visitor.projection(layer, path, attrgetter(path)(block))
        visitor.attention_output(layer, attrgetter(declared.attention_output)(block))
        written = declared.attention_post_norm or declared.attention_output
        visitor.attention_written(layer, attrgetter(written)(block))
        visitor.mlp_norm(layer, attrgetter(declared.mlp_norm)(block))
        visitor.mlp_written(layer, attrgetter(declared.mlp_post_norm or declared.mlp)(block))
    final = attrgetter(declared.final_norm)(net)
    residual, output = batch.rows_read(final.input), batch.rows_read(final.output)
    head = attrgetter(declared.head)(net)
    head.input = visitor.final_norm(residual, output)
    visitor.head(head)
    logits: Tensor = net.output.logits[:, 0]
    return logits


def traced(model: Model, batch: CounterfactualBatch, ids: Tensor) -> Any:
    """A trace of the model on token ids, [copies x examples, positions], padded as the batch is."""
    net: Any = model.net
    mask = None if batch.attention_mask is None else batch.attention_mask.repeat(len(ids) // len(batch), 1)
    return net.trace(input_ids=ids, use_cache=False, **padding(mask, model.device))
