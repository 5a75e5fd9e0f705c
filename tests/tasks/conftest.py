from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from mechshift_core.zoo.vocabulary import build_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The word-level tokenizer of the bundled models."""
    return build_tokenizer()
