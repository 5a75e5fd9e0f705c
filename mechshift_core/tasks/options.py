"""Which tokens the answer and its foils are, for one tokenizer.

An answer is the token by which a prompt goes on. An answer of several tokens is compared with its foil at the first of
them, where they differ; what follows is the rest of the completion, which masked diffusion models see as masks. A
space that is a token of its own in front of both (as it is in front of digits to Qwen and Llama) belongs to the prompt.
The two completions must have as many tokens, since the number of masks would tell them apart, and neither may begin as
a right continuation of the other prompt does. Of sets of answers every one is a single token.

Numbers of two digits are the exception: after a century, GPT-2 reads most years as the token of their two digits, but
`1800` as one token, and others read every digit as a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mechshift_core.tasks.encoding import Encoder, Ids, begins_with

if TYPE_CHECKING:
    from mechshift_core.tasks.base import CounterfactualText, TwoDigits
    from mechshift_core.tasks.roles import RoleSpan

UNEQUAL = "clean and corrupted prompt differ in their number of tokens"
SEVERAL_TOKENS = "an answer or foil is not a single token"
SAME_BEGINNING = "the first tokens of answer and foil are the same"
UNEQUAL_COMPLETIONS = "clean and corrupted completion differ in their number of tokens"
BEGINS_RIGHT = "answer or foil begins as a right answer to the other prompt does"
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
    if text.number is not None:
        return _two_digits(text, text.number, clean, corrupt, encoder)
    if len(text.answers) == len(text.foils) == 1:
        return _words(text, clean, corrupt, encoder)
    answers, foils = text.answers, text.foils
    answer_ids, foil_ids = (_continuations(encoder, text, clean, options) for options in (answers, foils))
    if text.forms:
        whole = [at for at, both in enumerate(zip(answer_ids, foil_ids, strict=True)) if None not in both]
        answer_ids, foil_ids = ([ids[at] for at in whole] for ids in (answer_ids, foil_ids))
        answers, foils = (tuple(words[at] for at in whole) for words in (answers, foils))
    masks = _completion(encoder, text, clean) if text.remainder else 1
    return _options(answer_ids, foil_ids, masks, (answers, foils))


def space_first(text: CounterfactualText, clean: Ids, encoder: Encoder) -> CounterfactualText | None:
    """The pair with the space behind its prompts at their end, if that is a token of its own; else None."""
    if text.behind or not text.joiner.isspace() or len(text.answers) != 1 or len(text.foils) != 1:
        return None
    words = text.answers[0], text.foils[0]
    after = [_after(encoder, joined_to(text, text.clean, word), clean) for word in words]
    begun = {tokens[0] for tokens in after if tokens}
    if not all(after) or len(begun) != 1 or any(word[:1].isspace() for word in words):
        return None
    if str(encoder.tokenizer.decode([*begun])).strip():
        return None
    return replace(text, clean=text.clean + text.joiner, corrupt=text.corrupt + text.joiner, joiner="")


def rest_of(encoder: Encoder, text: CounterfactualText, ids: Ids, masks: int, *, corrupted: bool = False) -> Ids:
    """The `masks - 1` tokens that complete a prompt after its answer (corrupted: its foil); empty if not known.

    They are not known of a number of which only the tens digit is compared, or where a prompt goes on by another number
    of tokens.
    """
    if masks == 1 or (text.number is not None and not text.remainder):
        return ()
    whole = encoder.text(_completed(text, corrupted=corrupted))
    return whole[len(ids) + 1 :] if begins_with(whole, ids) and len(whole) == len(ids) + masks else ()


def _words(text: CounterfactualText, clean: Ids, corrupt: Ids, encoder: Encoder) -> Options | str:
    """One answer against one foil, at their first tokens."""

    def first(prompt: str, ids: Ids, words: tuple[str, ...]) -> list[Ids]:
        found = (_after(encoder, joined_to(text, prompt, word), ids) for word in words)
        return [tokens for tokens in found if tokens]

    found = first(text.clean, clean, (*text.answers, *text.foils))
    if len(found) < 2:
        return SEVERAL_TOKENS
    answer, foil = found
    several = len(answer) > 1 or len(foil) > 1
    if several and answer[0] == foil[0]:
        return SAME_BEGINNING
    masks = _completion(encoder, text, clean) if several or text.remainder else 1
    if several and masks != _completion(encoder, text, corrupt, corrupted=True):
        return UNEQUAL_COMPLETIONS
    right = {tokens[0] for tokens in first(text.clean, clean, text.right)}
    right_for_corrupt = {tokens[0] for tokens in first(text.corrupt, corrupt, text.right_for_corrupt)}
    if foil[0] in right or answer[0] in right_for_corrupt:
        return BEGINS_RIGHT
    return Options(answer[:1], foil[:1], masks, text.answers, text.foils)


def _two_digits(
    text: CounterfactualText, number: TwoDigits, clean: Ids, corrupt: Ids, encoder: Encoder
) -> Options | str:
    """Numbers, whole or at their tens digit."""
    lengths = {_length(encoder, text.clean, clean, number.place), _length(encoder, text.corrupt, corrupt, number.place)}
    if lengths == {1}:
        every = _numbers(encoder, text, clean, (*text.answers, *text.foils))
        if every is None:
            return SEVERAL_TOKENS
        cut = len(text.answers)
        masks = _completion(encoder, text, clean) if text.remainder else 1
        return _options(every[:cut], every[cut:], masks, (text.answers, text.foils))
    if lengths != {2}:
        return SPLIT_ELSEWHERE
    greater, smaller = number.greater, number.smaller
    if not greater or not smaller:
        return EXTREME_TENS
    # The units digit stays to be written, whatever it is.
    answer_ids, foil_ids = (_continuations(encoder, text, clean, digits) for digits in (greater, smaller))
    masks = _completion(encoder, text, clean) if text.remainder else 2
    return _options(answer_ids, foil_ids, masks, (greater, smaller))


def _options(
    answer_ids: Sequence[int | None],
    foil_ids: Sequence[int | None],
    masks: int,
    texts: tuple[tuple[str, ...], tuple[str, ...]],
) -> Options | str:
    answers, foils = (
        tuple(dict.fromkeys(token for token in ids if token is not None)) for ids in (answer_ids, foil_ids)
    )
    if None in (*answer_ids, *foil_ids) or not answers or not foils:
        return SEVERAL_TOKENS
    return Options(answers, foils, masks, *texts)


def _completed(text: CounterfactualText, *, corrupted: bool = False) -> str:
    """A prompt with its answer, or its foil, and what follows that."""
    prompt, word, remainder = (
        (text.corrupt, text.foils[0], text.corrupt_remainder)
        if corrupted
        else (text.clean, text.answers[0], text.remainder)
    )
    return f"{joined_to(text, prompt, word)} {remainder}" if remainder else joined_to(text, prompt, word)


def _completion(encoder: Encoder, text: CounterfactualText, ids: Ids, *, corrupted: bool = False) -> int:
    """Tokens of the answer and of what follows it, a space of its own in front of a digit included."""
    return len(encoder.text(_completed(text, corrupted=corrupted))) - len(ids)


def _after(encoder: Encoder, whole: str, ids: Ids) -> Ids | None:
    """The tokens by which a text goes on a prompt; None if it can't be read, or the prompt's own tokens change."""
    (tokens,) = encoder.texts([whole])
    return tokens[len(ids) :] if tokens is not None and begins_with(tokens, ids) else None


def _length(encoder: Encoder, text: str, ids: Ids, place: RoleSpan) -> int | None:
    """Tokens of a part of a text; None if a token reaches over one of its ends."""
    before, through = encoder.text(text[: place.start]), encoder.text(text[: place.stop])
    if ids[: len(through)] != through or through[: len(before)] != before:
        return None
    return len(through) - len(before)


def joined_to(text: CounterfactualText, prompt: str, word: str) -> str:
    """A prompt that goes on by a word; a word that brings white space of its own needs nothing between."""
    return f"{prompt}{'' if word[:1].isspace() else text.joiner}{word}"


def _continuations(encoder: Encoder, text: CounterfactualText, ids: Ids, options: tuple[str, ...]) -> list[int | None]:
    """The one token by which each option goes on the prompt; None if it takes more, or changes the prompt's tokens."""
    encoded = encoder.texts([joined_to(text, text.clean, option) for option in options])
    return [tokens[-1] if tokens is not None and tokens[:-1] == ids else None for tokens in encoded]


def _numbers(encoder: Encoder, text: CounterfactualText, ids: Ids, options: tuple[str, ...]) -> Ids | None:
    """The token of each two-digit option after the prompt's century.

    An option that the tokenizer merges with the century (`1800`, or `1102` as `110` and `2`) can't go on the prompt as
    it was split: it is the token of its two digits alone, as in Hanna et al. 2023 (arXiv 2305.00586). That token is
    known to be the right one only if the other options, alone, are the tokens by which they go on.
    """
    encoded = encoder.texts([joined_to(text, text.clean, option) for option in options])
    merged = [tokens is not None and tokens[: len(ids)] != ids for tokens in encoded]
    if not any(merged):
        tokens_of = _continuations(encoder, text, ids, options)
        return None if None in tokens_of else tuple(token for token in tokens_of if token is not None)
    if all(merged):
        return None
    found: list[int] = []
    for tokens, changed, option in zip(encoded, merged, options, strict=True):
        single = encoder.plain(option)
        if len(single) != 1 or not (changed or tokens == (*ids, *single)):
            return None
        found += single
    return tuple(found)
