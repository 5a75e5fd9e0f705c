from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from mechshift_core.zoo.vocabulary import build_tokenizer

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _torch_settings() -> Iterator[None]:
    """Training sets threads and determinism for the whole process."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """The word-level tokenizer of the bundled models."""
    return build_tokenizer()
