from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mechshift_core.errors import ExecutionError
from mechshift_core.tasks import TASKS, CounterfactualText, Task, ioi
from mechshift_core.tasks.counterfactual import Dataset, Example, align, generated_dataset

GOOD = CounterfactualText("t", "When Mary and John gave", "When Mary and Tom gave", ("Mary",), ("John",), "key")
EXAMPLE = Example("t", (1, 2, 3), (1, 4, 3), (5, 6), (7,), 2, "a b c", "a d c", "e f", "g")
DATASET = Dataset("ioi", "logit_difference", 2, (EXAMPLE, replace(EXAMPLE, masks=1)), {"a reason": 3})


@pytest.fixture(scope="module")
def few_byte_pairs() -> PreTrainedTokenizerFast:
    """The same kind, trained on half of the names only: the others take several tokens, and not equally many."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*ioi.FRAMES.values(), *(f" {name} {name}" for name in ioi.NAMES[:10])], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def test_an_aligned_pair_holds_the_tokens_of_its_text(tokenizer: PreTrainedTokenizerBase) -> None:
    example = align(replace(GOOD, answers=("Mary", "Anna"), remainder="a drink :"), tokenizer)
    assert isinstance(example, Example)
    assert tokenizer.convert_ids_to_tokens(list(example.clean_ids)) == GOOD.clean.split()
    assert tokenizer.convert_ids_to_tokens(list(example.corrupt_ids)) == GOOD.corrupt.split()
    assert tokenizer.convert_ids_to_tokens(list(example.answer_ids)) == ["Mary", "Anna"]
    assert tokenizer.convert_ids_to_tokens(list(example.foil_ids)) == ["John"]
    assert (example.masks, example.answer, example.foil) == (4, "Mary Anna", "John")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"corrupt": "When Mary gave"}, "clean and corrupted prompt differ in their number of tokens"),
        ({"clean": "When Mary and Wolfgang gave"}, "a word is not in the vocabulary"),
        ({"corrupt": "When Mary and Wolfgang gave"}, "a word is not in the vocabulary"),
        ({"answers": ("Mary Anna",)}, "clean and corrupted completion differ in their number of tokens"),
        ({"answers": ("John Anna",)}, "the first tokens of answer and foil are the same"),
        ({"answers": ("Mary", "Anna Tom")}, "an answer or foil is not a single token"),
        ({"foils": ("Wolfgang",)}, "an answer or foil is not a single token"),
        ({"foils": ("",)}, "an answer or foil is not a single token"),
        ({"foils": ("John", "Mary")}, "answer and foil are the same token"),
        ({"corrupt": GOOD.clean}, "clean and corrupted prompt are the same"),
        # "gave" + "Mary" without a space is another word: the prompt's own last token would change.
        ({"joiner": ""}, "an answer or foil is not a single token"),
    ],
)
def test_a_pair_that_cannot_be_used_says_why(
    changes: dict[str, Any], reason: str, tokenizer: PreTrainedTokenizerBase
) -> None:
    assert isinstance(align(GOOD, tokenizer), Example)
    assert align(replace(GOOD, **changes), tokenizer) == reason


def test_many_answers_are_shown_by_the_first_and_the_last(tokenizer: PreTrainedTokenizerBase) -> None:
    example = align(replace(GOOD, answers=("Mary", "Anna", "Lisa", "Emma", "Kate")), tokenizer)
    assert isinstance(example, Example) and example.answer == "Mary … Kate" and len(example.answer_ids) == 5


class Given:
    """A task that gives the same pairs over and over."""

    name, metric = "given", "logit_difference"

    def __init__(self, *texts: CounterfactualText) -> None:
        self.texts, self.draws = texts, 0

    def counterfactual(self, rng: np.random.Generator) -> CounterfactualText:
        self.draws += 1
        return self.texts[self.draws % len(self.texts)]


def held_out_keys() -> list[str]:
    from mechshift_core.tasks import is_held_out

    return list(itertools.islice((f"k{n}" for n in itertools.count() if is_held_out(f"k{n}")), 3))


def test_too_few_prompts_are_an_error_with_the_numbers(tokenizer: PreTrainedTokenizerBase) -> None:
    one, two, three = held_out_keys()
    usable = replace(GOOD, key=one)
    unequal = replace(GOOD, clean="When John and Mary gave a", key=two)
    unknown = replace(GOOD, clean="When Wolfgang and Mary gave", key=three)
    expected = (
        r"task 'given': only 1 aligned prompts of 2 asked for \(1 x a word is not in the vocabulary; 1 x clean and "
        r"corrupted prompt differ in their number of tokens\); ask for fewer examples or use another task\. Not in the "
        r"vocabulary: 'Wolfgang'; `mechshift models show MODEL --words` lists those that a model knows$"
    )
    with pytest.raises(ExecutionError, match=expected):
        generated_dataset(Given(unequal, usable, unknown), tokenizer, examples=2, seed=0)  # type: ignore[arg-type]


def test_a_task_that_runs_out_of_prompts_says_so(tokenizer: PreTrainedTokenizerBase) -> None:
    task = Given(replace(GOOD, key=held_out_keys()[0]))
    with pytest.raises(ExecutionError, match=r"only 1 aligned prompts of 3 .* \(it has no more distinct prompts\)"):
        generated_dataset(task, tokenizer, examples=3, seed=0)  # type: ignore[arg-type]
    assert task.draws < 3000


def test_dropped_prompts_are_counted_and_training_combinations_are_not_even_drawn(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    one, two, _ = held_out_keys()
    usable, unknown = replace(GOOD, key=one), replace(GOOD, clean="When Wolfgang and Mary gave", key=two)
    trained = replace(GOOD, clean="When John and Mary gave", key="k0")
    assert "k0" not in held_out_keys()
    dataset = generated_dataset(Given(usable, unknown, trained), tokenizer, examples=1, seed=0)  # type: ignore[arg-type]
    assert [example.clean for example in dataset.examples] == [GOOD.clean]
    assert dataset.dropped == {"a word is not in the vocabulary": 1} and dataset.unknown == {"Wolfgang": ""}
    stored = Dataset.from_json(dataset.to_json())
    assert stored.account == dataset.account
    assert str(dataset.account).endswith("(1 x a word is not in the vocabulary: 'Wolfgang')")


def test_a_tokenizer_that_a_task_does_not_suit_is_given_up_soon() -> None:
    foreign = Tokenizer(models.WordLevel({"<unk>": 0, "hello": 1}, unk_token="<unk>"))
    foreign.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=foreign, unk_token="<unk>")
    with pytest.raises(ExecutionError, match=r"only 0 aligned prompts of 10 asked for \(201 x a word is not in the"):
        generated_dataset(TASKS["infilling"], tokenizer, examples=10, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_byte_level_tokenizer_goes_on_with_a_space_where_the_task_has_one(
    task: Task, byte_pairs: PreTrainedTokenizerFast
) -> None:
    dataset = generated_dataset(task, byte_pairs, examples=30, seed=0)
    joiner = "" if task.name == "greater_than" else " "
    for example in dataset.examples:
        assert byte_pairs.decode(example.clean_ids) == example.clean
        assert byte_pairs.decode(example.corrupt_ids) == example.corrupt
        assert len(example.clean_ids) == len(example.corrupt_ids)
        answers = [byte_pairs.decode([token]) for token in example.answer_ids]
        assert all(answer.startswith(joiner) and answer.strip() for answer in answers)
        if len(answers) == 1:
            assert answers == [f"{joiner}{example.answer}"]
            assert byte_pairs.decode([*example.clean_ids, *example.answer_ids]) == f"{example.clean} {example.answer}"
    if task.name == "greater_than":
        first = dataset.examples[0]
        options = sorted(byte_pairs.decode([token]) for token in (*first.answer_ids, *first.foil_ids))
        assert options == [f"{year:02d}" for year in range(100)]


def test_prompts_whose_names_take_unequally_many_tokens_are_dropped_and_counted(
    few_byte_pairs: PreTrainedTokenizerFast,
) -> None:
    dataset = generated_dataset(TASKS["ioi"], few_byte_pairs, examples=10, seed=0)
    assert dataset.dropped["clean and corrupted prompt differ in their number of tokens"] > 0
    assert dataset.dropped["clean and corrupted completion differ in their number of tokens"] > 0
    for example in dataset.examples:
        assert len(example.clean_ids) == len(few_byte_pairs(example.clean)["input_ids"]) == len(example.corrupt_ids)
        whole = few_byte_pairs.decode([*example.clean_ids, *example.answer_ids, *example.clean_rest_ids])
        assert whole == f"{example.clean.rstrip()} {example.answer}"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_dataset_survives_json(task: Task, tokenizer_for: Callable[[Task], PreTrainedTokenizerBase]) -> None:
    for dataset in (DATASET, generated_dataset(task, tokenizer_for(task), examples=5, seed=0)):
        again = Dataset.from_json(dataset.to_json())
        assert again == dataset and hash(again.examples) == hash(dataset.examples)
        assert again.digest() == dataset.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"clean_ids": (1, 2, 4)}, {"corrupt_ids": (1, 5, 3)}, {"answer_ids": (5,)}, {"answer_ids": (5, 8)},
        {"foil_ids": (8,)}, {"masks": 3}, {"answer_ids": (5,), "foil_ids": (6, 7)},
    ],
)  # fmt: skip
def test_the_digest_changes_with_every_token(change: dict[str, Any]) -> None:
    assert replace(DATASET, examples=(replace(EXAMPLE, **change), *DATASET.examples[1:])).digest() != DATASET.digest()


def test_the_digest_changes_with_metric_and_order_and_not_with_text_or_counts() -> None:
    assert replace(DATASET, metric="probability_difference").digest() != DATASET.digest()
    assert replace(DATASET, examples=DATASET.examples[::-1]).digest() != DATASET.digest()
    renamed = replace(EXAMPLE, template="u", clean="x", corrupt="y", answer="z", foil="w")
    same = Dataset("other", "logit_difference", 9, (renamed, DATASET.examples[1]), {})
    assert same.digest() == DATASET.digest()


def test_the_digest_of_a_part_is_that_of_its_examples_alone() -> None:
    assert DATASET.digest(slice(1, 2)) == replace(DATASET, examples=DATASET.examples[1:]).digest()
    assert DATASET.digest(slice(0, 1)) != DATASET.digest(slice(1, 2))
