"""Counterfactual batches and the metric that is read from their logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from mechshift_core.metrics import LOGIT_DIFFERENCE, METRICS, NO_TOKEN, MetricKind, TokenSet
from mechshift_core.options import listing, suggestion

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from mechshift_core.models.load import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterfactualBatch:
    """Clean and corrupted prompts of equal length, and what tells their answers apart.

    Args:
        clean_ids: Token ids, [examples, positions]; `corrupt_ids` alike.
        answer_ids: One answer token per example, [examples], or a set of them, [examples, set], padded with -1. A token
            that is in a set twice counts once.
        foil_ids: What the answers are held against, like `answer_ids`.
        position: Where the logits are read: one index for all examples, or one each, [examples]; negative counts from
            the end of the row, padding included. (A shifted model's logits at i-1 predict token i.)
        attention_mask: [examples, positions], 1 where there is a token and 0 where there is padding, at the start or
            at the end of a row; None where nothing is padded. What is computed is what the prompts alone would give.
        metric: Name of a registered metric, or a metric. `logit_difference` is the mean logit of the answers minus that
            of the foils, `probability_difference` the probability of all answers minus that of all foils, and
            `log_probability` the natural logarithm of the probability of all answers.
        kept: Where the examples come from a longer list, their numbers in it, [examples]; see :meth:`from_text`.

    Raises:
        ValueError: if shapes disagree, tokens are missing or no token ids, padding is within a prompt or is read, or
            the metric is not known.
    """

    clean_ids: Tensor
    corrupt_ids: Tensor
    answer_ids: Tensor
    foil_ids: Tensor
    position: int | Tensor = -1
    attention_mask: Tensor | None = None
    metric: str | MetricKind = LOGIT_DIFFERENCE.name
    kept: Tensor | None = None

    @classmethod
    def from_text(
        cls,
        model: Model,
        clean: Sequence[str],
        corrupt: Sequence[str],
        answers: Sequence[str | Sequence[str]],
        distractors: Sequence[str | Sequence[str]],
        *,
        tokenizer: PreTrainedTokenizerBase | str | Path | None = None,
        metric: str | MetricKind = LOGIT_DIFFERENCE.name,
        delimiter: str = " ",
        add_bos_token: bool | None = None,
        unusable: Literal["drop", "refuse"] = "drop",
    ) -> CounterfactualBatch:
        """A batch for one model from prompts as text, prepared as a study prepares a data set.

        Prompts are tokenised from their beginning on, with what the tokenizer puts before a text. Prompts of different
        length are padded. A masked diffusion model sees the answer as masks behind the prompt. An answer and a
        distractor of several tokens are compared at the first, where they differ; a warning says so.

        Examples that a study would drop are dropped with a warning that counts the reasons: another number of tokens
        in the clean than in the corrupted prompt, the same prompt twice, a word that is not in the vocabulary, an
        answer that is its distractor, or of a set of answers one of several tokens. :attr:`kept` are the numbers of
        the others.

        Args:
            model: As :func:`.load_model` gives it.
            clean: Clean prompts, up to the answer; `corrupt` the corrupted ones, one each.
            answers: What rightly follows each clean prompt: one text, or a list of texts of one token each.
            distractors: What the answers are held against, likewise.
            tokenizer: Of Transformers, or its folder, or `hf:ORG/NAME`, where the model has none of its own.
            metric: Name of a registered metric, or a metric.
            delimiter: What stands between prompt and answer where neither brings a space.
            add_bos_token: Whether prompts begin with the tokenizer's beginning-of-sequence token; by default as the
                tokenizer does it.
            unusable: `refuse` makes examples that would be dropped an error.

        Returns:
            The batch, read at the position at which this model predicts the answer.

        Raises:
            ValueError: if the lists are empty or of different lengths, an entry is no text or empty, no example can be
                used, or the model has no tokenizer or, being a masked diffusion model, no mask token.
            ExecutionError: if the tokenizer can't be read, or what it puts before a text can't be told.
        """
        from mechshift_core.text_batches import batch_from_text

        return batch_from_text(
            model,
            clean,
            corrupt,
            answers,
            distractors,
            tokenizer=tokenizer,
            metric=metric,
            delimiter=delimiter,
            add_bos_token=add_bos_token,
            unusable=unusable,
        )

    def __repr__(self) -> str:
        examples, positions = self.clean_ids.shape
        padded = ", padded" if self.padded else ""
        metric = self.metric if isinstance(self.metric, str) else self.metric.name
        return f"CounterfactualBatch({examples} examples x {positions} positions{padded}, {metric})"

    def __post_init__(self) -> None:
        if not isinstance(self.metric, MetricKind) and self.metric not in METRICS:
            expected = f"expected {listing(METRICS)}, got {self.metric!r}"
            raise ValueError(f"metric: {expected}{suggestion(self.metric, METRICS)}")
        for name in ("clean_ids", "corrupt_ids", "answer_ids", "foil_ids"):
            object.__setattr__(self, name, whole_numbers(name, getattr(self, name)))
        if self.clean_ids.ndim != 2 or self.clean_ids.shape != self.corrupt_ids.shape:
            raise ValueError(
                "clean_ids and corrupt_ids must both be [examples, positions]; "
                f"they are {list(self.clean_ids.shape)} and {list(self.corrupt_ids.shape)}"
            )
        length = self.clean_ids.shape[1]
        if not self.clean_ids.numel():
            raise ValueError(f"clean_ids and corrupt_ids hold no tokens; they are {list(self.clean_ids.shape)}")
        position = whole_numbers("position", self.position)
        if position.ndim > 1 or (position.ndim == 1 and len(position) not in (1, len(self))):
            raise ValueError(f"position must be one index, or [{len(self)}], one each; it is {list(position.shape)}")
        position = position.expand(len(self))
        if bool(((position < -length) | (position >= length)).any()):
            raise ValueError(f"position {self.position} is outside the {length} positions of the prompts")
        object.__setattr__(self, "position", torch.where(position < 0, position + length, position))
        if self.attention_mask is not None:
            object.__setattr__(self, "attention_mask", self._checked_mask(self.attention_mask))
        if self.kept is not None:
            object.__setattr__(self, "kept", whole_numbers("kept", self.kept))
            if self.kept.shape != (len(self),):
                raise ValueError(f"kept must be [{len(self)}], one number an example; it is {list(self.kept.shape)}")
        for name in ("clean_ids", "corrupt_ids"):
            self._check_prompts(name)
        for name in ("answer_ids", "foil_ids"):
            self._check_answers(name)
        width = max(self.answer_ids.shape[1], self.foil_ids.shape[1])
        answers, foils = (
            torch.nn.functional.pad(ids, (0, width - ids.shape[1]), value=NO_TOKEN).sort(dim=1).values
            for ids in (self.answer_ids, self.foil_ids)
        )
        _refuse("answer_ids and foil_ids are the same tokens: nothing is told apart", (answers == foils).all(1))

    def _checked_mask(self, given: Tensor) -> Tensor:
        mask = torch.as_tensor(given)
        if mask.shape != self.clean_ids.shape:
            raise ValueError(
                f"attention_mask must be {list(self.clean_ids.shape)}, like clean_ids; it is {list(mask.shape)}"
            )
        if bool(((mask != 0) & (mask != 1)).any()):
            raise ValueError("attention_mask must be 1 where there is a token and 0 where there is padding")
        mask = mask.long()
        _refuse("attention_mask has no token at all", mask.sum(1) == 0)
        runs = (mask.diff(dim=1) == 1).sum(1) + mask[:, 0]
        _refuse("attention_mask has padding between tokens; it may be at the start or at the end", runs > 1)
        read = mask.gather(1, torch.as_tensor(self.position)[:, None])[:, 0]
        _refuse(
            "the position read is padding; give the column of a token, one an example, e.g. "
            "position=attention_mask.sum(1) - 1 where padding is on the right",
            read == 0,
        )
        return mask

    def _check_prompts(self, name: str) -> None:
        """Padding is whatever it is; it becomes token 0, which every model has."""
        ids: Tensor = getattr(self, name)
        if self.attention_mask is not None:
            ids = torch.where(self.attention_mask == 0, 0, ids)
            object.__setattr__(self, name, ids)
        _refuse(f"{name} has a number below 0, which is no token id (attention_mask says what is padding)", ids < 0)

    def _check_answers(self, name: str) -> None:
        ids: Tensor = getattr(self, name)
        ids = ids[:, None] if ids.ndim == 1 else ids
        if ids.ndim != 2 or len(ids) != len(self):
            raise ValueError(f"{name} must be [examples] or [examples, set]; it is {list(ids.shape)}")
        _refuse(f"{name} has a number below 0 other than {NO_TOKEN}, which pads a set", ids < NO_TOKEN)
        if not bool((ids != NO_TOKEN).any(1).all()):
            raise ValueError(f"{name} has an example without any token")
        in_order, places = ids.sort(dim=1, stable=True)
        twice = torch.zeros_like(ids, dtype=torch.bool)
        twice.scatter_(1, places[:, 1:], in_order[:, 1:] == in_order[:, :-1])
        object.__setattr__(self, name, ids.masked_fill(twice, NO_TOKEN))

    def __len__(self) -> int:
        return len(self.clean_ids)

    @property
    def padded(self) -> bool:
        """Whether any position is padding."""
        return self.attention_mask is not None and bool((self.attention_mask == 0).any())

    @property
    def present(self) -> Tensor:
        """Whether a position holds a token, bool, [examples, positions]."""
        mask = self.attention_mask
        return torch.ones_like(self.clean_ids, dtype=torch.bool) if mask is None else mask != 0

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
            kept=None if self.kept is None else self.kept[part],
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
            kept=None if self.kept is None else self.kept.to(device),
        )

    def rows_read(self, values: Tensor) -> Tensor:
        """What is at the position read, [copies x examples, 1, ...], of values [copies x examples, positions, ...]."""
        assert isinstance(self.position, Tensor)
        copies = len(values) // len(self)
        return values[torch.arange(len(values), device=values.device), self.position.repeat(copies)].unsqueeze(1)

    def measure(self, logits: Tensor) -> Tensor:
        """Each example's metric, [copies x examples], of logits at the position read, [copies x examples, vocabulary].

        Computed in float32, of float64 logits in float64.

        Raises:
            ExecutionError: if the metric does not give one finite number for each row.
        """
        kind = METRICS[self.metric] if isinstance(self.metric, str) else self.metric
        copies = len(logits) // len(self)
        return kind.values(logits, TokenSet(self.answer_ids).repeated(copies), TokenSet(self.foil_ids).repeated(copies))


def whole_numbers(name: str, values: object) -> Tensor:
    """Values as int64.

    Raises:
        ValueError: if they are no whole numbers, with the name of the argument.
    """
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be whole numbers in rows of equal length: {error}") from error
    whole = tensor.long() if tensor.dtype != torch.bool and not tensor.is_complex() else None
    if whole is None or (tensor.is_floating_point() and not bool((whole == tensor).all())):
        raise ValueError(f"{name} must be whole numbers; it holds {str(tensor.dtype).removeprefix('torch.')} numbers")
    return whole


def _refuse(what: str, wrong: Tensor) -> None:
    """Refuse a batch of which some examples are wrong, [examples] or [examples, ...]."""
    rows = wrong.reshape(len(wrong), -1).any(1).nonzero()[:, 0].tolist() if len(wrong) else []
    if rows:
        shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise ValueError(f"{what} (example {shown})")
