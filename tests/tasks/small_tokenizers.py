"""Small byte-level tokenizers that split digits in one way or another."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level(model: models.BPE, numbers: str) -> Tokenizer:
    """An untrained byte-level tokenizer with spaces in front of words; `numbers` is how it splits digits."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(rf" ?[A-Za-z]+|{numbers}| ?[^\sA-Za-z\d]+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def trained(numbers: str, texts: Iterable[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    tokenizer = byte_level(models.BPE(), numbers)
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=ALPHABET, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return fast(tokenizer)
