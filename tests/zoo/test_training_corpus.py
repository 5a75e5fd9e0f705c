from __future__ import annotations

import numpy as np
from transformers import PreTrainedTokenizerFast

from mechshift_core.tasks import BUNDLED_TASKS
from mechshift_core.zoo.corpus import draw_batch, exercises, pool


def test_a_pool_holds_prompts_and_completions_padded_on_the_right(tokenizer: PreTrainedTokenizerFast) -> None:
    for task in BUNDLED_TASKS:
        drawn = exercises(task, 20, seed=5, held_out=False)
        stored = pool(task, 20, tokenizer, seed=5)
        for row, exercise in enumerate(drawn):
            prompt, length = int(stored.prompt_lengths[row]), int(stored.lengths[row])
            assert stored.ids[row, :prompt].tolist() == tokenizer(exercise.prompt)["input_ids"]
            assert stored.ids[row, prompt:length].tolist() == tokenizer(exercise.completion)["input_ids"]
            assert (stored.ids[row, length:] == tokenizer.pad_token_id).all()


def test_a_step_draws_as_many_examples_of_a_task_as_the_recipe_says(tokenizer: PreTrainedTokenizerFast) -> None:
    pools = {task: pool(task, 30, tokenizer, seed=0) for task in BUNDLED_TASKS}
    sizes = {"ioi": 3, "greater_than": 2, "countdown": 5, "infilling": 1, "sudoku": 4}
    groups = draw_batch(pools, sizes, np.random.default_rng(0))
    assert len(groups) == 2
    origins = {
        tuple(source.ids[row, : source.lengths[row]].tolist()): task
        for task, source in pools.items() for row in range(30)
    }  # fmt: skip
    found = [
        origins[tuple(group.ids[row, : group.lengths[row]].tolist())]
        for group in groups for row in range(len(group.ids))
    ]  # fmt: skip
    assert {task: found.count(task) for task in sizes} == sizes
    for seed in range(30):
        for group in draw_batch(pools, {"ioi": 1, "infilling": 1, "sudoku": 1}, np.random.default_rng(seed)):
            assert group.ids.shape[1] == group.lengths.max()
