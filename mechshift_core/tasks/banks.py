"""Which words and sentence frames a generated task draws from.

A task may have several banks: `banks` of it maps a bank's name to the task that draws from it, and `bank` of each of
these says what it draws. The ones of this package have two: `bundled`, the few words that the bundled models know,
and `natural`, more words and fluent sentences, for the tokenizers of pretrained models. In the natural bank a template
is a wording alone, so that templates can be a random unit. A task without `banks` is drawn as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mechshift_core.errors import ExecutionError

if TYPE_CHECKING:
    from mechshift_core.tasks.base import Task
    from mechshift_core.tasks.encoding import Encoder

BUNDLED: Literal["bundled"] = "bundled"
NATURAL: Literal["natural"] = "natural"
Words = Literal["auto", "bundled", "natural"]
"""A bank by its name, or `auto`: the natural one unless the tokenizer lacks words of it."""


@dataclass(frozen=True, slots=True)
class Bank:
    """Words and sentence frames.

    Attributes:
        name: What a spec calls it.
        frames: Wordings by name, with `{slots}` for words.
        lists: The words for the slots; the forms of one word are written `want/wants`.
        fine: Whether a template is more than a wording: the order of names, a number, a place in the answer.
    """

    name: str
    frames: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fine: bool = False

    def template(self, frame: str, *marks: object) -> str:
        """The name of a template: its frame's, and, where templates are fine, what else tells it apart."""
        return "-".join(map(str, (frame, *marks))) if self.fine else frame

    @property
    def texts(self) -> tuple[str, ...]:
        """Every word that may stand in a prompt or an answer, in the parts in which the bank has them."""
        spoken = (part.strip() for frame in self.frames.values() for part in re.split(r"\{\w+\}", frame))
        listed = (form for words in self.lists.values() for word in words for form in word.split("/"))
        return tuple(dict.fromkeys(text for text in (*spoken, *listed) if text))


def banks_of(task: object) -> Mapping[str, Any]:
    """The banks of a task, each with the task that draws from it; none where it has a single one."""
    found: Mapping[str, Any] = getattr(task, "banks", {})
    return found


def bank_of(task: object) -> Bank | None:
    """The bank that a task draws from; None where it has a single one."""
    found: Bank | None = getattr(task, "bank", None)
    return found


def in_words(task: Task, words: Words, encoder: Encoder) -> Task:
    """A task that draws from one of its banks.

    Args:
        task: A task; one without banks is returned as it is.
        words: The bank; `auto` takes the natural one, but the bundled one where the tokenizer lacks words of it.
        encoder: The tokenizer of the models.

    Raises:
        ExecutionError: if the tokenizer lacks words of a bank that is asked for by name.
    """
    banks = banks_of(task)
    if not banks:
        return task
    lacking = _lacking(banks[NATURAL].bank, encoder) if words in ("auto", NATURAL) else None
    if words == NATURAL and lacking is not None:
        raise ExecutionError(
            f"task {task.name!r}: the tokenizer of the models has no tokens for {lacking!r}, which the natural bank "
            "has; leave `words` out, or take words: bundled"
        )
    chosen: Task = banks[BUNDLED if words == BUNDLED or lacking is not None else NATURAL]
    return chosen


def _lacking(bank: Bank, encoder: Encoder) -> str | None:
    """The first words of a bank that a tokenizer can't encode; None where it can encode all."""
    read = zip(bank.texts, encoder.texts(bank.texts), strict=True)
    return next((text for text, tokens in read if tokens is None), None)
