"""How text becomes the tokens that a model reads: what stands before every text, what is unknown, what is a hole.

Models are read as they were trained. A tokenizer that puts a beginning-of-sequence token before every text (Llama,
Mistral and Gemma do; GPT-2 and Qwen do not) puts it before prompts too, once, also where the text begins with it
already. What a tokenizer puts behind a text is left out: the prompt goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = tuple[int, ...]
Span = tuple[int, int]

PROBE = "a"
"""A text to see what a tokenizer puts around every text, unless its vocabulary can't encode it."""
PROBES = 100
"""Words of the vocabulary that are tried instead."""
UNKNOWN_WORD = "a word is not in the vocabulary"
LOST_CHARACTER = "the tokenizer leaves out a character"
MASK_IN_PROMPT = "the mask token stands in the prompt or the answer"


class UnreadableTextError(Exception):
    """A text that a tokenizer can't encode; the message is the reason for which its pair is dropped."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer and how prompts are read with it.

    Attributes:
        tokenizer: The tokenizer.
        begin: Tokens before every text.
        holes: Tokens that mean a masked position to one of the models, whatever stands there; no prompt may hold one.
        vocabulary: Number of token ids that every model knows; None where it does not matter.
    """

    tokenizer: PreTrainedTokenizerBase
    begin: Ids = ()
    holes: frozenset[int] = frozenset()
    vocabulary: int | None = None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase | Encoder) -> Encoder:
        """A tokenizer as it is: with what it puts before a text itself."""
        return tokenizer if isinstance(tokenizer, Encoder) else cls(tokenizer, begin_ids(tokenizer, None))

    def text(self, text: str) -> Ids:
        """The tokens of a text from its beginning on.

        Raises:
            UnreadableTextError: if a word is unknown, or a character has no token.
        """
        return self.begun(self.plain(text))

    def texts(self, texts: Sequence[str]) -> list[Ids | None]:
        """The tokens of several texts from their beginning on; None where one can't be read."""
        found = self._encoded(texts)
        if found is None:  # one of them at least
            return [self._or_none(text) for text in texts]
        refused = [self._refusal(text, *one) for text, one in zip(texts, found, strict=True)]
        return [None if reason else self.begun(ids) for reason, (ids, _) in zip(refused, found, strict=True)]

    def plain(self, text: str) -> Ids:
        """The tokens of a text, with nothing before it and nothing behind it.

        Raises:
            UnreadableTextError: if a word is unknown, or a character has no token.
        """
        if not text:
            return ()
        found = self._encoded([text])
        reason = UNKNOWN_WORD if found is None else self._refusal(text, *found[0])
        if found is None or reason is not None:
            raise UnreadableTextError(reason)
        return found[0][0]

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of a text that the vocabulary does not have, in their order; none where it can be read."""
        found = self._encoded([text])
        if found is not None and self._refusal(text, *found[0]) != UNKNOWN_WORD:
            return ()
        ids, offsets = found[0] if found is not None else ((), None)
        if offsets is not None and self._unknown is not None:
            number, written = self._unknown
            spans = (span for token, span in zip(ids, offsets, strict=True) if token == number)
            return tuple(word for span in spans if (word := text[slice(*span)].strip()) != written)
        return tuple(word for word in text.split() if word != text and self.unknown(word)) or (text.strip(),)

    def begun(self, ids: Ids) -> Ids:
        """Tokens of a text with those that stand before every text, once."""
        return ids if begins_with(ids, self.begin) else (*self.begin, *ids)

    def offsets(self, text: str) -> tuple[Span, ...] | None:
        """Where in the text each token of :meth:`text` stands, `(0, 0)` for those before it; None if not known."""
        found = self._encoded([text])
        ids, offsets = found[0] if found is not None else ((), None)
        if offsets is None:
            return None
        return offsets if begins_with(ids, self.begin) else (*[(0, 0)] * len(self.begin), *offsets)

    def beginning(self, ids: Ids) -> int:
        """How many tokens at the start of a prompt are its beginning-of-sequence tokens, written out or put there."""
        if self.begin:
            return len(self.begin)
        return int(bool(ids) and ids[0] == self.tokenizer.bos_token_id)

    def refusal(self, *groups: Ids) -> str | None:
        """Why a pair with these tokens can't be read by all models; None where it can."""
        ids = [token for group in groups for token in group]
        if self.vocabulary is not None and not all(0 <= token < self.vocabulary for token in ids):
            return outside(self.vocabulary)
        return MASK_IN_PROMPT if not self.holes.isdisjoint(ids) else None

    @cached_property
    def _unknown(self) -> tuple[int, str] | None:
        """Id and text of the token that the vocabulary has for what it can't encode."""
        token = unknown_token(self.tokenizer)
        number = None if token is None else self.tokenizer.convert_tokens_to_ids(token)
        return None if token is None or not isinstance(number, int) else (number, token)

    def _encoded(self, texts: Sequence[str]) -> list[tuple[Ids, tuple[Span, ...] | None]] | None:
        """Tokens of texts and where each stands; None if the tokenizer fails on one of them."""
        fast = self.tokenizer.is_fast
        options: dict[str, Any] = {"return_offsets_mapping": True} if fast else {}
        try:
            found = self.tokenizer(list(texts), add_special_tokens=False, **options)
        except Exception:  # tokenizers raises nothing narrower, e.g. for a vocabulary without its unknown token
            return None
        ids = [tuple(one) for one in found["input_ids"]]
        if not fast:
            return [(one, None) for one in ids]
        spans = [tuple((start, stop) for start, stop in one) for one in found["offset_mapping"]]
        return list(zip(ids, spans, strict=True))

    def _refusal(self, text: str, ids: Ids, offsets: tuple[Span, ...] | None) -> str | None:
        # An unknown token that is written out is what the text says.
        if self._unknown is not None and ids.count(self._unknown[0]) > text.count(self._unknown[1]):
            return UNKNOWN_WORD
        return LOST_CHARACTER if offsets is not None and _lost(text, offsets) else None

    def _or_none(self, text: str) -> Ids | None:
        try:
            return self.text(text)
        except UnreadableTextError:
            return None


def outside(vocabulary: int) -> str:
    """Why a token id beyond the vocabulary can't be used."""
    return f"a token id is outside the vocabulary of {vocabulary}"


def begins_with(ids: Ids, begin: Ids) -> bool:
    """Whether tokens start with others."""
    return ids[: len(begin)] == begin


def begin_ids(tokenizer: PreTrainedTokenizerBase, add_bos_token: bool | None, *, source: object = "") -> Ids:
    """The tokens before every text.

    Args:
        tokenizer: A tokenizer.
        add_bos_token: Whether the tokenizer's beginning-of-sequence token goes before every text; None: what the
            tokenizer itself puts there.
        source: What the model is called in messages.

    Raises:
        ExecutionError: if the tokenizer has no such token, or what it puts around a text can't be told.
    """
    if add_bos_token is False:
        return ()
    begin = _put_before(tokenizer)
    if begin is None and add_bos_token is None:
        raise ExecutionError(
            f"{source}: what the tokenizer puts before a text can't be told ({PROBE!r} and the words of its vocabulary "
            "are other tokens with its special tokens than without); say `add_bos_token: true` or `false` of the model"
        )
    if add_bos_token is None or begin:
        return begin or ()
    if tokenizer.bos_token_id is None:
        raise ExecutionError(
            f"{source}: add_bos_token is true, but the tokenizer has no beginning-of-sequence token; leave it out"
        )
    return (int(tokenizer.bos_token_id),)


def _put_before(tokenizer: PreTrainedTokenizerBase) -> Ids | None:
    """What a tokenizer puts before a text; None if no text tells.

    A text tells if its first token is an ordinary one: what is unknown may be no token at all, or, as in GPT-2, the
    very one that begins texts.
    """
    unknown = unknown_token(tokenizer)
    special = set(tokenizer.all_special_ids)
    if unknown is not None:
        special.add(tokenizer.get_vocab().get(unknown, -1))
    for text in _probes(tokenizer, special):
        try:
            around, alone = (tuple(tokenizer(text, add_special_tokens=on)["input_ids"]) for on in (True, False))
        except Exception:  # tokenizers raises nothing narrower where there is no unknown token
            continue
        if not alone or alone[0] in special:
            continue
        for start in range(len(around) - len(alone) + 1):
            if around[start : start + len(alone)] == alone:
                return around[:start]
    return None


def _probes(tokenizer: PreTrainedTokenizerBase, special: set[int]) -> Iterator[str]:
    """Texts to see what a tokenizer puts around every text."""
    yield PROBE
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    yield from [token for token, number in vocabulary if number not in special][:PROBES]


def unknown_token(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The token that a tokenizer makes of what its vocabulary can't encode; None if it has none.

    It is that of the vocabulary's model. GPT-2's tokenizer calls `<|endoftext|>` its unknown token, but it encodes
    bytes, of which none is unknown.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if not tokenizer.is_fast or backend is None:
        token = tokenizer.unk_token
        return None if token is None else str(token)
    if hasattr(backend.model, "unk_token"):
        found: str | None = backend.model.unk_token
        return found or None
    model: dict[str, Any] = json.loads(backend.to_str())["model"]
    number = model.get("unk_id")
    return None if number is None else str(model["vocab"][number][0])


def _lost(text: str, offsets: tuple[Span, ...]) -> bool:
    """Whether a character that is no white space belongs to no token."""
    end = 0
    for start, stop in sorted(offsets):
        if text[end:start].strip():
            return True
        end = max(end, stop)
    return bool(text[end:].strip())
