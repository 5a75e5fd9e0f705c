from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy_recipe import toy_model
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from mechshift_core.tasks import BUNDLED_TASKS, Exercise
from mechshift_core.zoo.corpus import exercises
from mechshift_core.zoo.evaluate import accuracies, complete


def mixed(count: int) -> list[Exercise]:
    """Exercises of all tasks, in turn."""
    drawn = [exercises(task, count, seed=1, held_out=True) for task in BUNDLED_TASKS]
    return [exercise for together in zip(*drawn, strict=True) for exercise in together]


def bidirectional(model: Qwen2ForCausalLM) -> Qwen2ForCausalLM:
    model.config.is_causal = False
    return model


def slow_completion(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, exercise: Exercise, *, shifted: bool, masks: bool
) -> str:
    """One prompt, one token at a time; without masks the model sees nothing but what stands to the left."""
    ids: list[int] = tokenizer(exercise.prompt)["input_ids"]
    start, count = len(ids), len(tokenizer(exercise.completion)["input_ids"])
    for written in range(count):
        hidden = [tokenizer.mask_token_id] * (count - written) if masks else []
        logits = model(input_ids=torch.tensor([[*ids, *hidden]])).logits[0, len(ids) - int(shifted)]
        ids.append(int(logits.argmax()))
    return " ".join(tokenizer.convert_ids_to_tokens(ids[start:]))


@pytest.mark.long
@pytest.mark.parametrize("shifted", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_batched_completions_are_those_of_one_prompt_at_a_time(
    causal: bool, shifted: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = toy_model(tokenizer) if causal else bidirectional(toy_model(tokenizer))
    drawn = mixed(4)
    slow = [slow_completion(model, tokenizer, e, shifted=shifted, masks=True) for e in drawn]
    assert complete(model, tokenizer, drawn, shifted=shifted) == slow
    assert complete(model, tokenizer, drawn, shifted=shifted, batch_size=3) == slow
    assert len(set(slow)) > len(drawn) // 2, "the model's answers differ from prompt to prompt"


def test_a_causal_model_ignores_the_masks_to_its_right_and_a_bidirectional_one_does_not(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model, drawn = toy_model(tokenizer), exercises("sudoku", 6, seed=1, held_out=True)

    def without_masks() -> list[str]:
        return [slow_completion(model, tokenizer, e, shifted=True, masks=False) for e in drawn]

    assert complete(model, tokenizer, drawn) == without_masks()
    bidirectional(model)
    assert complete(model, tokenizer, drawn) != without_masks()


class Knowing:
    """A model that writes given completions, and insists that what is to come is masked and nothing else is."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, drawn: list[Exercise], wrong: set[str]) -> None:
        self.mask, self.size = tokenizer.mask_token_id, len(tokenizer)
        self.known = {}
        for exercise in drawn:
            prompt = tokenizer(exercise.prompt)["input_ids"]
            completion = tokenizer(exercise.completion)["input_ids"]
            self.known[tuple(prompt)] = [0] * len(completion) if exercise.prompt in wrong else completion

    def __call__(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        logits = torch.zeros(*input_ids.shape, self.size)
        for row, ids in enumerate(input_ids.tolist()):
            hidden = ids.count(self.mask)
            assert hidden and ids[-hidden:] == [self.mask] * hidden
            (prompt,) = [p for p in self.known if tuple(ids[: len(p)]) == p and len(p) + len(self.known[p]) == len(ids)]
            at = len(ids) - hidden
            logits[row, at - 1, self.known[prompt][at - len(prompt)]] = 1.0
        return SimpleNamespace(logits=logits)


def test_accuracy_is_the_share_of_prompts_solved(tokenizer: PreTrainedTokenizerFast) -> None:
    drawn = [e for task in BUNDLED_TASKS for e in exercises(task, 20, seed=7, held_out=True)]
    wrong = {e.prompt for task in BUNDLED_TASKS for e in exercises(task, 20, seed=7, held_out=True)[:5]}
    wrong -= {e.prompt for task in BUNDLED_TASKS for e in exercises(task, 20, seed=7, held_out=True)[5:]}
    model: Any = Knowing(tokenizer, drawn, wrong)
    missed = {
        task: sum(e.prompt in wrong for e in exercises(task, 20, seed=7, held_out=True)) for task in BUNDLED_TASKS
    }
    assert accuracies(model, tokenizer, list(BUNDLED_TASKS), count=20, seed=7) == {
        task: (20 - count) / 20 for task, count in missed.items()
    }
    assert sum(missed.values()) > 15


def test_accuracy_is_taken_on_held_out_prompts_unless_asked_otherwise(tokenizer: PreTrainedTokenizerFast) -> None:
    seen = exercises("ioi", 10, seed=7, held_out=False)
    model: Any = Knowing(tokenizer, seen, set())
    assert accuracies(model, tokenizer, ["ioi"], count=10, seed=7, held_out=False) == {"ioi": 1.0}
    with pytest.raises(ValueError, match="not enough values to unpack"):  # it knows none of these
        accuracies(model, tokenizer, ["ioi"], count=10, seed=7)
