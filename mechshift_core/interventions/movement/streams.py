"""What two models are compared by on the same prompts: residual streams by token role, and the prediction."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.walk import traced
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened


@dataclass(frozen=True, slots=True)
class Streams:
    """What is read of some clean prompts, on the CPU; float32, of a model in float64 float64.

    Attributes:
        streams: What each block and, last, the final norm reads: at the position read, then the mean over the tokens of
            each role, [examples, layers + 1, 1 + roles, hidden]; 0 where no token has the role.
        tokens: Number of tokens of each, [examples, 1 + roles].
        log_probs: Natural logarithm of the predicted probabilities at the position read, [examples, vocabulary].
    """

    streams: Tensor
    tokens: Tensor
    log_probs: Tensor


def read_streams(
    model: Model,
    batch: CounterfactualBatch,
    roles: Tensor | None,
    *,
    count: int,
    rows: int | None = None,
    halvings: list[int] | None = None,
) -> Streams:
    """The residual streams and predictions of a model on clean prompts.

    Args:
        model: A loaded model.
        batch: Examples; padding has no role, whatever it is given.
        roles: Number of the role of every position, [examples, positions]; None for the position read alone.
        count: Number of roles.
        rows: Examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Raises:
        ValueError: for a batch that the model can't read.
        ExecutionError: if a number is not finite.
        MemoryError: if a single example does not fit into memory.
    """
    check_readable(model, batch)
    batching = Batching(
        rows or sequences_for_gradients(model, batch.clean_ids.shape[1]), [] if halvings is None else halvings
    )

    def compute(part: slice) -> Streams:
        of_part = batch.rows(part).to(model.device)
        return _of_part(model, of_part, None if roles is None else roles[part].to(model.device), count)

    parts = list(in_batches(len(batch), batching, compute))
    return Streams(*(torch.cat([getattr(part, name) for part in parts]) for name in ("streams", "tokens", "log_probs")))


def _of_part(model: Model, batch: CounterfactualBatch, roles: Tensor | None, count: int) -> Streams:
    groups = _groups(batch, roles, count)
    mean = groups / groups.sum(-1, keepdim=True).clamp(min=1)
    declared = model.view.declaration
    net: Any = model.net

    def grouped(values: Tensor) -> Tensor:
        wide = widened(values)
        return mean.to(wide.dtype) @ wide

    with torch.no_grad(), traced(model, batch, batch.clean_ids):
        found = [grouped(block.input) for block in attrgetter(declared.blocks)(net)]
        final = attrgetter(declared.final_norm)(net)
        found.append(grouped(final.input))
        attrgetter(declared.head)(net).input = batch.rows_read(final.output)
        streams = nnsight.save(torch.stack(found, dim=1))
        log_probs = nnsight.save(widened(net.output.logits[:, 0]).log_softmax(-1))
    check_finite(model, "the residual stream or the prediction", streams, log_probs)
    return Streams(streams.cpu(), groups.sum(-1).cpu(), log_probs.cpu())


def _groups(batch: CounterfactualBatch, roles: Tensor | None, count: int) -> Tensor:
    """Which positions are in each group, the position read and then each role, [examples, 1 + roles, positions]."""
    assert isinstance(batch.position, Tensor)
    one_hot = torch.nn.functional.one_hot
    read = one_hot(batch.position, batch.clean_ids.shape[1])[:, None]
    if roles is None:
        return read.float()
    of_role = (one_hot(roles, count) * batch.present[:, :, None]).transpose(1, 2)
    return torch.cat([read, of_role], dim=1).float()
