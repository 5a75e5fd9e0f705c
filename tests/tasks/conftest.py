from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mechshift_core.tasks import TASKS
from mechshift_core.zoo.corpus import exercises
from mechshift_core.zoo.vocabulary import build_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The word-level tokenizer of the bundled models."""
    return build_tokenizer()


@pytest.fixture(scope="session")
def byte_pairs() -> PreTrainedTokenizerFast:
    """A byte-level BPE as GPT-2's, with spaces in front of words and at most two digits a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[A-Za-z]+| ?\d{1,2}| ?[^\sA-Za-z\d]+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = [f"{e.prompt} {e.completion}" for task in TASKS for e in exercises(task, 400, seed=0, held_out=False)]
    numbers = [f"17{n:02d} {n}" for n in range(100)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([*texts, *numbers], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)
