"""The word-level tokenizer of the bundled pairs: every word of the tasks, single digits, two-digit numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechshift_core.tasks import greater_than, infilling, ioi

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, MASK = "<pad>", "<unk>", "<mask>"
PATTERN = r"\d{1,2}|[A-Za-z]+|[^\sA-Za-z\d]"


def words() -> list[str]:
    """Every token but the special ones, in a fixed order."""
    numbers = [str(n) for n in range(10)] + [f"{n:02d}" for n in range(100)]
    lists = (ioi.NAMES, ioi.PLACES, ioi.OBJECTS, greater_than.NOUNS, infilling.ACTIONS, infilling.PLACES)
    listed = [word for group in lists for word in group] + list(infilling.PEOPLE) + list(infilling.WORDS.values())
    frames = [*ioi.FRAMES.values(), *greater_than.FRAMES.values(), *infilling.FRAMES.values()]
    spoken = [w for frame in frames for w in frame.replace(",", " ,").split() if "{" not in w]
    return list(dict.fromkeys([*numbers, *listed, *spoken, "target", "+", "-", "*", ":", "_", "."]))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A Transformers tokenizer over :func:`words`; years such as 1732 are read as two two-digit numbers."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([PAD, UNKNOWN, MASK, *words()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        mask_token=MASK,
        clean_up_tokenization_spaces=False,
    )
