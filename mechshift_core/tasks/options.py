"""Which tokens the answer and its foils are, for one tokenizer.

An answer is the one token by which a prompt goes on. Numbers of two digits are the exception: after a century, GPT-2
reads most years as the token of their two digits, but `1800` as one token, and others read every digit as a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mechshift_core.tasks.encoding import Encoder, Ids

if TYPE_CHECKING:
    from mechshift_core.tasks.base import CounterfactualText
    from mechshift_core.tasks.roles import RoleSpan

SEVERAL_TOKENS = "an answer or foil is not a single token"
SPLIT_ELSEWHERE = "a number is not split into tokens before and after its last two digits"
EXTREME_TENS = "no tens digit is smaller, or none is greater"


@dataclass(frozen=True, slots=True)
class Options:
    """The tokens that are compared, each once, and their text.

    Attributes:
        masks: Tokens of the completion, the answer included.
    """

    answer_ids: Ids
    foil_ids: Ids
    masks: int
    answers: tuple[str, ...]
    foils: tuple[str, ...]


def options_of(text: CounterfactualText, clean: Ids, corrupt: Ids, encoder: Encoder) -> Options | str:
    """The answer and foil tokens of a pair; a string says why it has none.

    Args:
        clean: Tokens of the clean prompt; `corrupt` has as many.

    Raises:
        UnreadableTextError: if a word that is to follow the answer is unknown.
    """
    masks = _masks(encoder, text, clean)
    if text.number is None:
        return _options(
            _continuations(encoder, text, clean, text.answers),
            _continuations(encoder, text, clean, text.foils),
            masks,
            (text.answers, text.foils),
        )
    place = text.number.place
    lengths = {_length(encoder, text.clean, clean, place), _length(encoder, text.corrupt, corrupt, place)}
    if lengths == {1}:
        every = _numbers(encoder, text, clean, (*text.answers, *text.foils))
        answers, foils = (None, None) if every is None else (every[: len(text.answers)], every[len(text.answers) :])
        return _options(answers, foils, masks, (text.answers, text.foils))
    if lengths != {2}:
        return SPLIT_ELSEWHERE
    greater, smaller = text.number.greater, text.number.smaller
    if not greater or not smaller:
        return EXTREME_TENS
    # The units digit stays to be written, whatever it is.
    return _options(
        _continuations(encoder, text, clean, greater),
        _continuations(encoder, text, clean, smaller),
        masks + 1,
        (greater, smaller),
    )


def _masks(encoder: Encoder, text: CounterfactualText, ids: Ids) -> int:
    """Tokens of the answer and of what follows it, a space of its own in front of a digit included."""
    if not text.remainder:
        return 1
    return len(encoder.text(f"{_joined(text, text.clean, text.answers[0])} {text.remainder}")) - len(ids)


def rest_of(encoder: Encoder, text: CounterfactualText, ids: Ids, masks: int, *, corrupted: bool = False) -> Ids:
    """The `masks - 1` tokens that complete a prompt after its answer (corrupted: its foil); empty if not known.

    They are not known where the text does not say how it goes on, or goes on by another number of tokens.
    """
    prompt, word, remainder = (
        (text.corrupt, text.foils[0], text.corrupt_remainder)
        if corrupted
        else (text.clean, text.answers[0], text.remainder)
    )
    if not remainder:
        return ()
    whole = encoder.text(f"{_joined(text, prompt, word)} {remainder}")
    return whole[len(ids) + 1 :] if whole[: len(ids)] == ids and len(whole) == len(ids) + masks else ()


def _options(
    answer_ids: Ids | None, foil_ids: Ids | None, masks: int, texts: tuple[tuple[str, ...], tuple[str, ...]]
) -> Options | str:
    if answer_ids is None or foil_ids is None:
        return SEVERAL_TOKENS
    return Options(tuple(dict.fromkeys(answer_ids)), tuple(dict.fromkeys(foil_ids)), masks, *texts)


def _length(encoder: Encoder, text: str, ids: Ids, place: RoleSpan) -> int | None:
    """Tokens of a part of a text; None if a token reaches over one of its ends."""
    before, through = encoder.text(text[: place.start]), encoder.text(text[: place.stop])
    if ids[: len(through)] != through or through[: len(before)] != before:
        return None
    return len(through) - len(before)


def _joined(text: CounterfactualText, prompt: str, word: str) -> str:
    """A prompt that goes on by a word; a word that brings white space of its own needs nothing between."""
    return f"{prompt}{'' if word[:1].isspace() else text.joiner}{word}"


def _continuations(encoder: Encoder, text: CounterfactualText, ids: Ids, options: tuple[str, ...]) -> Ids | None:
    """The one token by which each option goes on the prompt; None if any takes more, or changes the prompt's tokens."""
    encoded = encoder.texts([_joined(text, text.clean, option) for option in options])
    found = [tokens[-1] for tokens in encoded if tokens is not None and tokens[:-1] == ids]
    return tuple(found) if len(found) == len(options) else None


def _numbers(encoder: Encoder, text: CounterfactualText, ids: Ids, options: tuple[str, ...]) -> Ids | None:
    """The token of each two-digit option after the prompt's century.

    An option that the tokenizer merges with the century (`1800`, or `1102` as `110` and `2`) can't go on the prompt as
    it was split: it is the token of its two digits alone, as in Hanna et al. 2023 (arXiv 2305.00586). That token is
    known to be the right one only if the other options, alone, are the tokens by which they go on.
    """
    encoded = encoder.texts([_joined(text, text.clean, option) for option in options])
    merged = [tokens is not None and tokens[: len(ids)] != ids for tokens in encoded]
    if not any(merged):
        return _continuations(encoder, text, ids, options)
    if all(merged):
        return None
    found: list[int] = []
    for tokens, changed, option in zip(encoded, merged, options, strict=True):
        single = encoder.plain(option)
        if len(single) != 1 or not (changed or tokens == (*ids, *single)):
            return None
        found += single
    return tuple(found)
