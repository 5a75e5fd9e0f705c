"""What one point of a path says of prompts: loss, metric, and whether the most likely token is an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mechshift_core.attribution import CounterfactualBatch
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_patching
from mechshift_core.execution.batches import Rows
from mechshift_core.metrics import NO_TOKEN
from mechshift_core.models.precision import widened
from mechshift_core.models.weight_path import WeightPath

Floats = npt.NDArray[np.float64]


def read_point(
    path: WeightPath,
    weights: Mapping[str, Tensor],
    groups: Sequence[tuple[Rows, CounterfactualBatch]],
    examples: int,
    rows: int | None,
    halvings: list[int],
) -> dict[str, Floats]:
    """`loss`, `metric` and `correct` of every example, [examples] each.

    Args:
        path: The path.
        weights: Those of the point.
        groups: What is read of the examples, as batches.
        examples: Number of examples.
        rows: Sequences that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.
    """
    found = {name: np.zeros(examples) for name in ("loss", "metric", "correct")}
    for group, batch in groups:
        loss, metric, right = _of_batch(path, weights, batch, rows, halvings)
        shares = np.array(group.weights)
        np.add.at(found["loss"], group.numbers, shares * loss)
        np.add.at(found["metric"], group.numbers, shares * metric)
        np.add.at(found["correct"], group.numbers, np.array(group.last) * right)
    return found


def _of_batch(
    path: WeightPath, weights: Mapping[str, Tensor], batch: CounterfactualBatch, rows: int | None, halvings: list[int]
) -> Floats:
    """Loss, metric and whether the answer is right, [3, rows]."""

    def compute(part: slice) -> Floats:
        own = batch.rows(part).to(path.read_as.device)
        logits = own.rows_read(path.logits(weights, own.clean_ids, own.attention_mask))[:, 0]
        known = own.answer_ids != NO_TOKEN
        answers = widened(logits).log_softmax(-1).gather(1, own.answer_ids.clamp(min=0))
        loss = -answers.masked_fill(~known, -torch.inf).logsumexp(-1)
        right = (logits.argmax(-1, keepdim=True) == own.answer_ids).any(1)
        return torch.stack([loss.double(), own.measure(logits).double(), right.double()]).cpu().numpy()

    size = rows or sequences_for_patching(path.read_as, batch.clean_ids.shape[1])
    return np.concatenate(list(in_batches(len(batch), Batching(size, halvings), compute)), axis=1)
