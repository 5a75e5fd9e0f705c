"""Asking for a blanked word at the blank itself, where only a model that reads in both directions can answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from mechshift_core.tasks.base import CounterfactualText, Task
from mechshift_core.tasks.roles import RoleSpan

Ask = Literal["afterwards", "at_blank"]
"""Where a blanked word is asked for: behind the sentence, or where the blank is."""
ASKS: tuple[Ask, ...] = ("afterwards", "at_blank")


def asks_of(task: object) -> tuple[Ask, ...]:
    """Where a task can ask for its word; nowhere in particular if it has no blank."""
    found: tuple[Ask, ...] = getattr(task, "asks", ())
    return found


def asking(task: Task, ask: Ask) -> Task:
    """The task that asks for its word somewhere; one without a blank is returned as it is."""
    if not asks_of(task):
        return task
    found: Task = task.asking(ask)  # type: ignore[attr-defined]  # what has `asks` has it
    return found


def around_blank(text: str, blank: str, question: str) -> tuple[RoleSpan, RoleSpan, RoleSpan]:
    """What a sentence has before and behind its blank, and the blank."""
    at = text.index(blank)
    return (
        RoleSpan("left_context", 0, at),
        RoleSpan("blank", at, at + len(blank)),
        RoleSpan("right_context", at + len(blank), text.index(question)),
    )


def at_blank(text: CounterfactualText, blank: str, question: str) -> CounterfactualText:
    """The same pair, asked for at the blank: no question, and the answer stands where the blank was.

    The last word before the blank keeps no role, so that it can be the `end`.
    """
    (before, behind), (_, corrupt_behind) = (_cut(prompt, blank, question) for prompt in (text.clean, text.corrupt))
    start = text.clean.index(blank)
    return replace(
        text,
        clean=before,
        corrupt=_cut(text.corrupt, blank, question)[0],
        behind=behind,
        corrupt_behind=corrupt_behind,
        roles=tuple(_moved(text.roles, before, start, start + len(blank))),
    )


def _cut(prompt: str, blank: str, question: str) -> tuple[str, str]:
    """What stands before the blank, and between it and the question."""
    before, _, after = prompt.partition(blank)
    return before.rstrip(), after[: after.rindex(question)]


def _moved(spans: Sequence[RoleSpan], before: str, start: int, stop: int) -> Iterator[RoleSpan]:
    """Roles of what stands before the last word in front of the blank, and of what stands behind the blank."""
    last = before.rfind(" ") + 1
    for span in spans:
        if span.stop <= start and min(span.stop, last) > span.start:
            yield RoleSpan(span.role, span.start, min(span.stop, last))
        elif span.start >= stop:
            yield RoleSpan(span.role, span.start - stop + len(before), span.stop - stop + len(before))
