"""Counterfactual batches and the metric that is read from their logits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from mechshift_core.options import check_option

MetricKind = Literal["logit_difference", "probability_difference"]
NO_TOKEN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualBatch:
    """Clean and corrupted prompts of equal length, and what tells their answers apart.

    Args:
        clean_ids: Token ids, [examples, positions]; `corrupt_ids` alike.
        answer_ids: One answer token per example, [examples], or a set of them, [examples, set], padded with -1.
        foil_ids: What the answers are held against, like `answer_ids`.
        position: Where the logits are read: one index for all examples, or one each, [examples]; negative counts from
            the end. (A shifted model's logits at i-1 predict token i.)
        attention_mask: [examples, positions], 0 where a position is padding; None where nothing is padded.
        metric: `logit_difference` is the mean logit of the answers minus that of the foils, `probability_difference`
            the probability of all answers minus that of all foils.

    Raises:
        ValueError: if shapes disagree, tokens are missing or the metric is not known.
    """

    clean_ids: Tensor
    corrupt_ids: Tensor
    answer_ids: Tensor
    foil_ids: Tensor
    position: int | Tensor = -1
    attention_mask: Tensor | None = None
    metric: MetricKind = "logit_difference"

    def __post_init__(self) -> None:
        check_option("metric", self.metric, MetricKind)
        for name in ("clean_ids", "corrupt_ids", "answer_ids", "foil_ids"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name), dtype=torch.long))
        if self.clean_ids.ndim != 2 or self.clean_ids.shape != self.corrupt_ids.shape:
            raise ValueError(
                "clean_ids and corrupt_ids must both be [examples, positions]; "
                f"they are {list(self.clean_ids.shape)} and {list(self.corrupt_ids.shape)}"
            )
        for name in ("answer_ids", "foil_ids"):
            ids: Tensor = getattr(self, name)
            ids = ids[:, None] if ids.ndim == 1 else ids
            object.__setattr__(self, name, ids)
            if ids.ndim != 2 or len(ids) != len(self):
                raise ValueError(f"{name} must be [examples] or [examples, set]; it is {list(ids.shape)}")
            if not bool((ids != NO_TOKEN).any(1).all()):
                raise ValueError(f"{name} has an example without any token")
        length = self.clean_ids.shape[1]
        position = torch.as_tensor(self.position, dtype=torch.long).expand(len(self))
        if bool(((position < -length) | (position >= length)).any()):
            raise ValueError(f"position {self.position} is outside the {length} positions of the prompts")
        object.__setattr__(self, "position", torch.where(position < 0, position + length, position))

    def __len__(self) -> int:
        return len(self.clean_ids)

    def rows(self, part: slice | Tensor) -> CounterfactualBatch:
        """The batch of some of the examples."""
        assert isinstance(self.position, Tensor)
        return replace(
            self,
            clean_ids=self.clean_ids[part],
            corrupt_ids=self.corrupt_ids[part],
            answer_ids=self.answer_ids[part],
            foil_ids=self.foil_ids[part],
            position=self.position[part],
            attention_mask=None if self.attention_mask is None else self.attention_mask[part],
        )

    def to(self, device: torch.device) -> CounterfactualBatch:
        """The batch on a device."""
        assert isinstance(self.position, Tensor)
        return replace(
            self,
            clean_ids=self.clean_ids.to(device),
            corrupt_ids=self.corrupt_ids.to(device),
            answer_ids=self.answer_ids.to(device),
            foil_ids=self.foil_ids.to(device),
            position=self.position.to(device),
            attention_mask=None if self.attention_mask is None else self.attention_mask.to(device),
        )

    def rows_read(self, values: Tensor) -> Tensor:
        """What is at the position read, [copies x examples, 1, ...], of values [copies x examples, positions, ...]."""
        assert isinstance(self.position, Tensor)
        copies = len(values) // len(self)
        return values[torch.arange(len(values), device=values.device), self.position.repeat(copies)].unsqueeze(1)

    def measure(self, logits: Tensor) -> Tensor:
        """Each example's metric, [copies x examples], of logits at the position read, [copies x examples, vocabulary].

        Computed in float32.
        """
        copies = len(logits) // len(self)
        values = logits.float().softmax(-1) if self.metric == "probability_difference" else logits
        return self._of(values, self.answer_ids.repeat(copies, 1)) - self._of(values, self.foil_ids.repeat(copies, 1))

    def _of(self, values: Tensor, ids: Tensor) -> Tensor:
        present = ids != NO_TOKEN
        total = (values.gather(1, ids.clamp(min=0)).float() * present).sum(1)
        return total if self.metric == "probability_difference" else total / present.sum(1)
