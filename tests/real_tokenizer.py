"""A real tokenizer that begins every text with a token of its own."""

from __future__ import annotations

import gzip
import shutil
from functools import cache
from pathlib import Path

from transformers import PreTrainedTokenizerFast

DATA = Path(__file__).parent / "data/sentencepiece-tokenizer"


def write_real_tokenizer(folder: Path) -> Path:
    """Put the files of the tokenizer into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(DATA / "tokenizer.json.gz") as packed, (folder / "tokenizer.json").open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
    shutil.copy(DATA / "tokenizer_config.json", folder)
    return folder


@cache
def real_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer, by way of a folder."""
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(write_real_tokenizer(folder))
    return tokenizer
