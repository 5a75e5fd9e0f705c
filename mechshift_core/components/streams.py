"""What the residual stream holds at the position read, layer by layer."""

from __future__ import annotations

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened


class _StreamReader(Visitor):
    """Keeps the residual stream at the position read, [rows, hidden], at each block's input and the final norm's."""

    def __init__(self, batch: CounterfactualBatch) -> None:
        self.batch = batch
        self.streams: list[Tensor] = []

    def block(self, layer: int, site: Site) -> None:
        self.streams.append(self.batch.rows_read(site.input).squeeze(1))

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        self.streams.append(residual.squeeze(1))
        return output


def streams_read(
    model: Model, batch: CounterfactualBatch, *, rows: int | None = None, halvings: list[int] | None = None
) -> Tensor:
    """The residual streams of clean prompts at the position read.

    Args:
        model: A loaded model.
        batch: Examples.
        rows: Examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Returns:
        [examples, layers + 1, hidden], on the CPU, float32 or, as the model, float64: what each block reads and,
        last, what the final norm reads.

    Raises:
        ValueError: for a batch that the model can't read.
        ExecutionError: if a number is not finite.
    """
    check_readable(model, batch)
    batching = Batching(
        rows or sequences_for_gradients(model, batch.clean_ids.shape[1]), [] if halvings is None else halvings
    )

    def compute(part: slice) -> Tensor:
        of_part = batch.rows(part).to(model.device)
        reader = _StreamReader(of_part)
        with torch.no_grad(), traced(model, of_part, of_part.clean_ids):
            walk(model, of_part, reader)
            found: Tensor = nnsight.save(widened(torch.stack(reader.streams, dim=1)))
        check_finite(model, "the residual stream", found)
        return found.cpu()

    return torch.cat(list(in_batches(len(batch), batching, compute)))
