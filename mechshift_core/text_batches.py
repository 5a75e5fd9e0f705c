"""From prompts as text to a batch for one model, by the code that prepares a data set for a study."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import ValidationError

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.readable import check_readable
from mechshift_core.execution.batches import is_diffusion, to_batch
from mechshift_core.execution.facts import beginning_of
from mechshift_core.metrics import LOGIT_DIFFERENCE, MetricKind
from mechshift_core.models.load import Model, load_tokenizer
from mechshift_core.models.sources import resolve_tokenizer
from mechshift_core.options import checked
from mechshift_core.tasks.account import LISTED
from mechshift_core.tasks.counterfactual import Dataset, Example
from mechshift_core.tasks.custom import TextLine, aligned_lines, unknown_in
from mechshift_core.tasks.encoding import Encoder
from mechshift_core.tasks.unknown import told
from mechshift_core.wording import line_fault

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Unusable = Literal["drop", "refuse"]
_OURS = {"answer": "answers", "foil": "distractors"}
_STACK = 5
"""From where a warning is given to whoever called `CounterfactualBatch.from_text`."""


@checked
def batch_from_text(
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
    unusable: Unusable = "drop",
) -> CounterfactualBatch:
    """See :meth:`.CounterfactualBatch.from_text`."""
    _check_model(model)
    lines = _lines({"clean": clean, "corrupt": corrupt, "answers": answers, "distractors": distractors})
    encoder = _encoder(model, tokenizer, add_bos_token)
    assert encoder.vocabulary is not None
    kept, dropped = aligned_lines(
        enumerate(lines), encoder, vocabulary=encoder.vocabulary, delimiter=delimiter, holes=encoder.holes
    )
    unknown = unknown_in(enumerate(lines), dropped, encoder)
    _tell_dropped(dropped, unknown, of=len(lines), refuse=unusable == "refuse" or not kept)
    examples = tuple(example for _, example in kept)
    _tell_several(examples)
    made = to_batch(model, Dataset("text", LOGIT_DIFFERENCE.name, len(lines), examples), examples)
    batch = replace(made, metric=metric, kept=torch.tensor([number for number, _ in kept]))
    check_readable(model, batch)
    return batch


def _check_model(given: object) -> None:
    if not isinstance(given, Model):
        raise ValueError(f"model: expected a model as load_model gives it, got {type(given).__name__}")


def _lines(columns: Mapping[str, Sequence[str | Sequence[str]]]) -> list[TextLine]:
    """One line of a data set for each example.

    Raises:
        ValueError: for lists of different lengths, empty ones, or what no data set may hold.
    """
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"expected one entry an example in each list, but their lengths differ: {counts}")
    if not lengths["clean"]:
        raise ValueError("clean: expected at least one prompt, got an empty list")
    lines = []
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        keys = dict(zip(("clean", "corrupt", "answer", "foil"), map(_plain, row), strict=True))
        try:
            lines.append(TextLine.model_validate(keys))
        except ValidationError as error:
            key, colon, rest = line_fault(error.errors(), keys).partition(":")
            raise ValueError(f"{_OURS.get(key, key)}[{number}]{colon}{rest}") from error
    return lines


def _plain(value: str | Sequence[str]) -> str | list[str]:
    return str(value) if isinstance(value, str) else [str(one) for one in value]


def _encoder(
    model: Model, tokenizer: PreTrainedTokenizerBase | str | Path | None, add_bos_token: bool | None
) -> Encoder:
    """How this model reads text, as in a study of it alone."""
    found = load_tokenizer(resolve_tokenizer(str(tokenizer))) if isinstance(tokenizer, str | Path) else tokenizer
    found = model.tokenizer if found is None else found
    if found is None:
        raise ValueError(
            f"{model.source} carries no tokenizer; give one as `tokenizer` (of Transformers, a folder, or "
            "hf:ORG/NAME), here or to load_model, or make the batch of token ids"
        )
    if not callable(getattr(found, "get_vocab", None)):
        raise ValueError(
            f"tokenizer: expected one of Transformers, a folder or hf:ORG/NAME, got {type(found).__name__}"
        )
    if is_diffusion(model) and model.mask_token_id is None:
        raise ValueError(
            f"{model.source} is a masked diffusion model without a mask token, so that what it is to fill in can't be "
            "shown to it; give `mask_token` to load_model"
        )
    view = model.view
    vocabulary = int(view.module(view.declaration.embedding).weight.shape[0])
    folder = Path(str(getattr(found, "name_or_path", "")))
    begin = beginning_of(found, add_bos_token, folder=folder, vocabulary=vocabulary, source=model.source)
    holes = frozenset([model.mask_token_id] if is_diffusion(model) and model.mask_token_id is not None else ())
    return Encoder(found, begin, holes, vocabulary)


def _tell_dropped(dropped: Mapping[str, Sequence[int]], unknown: Mapping[str, str], *, of: int, refuse: bool) -> None:
    """Warn of examples that can't be used, or refuse them."""
    count = sum(map(len, dropped.values()))
    if not count:
        return
    reasons = "; ".join(f"{len(numbers)} x {reason} ({_listed(numbers)})" for reason, numbers in dropped.items())
    said = f"{count} of {of} examples can't be used: {reasons}"
    said += f"; not in the vocabulary: {told(unknown)}" if unknown else ""
    if refuse:
        raise ValueError(said)
    warnings.warn(f"{said}. The batch has the others; its `kept` are their numbers.", stacklevel=_STACK)


def _tell_several(examples: Sequence[Example]) -> None:
    """Warn of answers that are read at the first of their tokens."""
    count = sum(example.masks > 1 for example in examples)
    if count:
        warnings.warn(
            f"{count} of {len(examples)} examples have an answer or a distractor of several tokens: they are compared "
            "at the first, where they differ; a masked diffusion model sees the others as masks",
            stacklevel=_STACK,
        )


def _listed(numbers: Sequence[int]) -> str:
    more = ", ..." if len(numbers) > LISTED else ""
    return f"number{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:LISTED]))}{more}"
