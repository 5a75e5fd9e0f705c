"""A word that is not in the vocabulary is named where a prompt is dropped for it, with the known one that is close."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks.custom import custom_dataset
from mechshift_core.tasks.encoding import Encoder
from mechshift_core.tasks.unknown import LISTED, told, unknown_words

WORDS = ("When", "Mary", "John", "and", "gave", "Tom")


def whole_words(unknown: str | None) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words; without an unknown token it fails on what it does not know."""
    vocabulary = {word: number for number, word in enumerate([*([unknown] if unknown else []), *WORDS])}
    model = models.WordLevel(vocabulary, unk_token=unknown) if unknown else models.WordLevel(vocabulary)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)


@pytest.mark.parametrize("unknown", ["<unk>", None])
def test_unknown_words_are_found_whatever_a_tokenizer_does_with_them(unknown: str | None) -> None:
    encoder = Encoder(whole_words(unknown))
    assert encoder.unknown("When Mary and John gave") == ()
    assert encoder.unknown("When Wolfgang and Marie gave") == ("Wolfgang", "Marie")
    assert unknown_words(encoder, ["When Wolfgang gave", "Marie", "Wolfgang"]) == {"Wolfgang": "", "Marie": "Mary"}
    assert unknown_words(encoder, ["When Mary gave"]) == {}
    assert unknown_words(encoder, ["Ohn gave"]) == {"Ohn": ""}, "another beginning is another word"


def test_many_words_are_not_all_named() -> None:
    found = unknown_words(Encoder(whole_words("<unk>")), [f"zz{number}" for number in range(LISTED + 5)])
    assert len(found) == LISTED + 1
    assert told(found) == ", ".join([f"'zz{number}'" for number in range(LISTED)]) + ", ..."
    assert told({"Marie": "Mary", "x": ""}) == "'Marie' (did you mean 'Mary'?), 'x'" and told({}) == ""


def write(path: Path, *clean: str) -> Path:
    rows = [{"clean": one, "corrupt": "When Mary and Tom gave", "answer": "Mary", "foil": "John"} for one in clean]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def test_the_account_of_a_data_set_names_lines_and_words(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    good, bad = "When Mary and John gave", "When Mari and Wolfgang gave"
    dataset = custom_dataset("mine", write(tmp_path / "pairs.jsonl", good, bad), tokenizer, vocabulary=1000)
    said = "1 of 2 aligned (1 x a word is not in the vocabulary, line 2: 'Mari' (did you mean 'Mary'?), 'Wolfgang')"
    assert str(dataset.account) == said
    (dropped,) = dataset.account.to_json()["dropped"]  # type: ignore[misc]
    assert dropped["unknown"] == {"Mari": "Mary", "Wolfgang": ""}
    with pytest.raises(ExecutionError) as caught:
        custom_dataset("mine", write(tmp_path / "none.jsonl", bad), tokenizer, vocabulary=1000)
    assert str(caught.value) == (
        f"task 'mine': no pair of {tmp_path / 'none.jsonl'} is aligned (1 x a word is not in the vocabulary). Not in "
        "the vocabulary: 'Mari' (did you mean 'Mary'?), 'Wolfgang'; `mechshift models show MODEL --words` lists those "
        "that a model knows"
    )
