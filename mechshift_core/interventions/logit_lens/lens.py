"""Logit lens and direct logit attribution: what residual streams and components say about the answer.

The **logit lens** (nostalgebraist 2020) reads a vector of the residual stream as if it were the last one: through the
model's own final norm, output matrix and logit soft-capping. So are read the residual streams `x{l}` (`x{L}`, with L
layers, gives the model's own output), and what each component writes, whatever its size: the norm takes that away.

**Direct logit attribution** keeps the size. With the final norm's scale r frozen at that of the whole residual stream,
the norm is linear, and a component that writes c adds

    r (c - mean(c) [LayerNorm only]) * w . (U_answers - U_foils)

to the difference between the mean logit of the answers and that of the foils. What no component writes (biases of the
attention outputs, the final norm and the output matrix) is the last entry, `bias`. The sum is the difference itself: of
logits before soft-capping where a model caps them (Gemma 2), since a cap is no sum. Where a norm follows the attention
output, heads are split at the scale of the whole output. Both are checked on every batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from mechshift_core.attribution.agreement import TOLERANCE
from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.readable import check_readable
from mechshift_core.components.written import Written, record_written
from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Graph
from mechshift_core.metrics import NO_TOKEN
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened
from mechshift_core.options import Count, checked

BIAS = "bias"
LOGITS_AT_ONCE = 2**24
"""Logits that are projected at once."""


@dataclass(frozen=True, slots=True)
class Readout:
    """Vectors of the residual stream, each read through the lens; every field is [rows, vectors].

    Attributes:
        log_prob: Natural logarithm of the probability of all answers together, and `foil_log_prob` of all foils.
        rank: Rank of the most likely answer, 1 is the first; tokens that are as likely do not come before it.
        entropy: Entropy of the distribution in nats, 0 to ln(vocabulary).
        top: The most likely token.
    """

    log_prob: Tensor
    foil_log_prob: Tensor
    rank: Tensor
    entropy: Tensor
    top: Tensor


@dataclass(frozen=True, slots=True)
class Lens:
    """What is read of a batch.

    Attributes:
        streams: The residual streams `x0` to `x{L}` at the position read, [rows, L + 1].
        components: What the sources of the graph write there, in its order, [rows, sources].
        direct: Direct logit attribution of the sources, then of the biases, [rows, sources + 1].
    """

    streams: Readout
    components: Readout
    direct: Tensor


def lens_names(model: Model) -> list[str]:
    """What the columns of `direct` are called: the sources of the graph and `bias`."""
    return [*(source.name for source in Graph.of(model.shape).sources), BIAS]


@checked
def read_lens(
    model: Model, batch: CounterfactualBatch, *, rows: Count | None = None, halvings: list[int] | None = None
) -> Lens:
    """Read the clean prompts of a batch at the position where the model predicts the answer.

    Args:
        model: A loaded model.
        batch: Examples.
        rows: Examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Returns:
        The lens, on the CPU.

    Raises:
        ExecutionError: if direct logit attributions do not sum to the difference of logits, or the last residual stream
            does not give the model's logits, by more than rounding.
        ValueError: for a batch that the model can't read.
        MemoryError: if a single example does not fit into memory.
    """
    check_readable(model, batch)
    batching = Batching(rows or sequences_for_gradients(model, batch.clean_ids.shape[1]))
    parts = list(in_batches(len(batch), batching, lambda part: _read(model, batch.rows(part).to(model.device))))
    if halvings is not None:
        halvings += batching.halvings
    return Lens(
        _joined([part.streams for part in parts]),
        _joined([part.components for part in parts]),
        torch.cat([part.direct for part in parts]),
    )


def _read(model: Model, batch: CounterfactualBatch) -> Lens:
    written = record_written(model, batch)
    streams, last = _project(model, written.streams, batch)
    components, _ = _project(model, written.sources, batch)
    _check_output(model, last, written.logits)
    return Lens(streams, components, _direct(model, written, batch).cpu())


def unembed(model: Model, normed: Tensor) -> Tensor:
    """Logits of what the final norm gives, [..., hidden] -> [..., vocabulary], before any soft-capping."""
    head = model.view.module(model.view.declaration.head)
    logits: Tensor = head(normed.to(head.weight.dtype))
    return widened(logits)


def softcap(model: Model) -> float | None:
    """The bound that the model's logits are soft-capped to, `cap * tanh(logit / cap)`; None where they are not."""
    config: Any = model.module.config
    return getattr(config, "final_logit_softcapping", None)


def _capped(model: Model, logits: Tensor) -> Tensor:
    cap = softcap(model)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _project(model: Model, vectors: Tensor, batch: CounterfactualBatch) -> tuple[Readout, Tensor]:
    """Every vector of [rows, vectors, hidden] through the lens, and the logits of the last one, [rows, vocabulary]."""
    norm = model.view.norm(model.view.declaration.final_norm)
    parts: list[Readout] = []
    logits = torch.empty(0)
    for part in _blocks(vectors, int(model.view.module(model.view.declaration.head).weight.shape[0])):
        logits = _capped(model, unembed(model, norm(part)))
        parts.append(_readout(logits, batch))
    return _joined(parts, dim=1), logits[:, -1]


def _blocks(vectors: Tensor, vocabulary: int) -> Iterator[Tensor]:
    size = max(1, LOGITS_AT_ONCE // (len(vectors) * vocabulary))
    yield from vectors.split(size, dim=1)


def _readout(logits: Tensor, batch: CounterfactualBatch) -> Readout:
    log_probs = logits.log_softmax(-1)
    answers = _of(logits, batch.answer_ids).amax(-1, keepdim=True)
    return Readout(
        log_prob=_of(log_probs, batch.answer_ids).logsumexp(-1).cpu(),
        foil_log_prob=_of(log_probs, batch.foil_ids).logsumexp(-1).cpu(),
        rank=1 + (logits > answers).sum(-1).cpu(),
        entropy=-(log_probs.exp() * log_probs).sum(-1).cpu(),
        top=logits.argmax(-1).cpu(),
    )


def _of(values: Tensor, ids: Tensor) -> Tensor:
    """Values of some tokens, [rows, vectors, set], of [rows, vectors, vocabulary]; -inf where there is no token."""
    index = ids.clamp(min=0)[:, None].expand(-1, values.shape[1], -1)
    return values.gather(-1, index).masked_fill((ids == NO_TOKEN)[:, None], -torch.inf)


def _direct(model: Model, written: Written, batch: CounterfactualBatch) -> Tensor:
    """Direct logit attributions, [rows, sources + 1]."""
    norm = model.view.norm(model.view.declaration.final_norm)
    head = model.view.module(model.view.declaration.head)
    difference = _contrast(head.weight, batch)  # [rows, hidden]
    weighted = difference * widened(norm.weight)
    if norm.centred:
        weighted = weighted - weighted.mean(-1, keepdim=True)
    final = widened(written.streams[:, -1])
    weighted = weighted * norm.scale(final)
    added = widened(torch.cat([written.sources, written.biases[:, None]], dim=1))
    direct = torch.einsum("rcd,rd->rc", added, weighted)
    if norm.bias is not None:
        direct[:, -1] += difference @ widened(norm.bias)
    if head.bias is not None:
        direct[:, -1] += _contrast(head.bias[:, None], batch)[:, 0]
    logits = unembed(model, norm(written.streams[:, -1]))[:, None]
    expected = _mean(logits, batch.answer_ids) - _mean(logits, batch.foil_ids)
    summed = torch.einsum("rcd,rd->r", added.abs(), weighted.abs())  # what rounding is relative to
    _check(
        model,
        (direct.sum(-1) - expected).abs() / summed.clamp(min=1e-6),
        "direct logit attributions do not sum to the logit difference",
    )
    return direct


def _contrast(rows: Tensor, batch: CounterfactualBatch) -> Tensor:
    """Mean of a matrix' rows [vocabulary, width] over the answers minus that over the foils, [examples, width]."""

    def mean(ids: Tensor) -> Tensor:
        values = widened(rows.detach()[ids.clamp(min=0)])
        present = (ids != NO_TOKEN).to(values.dtype)
        return torch.einsum("esd,es->ed", values, present) / present.sum(1)[:, None]

    return mean(batch.answer_ids) - mean(batch.foil_ids)


def _mean(logits: Tensor, ids: Tensor) -> Tensor:
    """Mean logit of some tokens, [rows], of [rows, 1, vocabulary]."""
    present = ids != NO_TOKEN
    return (logits[:, 0].gather(1, ids.clamp(min=0)) * present).sum(1) / present.sum(1)


def _check_output(model: Model, read: Tensor, logits: Tensor) -> None:
    error = (read - widened(logits)).abs().amax(-1) / widened(logits).abs().amax(-1).clamp(min=1e-6)
    _check(model, error, "the last residual stream, read through the lens, does not give the model's logits")


def _check(model: Model, error: Tensor, what: str) -> None:
    """Refuse a model of which a relative error, one an example, is more than rounding."""
    worst = float(error.max())
    if not worst <= TOLERANCE[next(model.module.parameters()).dtype]:
        raise ExecutionError(
            f"{model.source}: {what} (off by {worst:.2g} of its size); the declaration of "
            f"{type(model.module).__name__} in mechshift_core/models/architectures.py does not say all that this "
            "version of it does to its logits"
        )


def _joined(parts: list[Readout], dim: int = 0) -> Readout:
    return Readout(*(torch.cat([getattr(part, one.name) for part in parts], dim=dim) for one in fields(Readout)))
