"""What stands behind a completion, in tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mechshift_core.tasks.encoding import Encoder, Ids, begins_with
from mechshift_core.tasks.options import UNEQUAL, joined_to
from mechshift_core.tasks.roles import claimed_roles

if TYPE_CHECKING:
    from mechshift_core.tasks.base import CounterfactualText

SHARED = "a word and what stands behind it share a token"


@dataclass(frozen=True, slots=True)
class Behind:
    """Tokens behind the completions of both prompts, as many of one as of the other, and what they are."""

    clean: Ids = ()
    corrupt: Ids = ()
    roles: tuple[str, ...] = ()


def behind_of(encoder: Encoder, text: CounterfactualText) -> Behind | str:
    """The tokens behind the completions of a pair, which may be none; a string says why it can't be used."""
    if not text.behind:
        return Behind()
    clean = joined_to(text, text.clean, text.answers[0])
    found = [
        _tokens(encoder, clean, text.behind),
        _tokens(encoder, joined_to(text, text.corrupt, text.foils[0]), text.corrupt_behind),
    ]
    if None in found:
        return SHARED
    first, second = (tokens for tokens in found if tokens is not None)
    if len(first) != len(second):
        return UNEQUAL
    return Behind(first, second, _roles(encoder, text, clean, len(first)))


def _tokens(encoder: Encoder, before: str, behind: str) -> Ids | None:
    """The tokens of a text behind another one; None if one of them reaches over the border."""
    ids, whole = encoder.text(before), encoder.text(before + behind)
    return whole[len(ids) :] if begins_with(whole, ids) else None


def _roles(encoder: Encoder, text: CounterfactualText, before: str, count: int) -> tuple[str, ...]:
    """What the last tokens are; their spans are counted from the end of the clean prompt."""
    whole = before + text.behind
    offsets = encoder.offsets(whole)
    if offsets is None:
        return ()
    shift = len(before) - len(text.clean)
    spans = [
        replace(span, start=span.start + shift, stop=span.stop + shift)
        for span in text.roles
        if span.start >= len(text.clean)
    ]
    return claimed_roles(whole, spans, offsets[-count:])
