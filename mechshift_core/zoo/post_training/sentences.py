"""What post-training learns from, in tokens: sentences of tasks, and running text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechshift_core.errors import UsageError
from mechshift_core.tasks import TASKS, CounterfactualText, is_held_out
from mechshift_core.tasks.banks import in_words
from mechshift_core.tasks.blanks import asking
from mechshift_core.tasks.encoding import Encoder
from mechshift_core.tasks.options import joined_to
from mechshift_core.zoo.post_training.recipe import AT_BLANK, Text
from mechshift_core.zoo.storage import reading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from mechshift_core.tasks import Task

DRAWS = 50
"""Draws for each sentence that is wanted, before a task is given up."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Tokens, and which of them are the answer.

    Attributes:
        ids: All tokens.
        start: The first token of the answer; `stop` is behind its last. In running text all tokens that can be
            predicted.
        text: Whether it is running text.
        first: The first token that can be predicted: behind what stands before every text, and never the very first.
    """

    ids: tuple[int, ...]
    start: int
    stop: int
    text: bool = False
    first: int = 1


def task_named(name: str, encoder: Encoder) -> Task:
    """A task of a recipe, in words that the tokenizer has."""
    task = in_words(TASKS[name.removesuffix(AT_BLANK)], "auto", encoder)
    return asking(task, "at_blank" if name.endswith(AT_BLANK) else "afterwards")


def sentences_of(name: str, count: int, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> list[Sentence]:
    """Distinct sentences of a task whose combinations are not held out, deterministic in `seed`.

    Raises:
        UsageError: if the tokenizer leaves none.
    """
    encoder = Encoder.of(tokenizer)
    task = task_named(name, encoder)
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name.encode()]))
    found: dict[tuple[int, ...], Sentence] = {}
    for _ in range(count * DRAWS):
        text = task.counterfactual(rng)
        if text is None or is_held_out(text.key):
            continue
        sentence = _sentence(text, encoder, rng)
        if sentence is not None:
            found.setdefault(sentence.ids, sentence)
        if len(found) == count:
            break
    if not found:
        raise UsageError(f"task {name!r}: the tokenizer of the base model leaves no sentence; leave it out of `batch`")
    return [*found.values()]


def _sentence(text: CounterfactualText, encoder: Encoder, rng: np.random.Generator) -> Sentence | None:
    """A pair's clean prompt with one of its answers; None where prompt and answer share a token."""
    answer = text.answers[int(rng.integers(len(text.answers)))]
    through = joined_to(text, text.clean, answer)
    if text.remainder and answer == text.answers[0]:
        through = f"{through} {text.remainder}"
    before, with_answer, whole = encoder.texts([text.clean, through, through + text.behind])
    if before is None or with_answer is None or whole is None:
        return None
    if with_answer[: len(before)] != before or whole[: len(with_answer)] != with_answer:
        return None
    asked = text.clean if text.completion_start is None else text.clean[: text.completion_start].rstrip()
    start = encoder.texts([asked])[0]
    if not start or with_answer[: len(start)] != start or len(with_answer) == len(start):
        return None
    return Sentence(whole, len(start), len(with_answer), first=max(1, encoder.beginning(whole)))


def text_sequences(
    settings: Text, tokenizer: PreTrainedTokenizerBase, written: Sequence[Sequence[int]]
) -> list[Sentence]:
    """Sequences of running text: of files, cut one after the other, and those that the base model has written.

    Raises:
        UsageError: if a file can't be read, or there is less than one sequence.
    """
    found = [tuple(ids) for ids in written]
    for name in settings.files:
        with reading(Path(name)):
            content = Path(name).read_text(encoding="utf-8")
        options: Any = {"add_special_tokens": False}
        ids = tokenizer(content, **options)["input_ids"]
        length = settings.length
        found += [tuple(ids[start : start + length]) for start in range(0, len(ids) - length + 1, length)]
    if len(found) < 2:
        raise UsageError(f"text: {len(found)} sequences of {settings.length} tokens; expected at least 2")
    begin = Encoder.of(tokenizer).begin
    first = max(1, len(begin))
    whole = [(*begin, *ids) for ids in found]
    return [Sentence(ids, first, len(ids), text=True, first=first) for ids in whole]


def buckets(sentences: Sequence[Sentence], tokens: int) -> list[list[int]]:
    """Numbers of sentences of similar length, so many together that rows x longest stays within `tokens`."""
    order = sorted(range(len(sentences)), key=lambda number: len(sentences[number].ids))
    found: list[list[int]] = []
    for number in order:
        if found and (len(found[-1]) + 1) * len(sentences[number].ids) <= tokens:
            found[-1].append(number)
        else:
            found.append([number])
    return found
