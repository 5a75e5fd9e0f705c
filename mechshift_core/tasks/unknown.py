"""Words that a vocabulary does not have, each with the known one that comes closest, so that messages name them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.tasks.encoding import Encoder

LISTED = 5
"""Unknown words that are named."""
MOST_KNOWN = 5000
"""Size of a vocabulary above which none of its words is called the closest: it has pieces of words then, not words."""
HINT = "`mechshift models show MODEL --words` lists those that a model knows"


def unknown_words(encoder: Encoder, texts: Iterable[str]) -> dict[str, str]:
    """The first words of some texts that the vocabulary does not have.

    Returns:
        Word -> the known word that comes closest, empty where none comes close; at most one more than `LISTED`.
    """
    found: dict[str, str] = {}
    vocabulary = encoder.tokenizer.get_vocab()
    known = [*vocabulary] if len(vocabulary) <= MOST_KNOWN else []
    for text in texts:
        for word in encoder.unknown(text):
            if word not in found:
                found[word] = _closest(word[:200], known)
            if len(found) > LISTED:
                return found
    return found


def asked_for(unknown: Mapping[str, str]) -> str:
    """The end of a message about prompts that can't be used: which words, and how to see the known ones."""
    return f". Not in the vocabulary: {told(unknown)}; {HINT}" if unknown else ""


def told(unknown: Mapping[str, str]) -> str:
    """Them in words: `'Wolfgang', 'Mari' (did you mean 'Mary'?)`; empty where there are none."""
    said = [f"{word!r}{f' (did you mean {close!r}?)' if close else ''}" for word, close in unknown.items()]
    return ", ".join([*said[:LISTED], *(["..."] if len(said) > LISTED else [])])


def _closest(word: str, known: Sequence[str]) -> str:
    """The known word that is most like another and begins alike: Mary for Marie, but no otter for a brother."""
    alike = [other for other in known if other[:1].casefold() == word[:1].casefold()]
    return next(iter(difflib.get_close_matches(word, alike, n=1, cutoff=0.6)), "")
