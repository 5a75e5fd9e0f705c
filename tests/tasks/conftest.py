from __future__ import annotations

from collections.abc import Callable

import pytest
from small_tokenizers import ALPHABET, byte_level, fast, trained
from tokenizers import models
from transformers import PreTrainedTokenizerFast

from mechshift_core.tasks import BUNDLED_TASKS, TASKS, Task
from mechshift_core.zoo.corpus import exercises
from mechshift_core.zoo.vocabulary import build_tokenizer

NUMBERS = [f"17{n:02d} {n}" for n in range(100)]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The word-level tokenizer of the bundled models."""
    return build_tokenizer()


@pytest.fixture(scope="session")
def task_texts() -> list[str]:
    return [f"{e.prompt} {e.completion}" for task in TASKS for e in exercises(task, 400, seed=0, held_out=False)]


@pytest.fixture(scope="session")
def byte_pairs(task_texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE as GPT-2's, with spaces in front of words and at most two digits a token."""
    return trained(r" ?\d{1,2}", [*task_texts, *NUMBERS], vocabulary=1500)


@pytest.fixture(scope="session")
def single_digits(task_texts: list[str]) -> PreTrainedTokenizerFast:
    """The same as Qwen's: every digit is a token, and so is the space in front of a number."""
    return trained(r"\d", [*task_texts, *NUMBERS], vocabulary=1500)


@pytest.fixture(scope="session")
def three_digits(task_texts: list[str]) -> PreTrainedTokenizerFast:
    """The same as Llama 3's: up to three digits are a token, from the left."""
    return trained(r"\d{1,3}", [*task_texts, *NUMBERS * 20], vocabulary=1500)


@pytest.fixture(scope="session")
def merged_years() -> PreTrainedTokenizerFast:
    """Some years are merged, as GPT-2's are: 1800 and 1789 are one token, and 1102 is 110 and 2."""
    digits = "0123456789"
    merges = [("Ġ", "1"), *[("Ġ1", digit) for digit in digits], ("Ġ11", "0")]
    merges += [(tens, units) for tens in digits for units in digits]
    merges += [("Ġ18", "00"), ("Ġ17", "89"), ("Ġ18", "30")]
    tokens = dict.fromkeys([*ALPHABET, *(first + second for first, second in merges)])
    return fast(byte_level(models.BPE({token: at for at, token in enumerate(tokens)}, merges), r" ?\d+"))


@pytest.fixture(scope="session")
def tokenizer_for(
    tokenizer: PreTrainedTokenizerFast, byte_pairs: PreTrainedTokenizerFast
) -> Callable[[Task], PreTrainedTokenizerFast]:
    """The bundled tokenizer for the tasks whose words it has."""
    return lambda task: tokenizer if task.name in BUNDLED_TASKS else byte_pairs
