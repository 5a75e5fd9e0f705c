from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import numpy as np
import pytest
from task_draws import drawn_exercises, drawn_pairs, graph, operands_and_target, prompt_and_revealed, solutions_of
from transformers import PreTrainedTokenizerBase

from mechshift_core.tasks import TASKS, CounterfactualText, Task, is_held_out
from mechshift_core.tasks.counterfactual import generated_dataset
from mechshift_core.tasks.greater_than import NOUNS
from mechshift_core.tasks.ioi import NAMES
from mechshift_core.zoo.corpus import exercises

every_task = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
LENGTHS = {"sudoku": {16}, "countdown": {5}, "path_star": {2, 3}}
"""Words of a task's completion, where it is not one."""


class Recorded:
    """A task that remembers which pairs it gave."""

    def __init__(self, task: Task) -> None:
        self.task, self.name, self.metric = task, task.name, task.metric
        self.given: dict[str, CounterfactualText] = {}

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText | None:
        text = self.task.counterfactual(rng)
        if text is not None:
            self.given.setdefault(text.clean, text)
        return text


@every_task
def test_every_exercise_is_solved_by_its_own_completion(task: Task) -> None:
    assert all(task.is_correct(e.prompt, e.completion) for e in drawn_exercises(task, 200))


@every_task
def test_a_completion_that_is_empty_too_long_or_of_other_words_is_wrong(task: Task) -> None:
    for exercise in drawn_exercises(task, 50):
        last = exercise.completion.split()[-1]
        cut = exercise.completion.removesuffix(last).strip()
        for wrong in ("", cut, f"{exercise.completion} {last}", f"{cut} target".strip(), f"{cut} <mask>".strip()):
            assert not task.is_correct(exercise.prompt, wrong), (exercise, wrong)


@every_task
def test_draws_depend_on_nothing_but_the_seed(task: Task) -> None:
    assert drawn_exercises(task, 30) == drawn_exercises(task, 30)
    assert drawn_exercises(task, 30) != drawn_exercises(task, 30, seed=1)
    assert drawn_pairs(task.name, 30) == drawn_pairs(task.name, 30)
    assert drawn_pairs(task.name, 30) != drawn_pairs(task.name, 30, seed=1)


@pytest.mark.nightly
@every_task
def test_a_dataset_is_determined_by_its_seed_and_longer_ones_begin_with_shorter_ones(
    task: Task, tokenizer_for: Callable[[Task], PreTrainedTokenizerBase]
) -> None:
    tokenizer = tokenizer_for(task)
    dataset = generated_dataset(task, tokenizer, examples=40, seed=3)
    assert dataset == generated_dataset(task, tokenizer, examples=40, seed=3)
    assert dataset.examples[:10] == generated_dataset(task, tokenizer, examples=10, seed=3).examples
    assert dataset.digest() != generated_dataset(task, tokenizer, examples=40, seed=4).digest()


@every_task
def test_a_tokenizer_with_the_words_of_a_task_aligns_every_pair_and_no_prompt_comes_twice(
    task: Task, tokenizer_for: Callable[[Task], PreTrainedTokenizerBase]
) -> None:
    tokenizer = tokenizer_for(task)
    dataset = generated_dataset(task, tokenizer, examples=60, seed=0)
    assert dataset.dropped == {}
    assert len({example.clean_ids for example in dataset.examples}) == 60
    for example in dataset.examples:
        assert len(example.clean_ids) == len(example.corrupt_ids) and example.clean_ids != example.corrupt_ids
        assert not set(example.answer_ids) & set(example.foil_ids)
        words = set(map(str, tokenizer.convert_ids_to_tokens([*example.clean_ids, *example.corrupt_ids])))
        assert not words & {"<unk>", "<pad>", "<mask>"}


@every_task
def test_what_a_pair_calls_the_answer_solves_its_clean_prompt_and_no_foil_does(task: Task) -> None:
    for text in drawn_pairs(task.name, 60):
        prompt, revealed = prompt_and_revealed(text.clean)
        for options, right in ((text.answers, True), (text.foils, False)):
            for option in options:
                completion = " ".join([*revealed.split(), option, *text.remainder.split()])
                assert task.is_correct(prompt, completion) == right, (text, option)


@every_task
def test_the_masks_of_a_pair_stand_for_the_answer_and_all_that_follows_it(
    task: Task, tokenizer_for: Callable[[Task], PreTrainedTokenizerBase]
) -> None:
    tokenizer = tokenizer_for(task)
    seen = set()
    for example in generated_dataset(task, tokenizer, examples=30, seed=0).examples:
        revealed = prompt_and_revealed(example.clean)[1].split()
        seen.add(example.masks + len(revealed))
    assert seen == LENGTHS.get(task.name, {1})


@pytest.mark.long
@every_task
def test_pairs_are_held_out_and_the_training_corpus_knows_neither_their_keys_nor_their_prompts(
    task: Task, tokenizer_for: Callable[[Task], PreTrainedTokenizerBase]
) -> None:
    tokenizer = tokenizer_for(task)
    recorded = Recorded(task)
    dataset = generated_dataset(recorded, tokenizer, examples=60, seed=0)  # type: ignore[arg-type]
    pairs = [recorded.given[example.clean] for example in dataset.examples]
    corpus = exercises(task.name, 500, seed=0, held_out=False)
    assert all(is_held_out(text.key) for text in pairs)
    assert not {text.key for text in pairs} & {e.key for e in corpus}
    assert not {prompt_and_revealed(text.clean)[0] for text in pairs} & {e.prompt for e in corpus}
    assert all(is_held_out(e.key) for e in exercises(task.name, 50, seed=0, held_out=True))


def combination(task: str, prompt: str) -> object:
    """What must not be in both training and held-out data, read off a prompt."""
    words = re.findall(r"\w+", prompt)
    if task == "ioi":
        return frozenset([word for word in words if word in NAMES][:2])
    if task == "greater_than":
        return frozenset(word for word in words if word in NOUNS), re.search(r"\d{4}", prompt)[0]  # type: ignore[index]
    if task == "countdown":
        return operands_and_target(prompt)[0]
    if task == "infilling":
        return prompt
    if task == "sva":
        return " ".join(word.removesuffix("s") for word in prompt.split())
    if task == "path_star":
        return graph(prompt)
    rank: dict[str, int] = {}  # a grid counts as the same whatever its digits are called
    (solution,) = solutions_of(prompt).tolist()
    return tuple(rank.setdefault(digit, len(rank)) for digit in solution), tuple(c == "_" for c in prompt.split())


@pytest.mark.long
@every_task
def test_a_combination_is_wholly_held_out_or_wholly_for_training(task: Task) -> None:
    held_out = {combination(task.name, e.prompt) for e in exercises(task.name, 100, seed=0, held_out=True)}
    training = {combination(task.name, e.prompt) for e in exercises(task.name, 400, seed=0, held_out=False)}
    assert held_out and training and not held_out & training


@pytest.mark.long
@pytest.mark.parametrize("task", [task for name, task in TASKS.items() if name != "path_star"], ids=lambda t: t.name)
def test_exercises_and_pairs_name_the_same_combination_by_the_same_key(task: Task) -> None:
    by_prompt = {e.prompt: e.key for e in drawn_exercises(task, 2500)}
    both = [(text.key, by_prompt[prompt]) for text in drawn_pairs(task.name, 2500, seed=1)
            if (prompt := prompt_and_revealed(text.clean)[0]) in by_prompt]  # fmt: skip
    assert both
    assert all(of_pair == of_exercise for of_pair, of_exercise in both)


def test_about_a_tenth_of_the_keys_is_held_out_and_always_the_same_ones() -> None:
    share = np.mean([is_held_out(f"key {n}") for n in range(10_000)])
    assert abs(share - 0.1) < 4 * (0.1 * 0.9 / 10_000) ** 0.5
    # The bundled models were trained without these: a changed hash would call seen combinations held out.
    pairs = ["ioi:" + "+".join(sorted(two)) for two in itertools.combinations(NAMES, 2)]
    held_out = [pair.removeprefix("ioi:") for pair in pairs if is_held_out(pair)]
    assert (len(held_out), held_out[0], held_out[-1]) == (18, "Luke+Mary", "Jane+Rose")
