"""Token roles: what a token is in its prompt (subject, target, operator, ...), so that positions can be compared.

Tasks know roles as spans of characters of the clean prompt; a tokenizer's offsets make of them one role per token.
Tokens that no span claims are `other`, and the last one `end`: there a shifted model is read. Generated tasks leave
the last token unclaimed, so that every prompt of theirs has an `end`. A beginning-of-sequence token is `bos`. The
masked positions that a masked diffusion model sees after the prompt are `mask`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

OTHER, END, MASK, BOS = "other", "end", "mask", "bos"


@dataclass(frozen=True, slots=True)
class RoleSpan:
    """A role and where it stands in a text: characters `start` to `stop`.

    Raises:
        ValueError: if the role has no name or the span no characters.
    """

    role: str
    start: int
    stop: int

    def __post_init__(self) -> None:
        if not self.role or not 0 <= self.start < self.stop:
            raise ValueError(f"expected a role and a span of at least one character, got {self}")


Marked = tuple[str, tuple[RoleSpan, ...]]
"""A text and the roles in it."""


def filled(frame: str, words: Mapping[str, str], roles: Mapping[str, str]) -> Marked:
    """A sentence frame with its `{slot}`s filled, and a span for every slot that has a role."""
    text = ""
    spans: list[RoleSpan] = []
    # Every second part is the name of a slot.
    for number, part in enumerate(re.split(r"\{(\w+)\}", frame)):
        word = words[part] if number % 2 else part
        if number % 2 and part in roles:
            spans.append(RoleSpan(roles[part], len(text), len(text) + len(word)))
        text += word
    return text, tuple(spans)


def joined(parts: Iterable[tuple[str, str]], before: Marked = ("", ())) -> Marked:
    """(role, word) pairs as words joined by spaces, after a text that is there already.

    A role of what stands last is left out, so that it can be the `end`.
    """
    text, spans = before[0], [*before[1]]
    for role, word in parts:
        start = len(text) + 1 if text else 0
        text = f"{text} {word}" if text else word
        spans.append(RoleSpan(role, start, len(text)))
    return text, tuple(span for span in spans if span.stop < len(text) and span.role != OTHER)


def following(text: str, spans: Sequence[RoleSpan], of: str, role: str) -> RoleSpan:
    """A span for the word that follows the one with role `of`."""
    stop = next(span.stop for span in spans if span.role == of)
    word = re.compile(r"\w+").search(text, stop)
    assert word is not None, f"no word follows {of} in {text!r}"
    return RoleSpan(role, word.start(), word.end())


def token_roles(text: str, spans: Sequence[RoleSpan], offsets: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """One role per token as :func:`claimed_roles` gives them, but `end` for a last token that no span covers."""
    return unclaimed_end(claimed_roles(text, spans, offsets))


def claimed_roles(text: str, spans: Sequence[RoleSpan], offsets: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """One role per token.

    Args:
        text: What was tokenised.
        spans: Roles in it; they may overlap.
        offsets: (start, stop) of each token's characters in the text [tokens].

    Returns:
        For each token the role of the span that covers most of its characters, the first of several that cover as
        many; `other` if none does. White space counts for nothing: byte-level tokenizers begin a word with the space
        in front of it. [tokens]
    """
    roles = []
    for start, stop in offsets:
        token = text[start:stop]
        first, last = start + len(token) - len(token.lstrip()), start + len(token.rstrip())
        covered = [min(last, span.stop) - max(first, span.start) for span in spans]
        most = max(covered, default=0)
        roles.append(spans[covered.index(most)].role if most > 0 else OTHER)
    return tuple(roles)


def unclaimed_end(roles: Sequence[str]) -> tuple[str, ...]:
    """Roles in which the last token is the `end` if it was `other`."""
    return (*roles[:-1], END) if roles and roles[-1] == OTHER else tuple(roles)
