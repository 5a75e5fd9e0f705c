from __future__ import annotations

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from mechshift_core.models.load import load_tokenizer
from mechshift_core.tasks import BUNDLED_TASKS
from mechshift_core.zoo.corpus import exercises
from mechshift_core.zoo.vocabulary import build_tokenizer, words


def test_every_word_has_one_id_after_the_special_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(set(words())) == len(words())
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == ["<pad>", "<unk>", "<mask>", *words()]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (0, 1, 2)


@pytest.mark.parametrize("task", BUNDLED_TASKS)
@pytest.mark.parametrize("held_out", [True, False])
def test_every_exercise_consists_of_known_words(task: str, held_out: bool, tokenizer: PreTrainedTokenizerFast) -> None:
    for exercise in exercises(task, 100, seed=0, held_out=held_out):
        for text in (exercise.prompt, exercise.completion):
            tokens = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
            assert "<unk>" not in tokens
            assert "".join(tokens) == text.replace(" ", "")


def test_years_are_two_numbers_of_two_digits(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("in 1732, 17 5 05") == ["in", "17", "32", ",", "17", "5", "05"]


def test_the_tokenizer_survives_being_stored(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again is not None and again.get_vocab() == build_tokenizer().get_vocab()
    text = "When Mary and John went to the store, 1 _ : <mask>"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.decode(again("3 * 5 + 7")["input_ids"]) == "3 * 5 + 7"
