"""The bundled models were trained on these tasks, and results are compared over time: the data may not change."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from transformers import PreTrainedTokenizerBase

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks import BUNDLED_TASKS, TASKS
from mechshift_core.tasks.counterfactual import generated_dataset

DIGESTS = {
    "ioi": "4054213cca41d597411bf187315ee4b83e63dc915c024cfb25020cfddff6f83a",
    "greater_than": "a5a132c8371bec8ecf27938733ef2a483b51cc3731f2e270910b984b46fa7a36",
    "countdown": "89b086ead7acd4856fbf33b4c1cd3159978d62a5dd6ce9f6bdf58ee177029f07",
    "infilling": "aa8673b86c9020ee95584d253bc44de7941374352c84d33f001bd2133fc8016d",
    "sudoku": "3787a56b3b70cf5ff714479f96aa9839d341352b671d73fd3acf7dd7cf3f8d90",
}


@pytest.mark.nightly
@pytest.mark.parametrize("task", DIGESTS)
def test_the_data_set_of_a_bundled_task_is_the_same_to_the_byte_as_ever(
    task: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    dataset = generated_dataset(TASKS[task], tokenizer, examples=200, seed=0)
    rows = [[e.clean_ids, e.corrupt_ids, e.answer_ids, e.foil_ids, e.masks] for e in dataset.examples]
    digest = hashlib.sha256(json.dumps([dataset.metric, rows]).encode()).hexdigest()
    assert (digest, dataset.dropped) == (DIGESTS[task], {})


def test_every_bundled_task_has_a_known_data_set() -> None:
    assert tuple(DIGESTS) == BUNDLED_TASKS


@pytest.mark.long
@pytest.mark.parametrize("task", sorted(TASKS.keys() - set(BUNDLED_TASKS)))
def test_a_task_of_other_words_says_how_many_prompts_the_bundled_tokenizer_could_not_read(
    task: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    with pytest.raises(ExecutionError) as error:
        generated_dataset(TASKS[task], tokenizer, examples=20, seed=0)
    assert re.fullmatch(
        rf"task '{task}': only 0 aligned prompts of 20 asked for \(401 x a word is not in the vocabulary\); "
        r"this tokenizer needs another task\. Not in the vocabulary: '.+, \.\.\.; "
        r"`mechshift models show MODEL --words` lists those that a model knows",
        str(error.value),
    )
