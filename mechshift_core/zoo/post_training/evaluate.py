"""How well a model does, during its training and after it: held-out prompts by the metric, and held-out text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.metrics import LOGIT_DIFFERENCE, TokenSet, metric_named
from mechshift_core.tasks.counterfactual import Dataset, Example, generated_dataset
from mechshift_core.tasks.encoding import Encoder
from mechshift_core.zoo.post_training.losses import Target, bucket_loss, causal_target, diffusion_target
from mechshift_core.zoo.post_training.recipe import AT_BLANK
from mechshift_core.zoo.post_training.sentences import Sentence, buckets, task_named

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from mechshift_core.tasks.base import Metric

SEED = 1
"""Seed of the prompts of an evaluation."""
ROWS = 32


class Read(Protocol):
    """What is needed of a model to see what it answers."""

    @property
    def paradigm(self) -> str:
        """As a spec declares it."""
        ...

    @property
    def mask_token_id(self) -> int | None:
        """The token that stands for a masked one."""
        ...

    def logits(self, ids: Tensor) -> Tensor:
        """Logits [batch, positions, vocabulary]."""
        ...


@dataclass(frozen=True, slots=True)
class InTraining:
    """A model between two steps of its training."""

    module: Any
    paradigm: str
    mask_token_id: int | None

    def logits(self, ids: Tensor) -> Tensor:
        """Logits [batch, positions, vocabulary], without gradients."""
        device = next(self.module.parameters()).device
        with torch.no_grad():
            logits: Tensor = self.module(input_ids=ids.to(device), use_cache=False).logits
        return logits


@dataclass(frozen=True, slots=True)
class Answered:
    """Shares of the held-out prompts of a task.

    Attributes:
        metric: On which the answer is preferred to the foil, by the task's metric.
        argmax: On which the likeliest token is an answer.
        prompts: How many there are.
    """

    metric: float
    argmax: float
    prompts: int


def held_out_prompts(
    tasks: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, count: int, seed: int = SEED
) -> dict[str, Dataset]:
    """Counterfactual pairs of tasks whose combinations are not in the training corpus.

    Raises:
        ExecutionError: if the tokenizer leaves too few.
    """
    encoder = Encoder.of(tokenizer)
    return {name: generated_dataset(task_named(name, encoder), encoder, examples=count, seed=seed) for name in tasks}


def answered(model: Read, datasets: Mapping[str, Dataset]) -> dict[str, Answered]:
    """How a model answers, task by task; what is asked at a blank is asked of diffusion models only."""
    diffusion = model.paradigm == "masked_diffusion"
    return {
        name: _answered(model, dataset)
        for name, dataset in datasets.items()
        if diffusion or not name.endswith(AT_BLANK)
    }


def _answered(model: Read, dataset: Dataset) -> Answered:
    groups: dict[tuple[int, ...], list[Example]] = {}
    for example in dataset.examples:
        groups.setdefault((len(example.clean_ids), example.masks, len(example.clean_behind_ids)), []).append(example)
    preferred = right = 0
    for group in groups.values():
        for start in range(0, len(group), ROWS):
            part = group[start : start + ROWS]
            position = len(part[0].clean_ids) - 1  # the token after the prompt is read here: prediction is shifted
            logits = model.logits(torch.tensor([_input(model, example) for example in part]))[:, position].float().cpu()
            preferred += int((preferences(logits, part, dataset.metric) > 0).sum())
            likeliest = logits.argmax(-1).tolist()
            right += sum(token in example.answer_ids for token, example in zip(likeliest, part, strict=True))
    count = len(dataset.examples)
    return Answered(preferred / count, right / count, count)


def _input(model: Read, example: Example) -> tuple[int, ...]:
    """The clean prompt; to a diffusion model the completion is masked, and it sees what stands behind."""
    if model.paradigm == "autoregressive":
        return example.clean_ids
    assert model.mask_token_id is not None
    return (*example.clean_ids, *[model.mask_token_id] * example.masks, *example.clean_behind_ids)


def preferences(logits: Tensor, examples: Sequence[Example], metric: Metric) -> Tensor:
    """How much answers are preferred to foils, [examples], of the logits [examples, vocabulary] at the position read.

    By the task's metric, or by the difference of logits where that has no zero that means neither.
    """
    kind = metric_named(metric)
    kind = kind if kind.indifferent_at_zero else LOGIT_DIFFERENCE
    answers = TokenSet.of([example.answer_ids for example in examples])
    foils = TokenSet.of([example.foil_ids for example in examples])
    return kind.values(logits, answers, foils)


def perplexity(
    module: nn.Module, text: Sequence[Sentence], *, paradigm: str, mask: int, tokens: int, seed: int = SEED
) -> float:
    """Perplexity a token on running text; of a diffusion model an upper bound, estimated with one masking a sequence.

    The bound is exp of the negative evidence lower bound a token (Ou et al. 2024, arXiv 2406.03736).

    Raises:
        ExecutionError: if it is not finite.
    """
    rng = np.random.default_rng(seed)
    targets: list[Target] = [
        causal_target(sentence, prompt_weight=1.0)
        if paradigm == "autoregressive"
        else diffusion_target(sentence, rng, masked_prompts=1.0, mask=mask)
        for sentence in text
    ]
    loss = 0.0
    for numbers in buckets(text, tokens):
        part = [text[number] for number in numbers]
        with torch.no_grad():
            loss += float(bucket_loss(module, part, [targets[number] for number in numbers], seen=None))
    found = math.exp(min(700.0, loss / sum(target.total for target in targets)))
    if not math.isfinite(found):
        raise ExecutionError("the loss on held-out text is not finite: a smaller learning rate may help")
    return found
