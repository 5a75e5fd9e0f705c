"""A clean prompt counts once; of more lines than are asked for some are drawn, by template and from the seed."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from mechshift_core.tasks import TASKS, CounterfactualText, is_held_out
from mechshift_core.tasks.counterfactual import Dataset, Example, generated_dataset
from mechshift_core.tasks.custom import custom_dataset
from mechshift_core.tasks.distinct import REVERSED, SAME_CLEAN, SAME_PAIR, shared_prompts
from mechshift_core.tasks.draw import draw_examples

ROW: dict[str, Any] = {"clean_ids": [4, 5, 6], "corrupt_ids": [4, 7, 6], "answer_ids": [8], "foil_ids": [9, 10]}
TURNED = {"clean_ids": [4, 7, 6], "corrupt_ids": [4, 5, 6], "answer_ids": [10, 9], "foil_ids": [8]}


def load(tmp_path: Path, *rows: dict[str, Any], **options: Any) -> Dataset:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return custom_dataset("mine", path, options.pop("tokenizer", None), vocabulary=1000, **options)


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (ROW, SAME_PAIR),
        ({**ROW, "foil_ids": [10, 9]}, SAME_PAIR),
        ({**ROW, "template": "another"}, SAME_PAIR),
        ({**ROW, "corrupt_ids": [4, 8, 6]}, SAME_CLEAN),
        ({**ROW, "answer_ids": [11]}, SAME_CLEAN),
        ({**ROW, "foil_ids": [9]}, SAME_CLEAN),
        (TURNED, REVERSED),
        ({**TURNED, "answer_ids": [9]}, None),
        ({**ROW, "clean_ids": [4, 8, 6]}, None),
    ],
)
def test_a_prompt_that_is_there_already_is_dropped_and_counted(
    second: dict[str, Any], reason: str | None, tmp_path: Path
) -> None:
    dataset = load(tmp_path, ROW, second)
    assert len(dataset.examples) == (2 if reason is None else 1)
    assert dataset.dropped == ({} if reason is None else {reason: 1})
    assert dataset.dropped_lines == ({} if reason is None else {reason: (2,)})
    assert dataset.examples[0].clean_ids == (4, 5, 6), "the first line is kept"


def test_a_data_set_written_ten_times_is_the_data_set(tmp_path: Path) -> None:
    rows = [{**ROW, "clean_ids": [4, 5, number]} for number in range(20)]
    once, ten = load(tmp_path, *rows), load(tmp_path, *rows * 10)
    assert ten.examples == once.examples and ten.digest() == once.digest()
    assert ten.dropped == {SAME_PAIR: 180}
    assert str(ten.account) == f"20 of 200 aligned (180 x {SAME_PAIR}, lines 21, 22, 23, 24, 25, ...)"


def test_texts_of_the_same_tokens_are_one_prompt(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    row = {"clean": "Mary and John gave", "corrupt": "Mary and Tom gave", "answer": "Mary", "foil": "John"}
    spaced = {**row, "clean": "Mary  and John gave", "template": "two"}
    assert load(tmp_path, row, spaced, tokenizer=tokenizer).dropped == {SAME_PAIR: 1}


def test_generated_prompts_of_the_same_tokens_are_one_prompt(tokenizer: PreTrainedTokenizerBase) -> None:
    keys = (key for key in map(str, range(1000)) if is_held_out(key))
    texts = ("Mary and John gave", "Mary  and John gave", "Mary and Paul gave")
    pairs = [CounterfactualText("t", text, "Mary and Tom gave", ("Mary",), ("Anna",), next(keys)) for text in texts]

    class Given:
        name, metric, judged_by = "given", "logit_difference", "metric"

        def counterfactual(self, rng: np.random.Generator) -> CounterfactualText:
            return pairs[int(rng.integers(3))]

    dataset = generated_dataset(Given(), tokenizer, examples=2, seed=0)  # type: ignore[arg-type]
    assert len({example.clean_ids for example in dataset.examples}) == 2 and dataset.judged_by == "metric"
    assert dataset.dropped in ({}, {SAME_PAIR: 1})


def test_tasks_that_share_clean_prompts_are_found_out(tmp_path: Path) -> None:
    one = load(tmp_path, ROW, {**ROW, "clean_ids": [1, 2, 3]}).examples
    two = load(tmp_path, {**ROW, "clean_ids": [3, 2, 1]}, {**ROW, "answer_ids": [11]}).examples
    assert shared_prompts(one, two) == ((0, 1),)
    assert shared_prompts(one, two[:1]) == ()


def examples_of(sizes: dict[str, int]) -> list[Example]:
    return [
        Example(template, (number,), (99,), (1,), (2,), 1, str(number), "99", "1", "2")
        for number, template in enumerate(t for t, size in sizes.items() for _ in range(size))
    ]


def templates(examples: list[Example], drawn: Iterable[int]) -> Counter[str]:
    return Counter(examples[number].template for number in drawn)


@pytest.mark.parametrize(
    ("sizes", "count", "expected"),
    [
        ({"a": 100, "b": 100, "c": 100}, 200, {"a": (66, 67), "b": (66, 67), "c": (66, 67)}),
        ({"a": 80, "b": 20}, 50, {"a": (40, 40), "b": (10, 10)}),
        ({"a": 199, "b": 1}, 10, {"a": (9, 9), "b": (1, 1)}),
        ({"a": 3, "b": 2}, 5, {"a": (3, 3), "b": (2, 2)}),
        ({"a": 3, "b": 2}, 50, {"a": (3, 3), "b": (2, 2)}),
        ({"a": 3, "b": 3, "c": 3}, 2, {"a": (0, 1), "b": (0, 1), "c": (0, 1)}),
    ],
)
def test_templates_are_drawn_in_proportion_and_none_vanishes(
    sizes: dict[str, int], count: int, expected: dict[str, tuple[int, int]]
) -> None:
    examples = examples_of(sizes)
    for seed in range(5):
        drawn = draw_examples(examples, count, seed=seed, task="mine")
        assert len(drawn) == min(count, len(examples)) and list(drawn) == sorted(set(drawn))
        found = templates(examples, drawn)
        assert all(low <= found[template] <= high for template, (low, high) in expected.items()), found


def test_a_draw_depends_on_seed_and_task_and_not_on_the_order_of_the_lines() -> None:
    examples = examples_of({"a": 60, "b": 40})
    chosen = {examples[number] for number in draw_examples(examples, 30, seed=1, task="mine")}
    shuffled = random.Random(0).sample(examples, len(examples))
    assert {shuffled[number] for number in draw_examples(shuffled, 30, seed=1, task="mine")} == chosen
    for other in ({"seed": 2, "task": "mine"}, {"seed": 1, "task": "other"}):
        assert {examples[n] for n in draw_examples(examples, 30, **other)} != chosen  # type: ignore[arg-type]
    assert set(draw_examples(examples, 20, seed=1, task="mine")) < set(draw_examples(examples, 30, seed=1, task="mine"))


def test_every_line_of_a_template_is_drawn_about_as_often() -> None:
    examples = examples_of({"a": 12, "b": 8})
    counts = Counter(number for seed in range(400) for number in draw_examples(examples, 10, seed=seed, task="mine"))
    assert all(150 < counts[number] < 250 for number in range(20)), counts


def test_a_number_of_examples_draws_of_the_aligned_lines_and_says_so(tmp_path: Path) -> None:
    rows = [{**ROW, "clean_ids": [4, 5, n], "template": f"t{n // 10}"} for n in range(30)]
    dataset = load(tmp_path, {**ROW, "corrupt_ids": [1]}, *rows, examples=12, seed=3)
    assert Counter(example.template for example in dataset.examples) == {"t0": 4, "t1": 4, "t2": 4}
    numbers = [example.clean_ids[-1] for example in dataset.examples]
    assert numbers == sorted(numbers)
    unequal = "clean and corrupted prompt differ in their number of tokens"
    assert str(dataset.account) == f"12 of 31 drawn, from 30 aligned (1 x {unequal}, line 1)"
    assert (dataset.account.asked, dataset.account.found, dataset.account.aligned, dataset.account.read) == (
        12,
        31,
        30,
        12,
    )
    assert str(load(tmp_path, *rows, examples=12).account) == "12 of 30 drawn"
    assert str(load(tmp_path, *rows, examples=40).account) == "30 of 30 aligned; 40 asked for"
    assert str(load(tmp_path, *rows).account) == "30 of 30 aligned"


def test_what_judges_a_data_set_does_not_depend_on_which_lines_are_drawn(tmp_path: Path) -> None:
    rows = [{**ROW, "clean_ids": [4, 5, n]} for n in range(20)]
    assert load(tmp_path, *rows).judged_by == "argmax", "the answer is one word; foils may be many"
    assert load(tmp_path, *rows, {**ROW, "clean_ids": [1, 5, 6], "answer_ids": [8, 8]}).judged_by == "argmax"
    mixed = [*rows, {**ROW, "clean_ids": [1, 5, 6], "answer_ids": [8, 11]}]
    assert {load(tmp_path, *mixed, examples=1, seed=seed).judged_by for seed in range(5)} == {"metric"}


def test_generated_tasks_judge_sets_and_numbers_by_the_metric_and_words_by_the_most_likely_token() -> None:
    by = {name: task.judged_by for name, task in TASKS.items()}
    assert {name for name, rule in by.items() if rule == "metric"} == {"sva", "greater_than"}
