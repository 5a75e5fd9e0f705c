"""Whether a model can read a batch: token ids that it has, and no more positions than it knows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.errors import ExecutionError
from mechshift_core.models.checks import overflow_advice
from mechshift_core.models.load import Model


def check_readable(model: Model, batch: CounterfactualBatch) -> None:
    """Refuse a batch that a model can't read.

    Raises:
        ValueError: for a token id beyond the vocabulary, with its example, or a prompt that is too long.
    """
    view, config = model.view, _config(model)
    vocabulary = int(view.module(view.declaration.embedding).weight.shape[0])
    told_apart = int(view.module(view.declaration.head).weight.shape[0])
    for name, size in (
        ("clean_ids", vocabulary), ("corrupt_ids", vocabulary), ("answer_ids", told_apart), ("foil_ids", told_apart),
    ):  # fmt: skip
        ids: Tensor = getattr(batch, name)
        if int(ids.max()) >= size:
            example = int((ids >= size).any(1).nonzero()[0, 0])
            raise ValueError(
                f"{name}: example {example} has the token id {int(ids[example].max())}, but {model.source} has "
                f"{size} tokens (0 to {size - 1})"
            )
    known = getattr(config, "max_position_embeddings", None)
    longest = int(batch.present.sum(1).max())
    if isinstance(known, int) and longest > known:
        raise ValueError(f"clean_ids: a prompt has {longest} tokens, but {model.source} reads {known}")


def check_finite(model: Model, what: str, *values: Tensor) -> None:
    """Refuse numbers that are not finite.

    Raises:
        ExecutionError: saying what is not finite, and what to do where the number format is to blame.
    """
    if not all(bool(torch.isfinite(part).all()) for part in values):
        dtype = next(model.module.parameters()).dtype
        raise ExecutionError(f"{model.source}: {what} is not finite{overflow_advice(dtype)}")


def _config(model: Model) -> Any:
    return model.module.config
