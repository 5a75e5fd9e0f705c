"""A batch from text is the one that a study makes of the same prompts, and says what it can't use."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import write_random_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mechshift_core import CounterfactualBatch, attribute_edges, load_model
from mechshift_core.execution.batches import to_batch
from mechshift_core.interchange.inputs import read_for
from mechshift_core.metrics import LOGIT_DIFFERENCE
from mechshift_core.models import Model

WORDS = "[UNK] [MASK] the red ice hot blue cat dog saw a - one two . big".split()
PROMPTS: dict[str, list[Any]] = {
    "clean": ["the cat saw a", "the big cat saw the", "a dog saw a"],
    "corrupt": ["the dog saw a", "the big dog saw the", "a cat saw a"],
    "answers": ["cat", "red", "dog"],
    "distractors": ["dog", "blue", "cat"],
}
from_text = CounterfactualBatch.from_text


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", mask_token="[MASK]")


@pytest.fixture(scope="module")
def folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with its tokenizer beside it."""
    path = write_random_model("qwen2", tmp_path_factory.mktemp("models") / "with-words")
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def causal(folder: Path) -> Model:
    return load_model(folder, device="cpu")


@pytest.fixture(scope="module")
def diffusion(folder: Path) -> Model:
    return load_model(folder, paradigm="masked_diffusion", device="cpu")


@pytest.fixture(scope="module")
def wordless(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Model]:
    path = write_random_model("qwen2", tmp_path_factory.mktemp("models") / "wordless")
    return lambda paradigm: load_model(path, paradigm=paradigm, device="cpu")  # type: ignore[arg-type]


def ids(text: str) -> list[int]:
    return [WORDS.index(word) for word in text.split()]


def same(one: CounterfactualBatch, other: CounterfactualBatch) -> bool:
    names = ("clean_ids", "corrupt_ids", "answer_ids", "foil_ids", "position")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names) and torch.equal(
        one.present, other.present
    )


def test_prompts_become_the_tokens_of_their_words(causal: Model) -> None:
    batch = from_text(causal, **PROMPTS)
    first, longest, _ = PROMPTS["clean"]
    assert batch.clean_ids.tolist()[:2] == [[*ids(first), 0], ids(longest)]
    assert batch.present.sum(1).tolist() == [4, 5, 4]
    assert torch.as_tensor(batch.position).tolist() == [3, 4, 3], "where the last token of the prompt is read"
    assert [batch.answer_ids.tolist(), batch.foil_ids.tolist()] == [
        [ids(word) for word in PROMPTS[name]] for name in ("answers", "distractors")
    ]
    assert batch.kept is not None and batch.kept.tolist() == [0, 1, 2]
    assert repr(batch) == "CounterfactualBatch(3 examples x 5 positions, padded, logit_difference)"


def test_a_masked_diffusion_model_sees_the_answer_as_a_mask(diffusion: Model) -> None:
    batch = from_text(diffusion, **PROMPTS)
    mask = WORDS.index("[MASK]")
    assert batch.clean_ids.tolist()[1] == [*ids(PROMPTS["clean"][1]), mask]
    assert batch.corrupt_ids.tolist()[0][:5] == [*ids(PROMPTS["corrupt"][0]), mask]
    assert torch.as_tensor(batch.position).tolist() == [3, 4, 3], "shifted: the mask is predicted one position before"
    assert attribute_edges(diffusion, batch, steps=1).values.shape[0] == 3


@pytest.mark.parametrize("paradigm", ["autoregressive", "masked_diffusion"])
def test_the_batch_is_that_of_a_study(folder: Path, paradigm: str, tmp_path: Path) -> None:
    rows = zip(*PROMPTS.values(), strict=True)
    lines = [json.dumps(dict(zip(("clean", "corrupt", "answer", "foil"), row, strict=True))) for row in rows]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    model, dataset = read_for(str(folder), paradigm=paradigm, data=str(tmp_path / "pairs.jsonl"))
    assert same(from_text(model, **PROMPTS), to_batch(model, dataset, dataset.examples))


def test_a_tokenizer_is_given_where_the_model_has_none(
    wordless: Callable[[str], Model], causal: Model, tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    model = wordless("autoregressive")
    for given in (tokenizer, folder, str(folder)):
        assert same(from_text(model, **PROMPTS, tokenizer=given), from_text(causal, **PROMPTS))
    with pytest.raises(ValueError, match="carries no tokenizer; give one as `tokenizer`"):
        from_text(model, **PROMPTS)
    with pytest.raises(ValueError, match="tokenizer: expected one of Transformers, a folder or hf:ORG/NAME, got int"):
        from_text(model, **PROMPTS, tokenizer=3)  # type: ignore[arg-type]


def test_a_metric_of_ones_own_is_taken(causal: Model) -> None:
    mine = replace(LOGIT_DIFFERENCE, name="mine")
    assert repr(from_text(causal, **PROMPTS, metric=mine)).endswith(", padded, mine)")


def test_sets_of_answers_and_tuples_are_taken(causal: Model) -> None:
    batch = from_text(causal, ("the cat saw a",), ("the dog saw a",), [("cat", "hot")], [["dog", "red"]])
    assert batch.answer_ids.tolist() == [[WORDS.index("cat"), WORDS.index("hot")]]


def test_answers_of_several_tokens_are_compared_at_the_first_and_said(causal: Model, diffusion: Model) -> None:
    prompts = ["the cat saw a"], ["the dog saw a"], ["red-hot"], ["ice-hot"]
    with pytest.warns(UserWarning, match="1 of 1 examples have an answer or a distractor of several tokens"):
        batch = from_text(causal, *prompts)
    assert [batch.answer_ids.tolist(), batch.foil_ids.tolist()] == [[[WORDS.index("red")]], [[WORDS.index("ice")]]]
    with pytest.warns(UserWarning, match="several tokens"):
        batch = from_text(diffusion, *prompts)
    assert batch.clean_ids.tolist() == [[*ids("the cat saw a"), *[WORDS.index("[MASK]")] * 3]]


UNUSABLE = {
    "clean and corrupted prompt differ in their number of tokens": ("the cat saw a", "the big dog saw a", "cat", "dog"),
    "clean and corrupted prompt are the same": ("the cat saw a", "the cat saw a", "cat", "dog"),
    "answer and foil are the same token": ("the cat saw a", "the dog saw a", "cat", "cat"),
    "the first tokens of answer and foil are the same": ("the cat saw a", "the dog saw a", "red-hot", "red-blue"),
    "an answer or foil is not a single token": ("the cat saw a", "the dog saw a", ["red-hot", "cat"], ["ice", "dog"]),
    "a word is not in the vocabulary": ("the zebra saw a", "the dog saw a", "cat", "dog"),
    "the mask token stands in the prompt or the answer": ("the [MASK] saw a", "the dog saw a", "cat", "dog"),
    "the clean prompt is there already": ("a dog saw a", "a big saw a", "dog", "big"),
}


@pytest.mark.parametrize("reason", UNUSABLE)
def test_what_a_study_drops_is_dropped_with_a_warning_or_refused(diffusion: Model, reason: str) -> None:
    prompts = {
        name: [values[2], extra, values[0]]
        for (name, values), extra in zip(PROMPTS.items(), UNUSABLE[reason], strict=True)
    }
    message = rf"1 of 3 examples can't be used: 1 x {reason} \(number 1\)"
    with pytest.warns(UserWarning, match=message) as told:
        batch = from_text(diffusion, **prompts)
    assert batch.kept is not None and batch.kept.tolist() == [0, 2]
    assert told[0].filename == __file__, "the warning points at the call"
    assert batch.rows(torch.tensor([1])).kept == torch.tensor([2])
    with pytest.raises(ValueError, match=message):
        from_text(diffusion, **prompts, unusable="refuse")


def test_nothing_left_is_an_error(causal: Model) -> None:
    with pytest.raises(ValueError, match="2 of 2 examples can't be used: 2 x a word is not in the vocabulary"):
        from_text(causal, ["zebra"] * 2, ["yak"] * 2, ["cat"] * 2, ["dog"] * 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": []}, "their lengths differ: clean 0, corrupt 3, answers 3, distractors 3"),
        ({"answers": ["cat"]}, "their lengths differ: clean 3, corrupt 3, answers 1, distractors 3"),
        ({name: [] for name in PROMPTS}, "clean: expected at least one prompt, got an empty list"),
        ({"clean": "the cat saw a"}, "clean: expected a list, each text, got 'the cat saw a'"),
        ({"clean": ["the cat saw a", 3, "a"]}, r"clean\[1\]: expected text, got 3"),
        ({"corrupt": [None] * 3}, r"corrupt\[0\]: expected text, got None"),
        ({"answers": ["cat", b"dog", "red"]}, r"answers\[1\]: expected text or a list, each text, got b'dog'"),
        ({"answers": ["cat", ["dog", 1], "red"]}, r"answers\[1\]\[1\]: expected text, got 1"),
        ({"answers": ["cat", [], "red"]}, r"answers\[1\]: expected text or at least 1 item, got a list"),
        ({"distractors": ["dog", "", "cat"]}, r"distractors\[1\]: expected text that is not empty or a list, got ''"),
        ({"metric": "accuracy"}, "metric: expected .*'logit_difference'.*, got 'accuracy'"),
        ({"unusable": "keep"}, "unusable: expected 'drop' or 'refuse', got 'keep'"),
    ],
)
def test_what_is_no_list_of_prompts_is_refused(causal: Model, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_text(causal, **{**PROMPTS, **changes})


def test_what_is_no_model_and_a_model_without_a_mask_are_refused(
    wordless: Callable[[str], Model], tokenizer: PreTrainedTokenizerFast
) -> None:
    with pytest.raises(ValueError, match="model: expected a model as load_model gives it, got str"):
        from_text("bundled:tiny-s0/arm", **PROMPTS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"masked diffusion model without a mask token, .*give `mask_token` to load"):
        from_text(wordless("masked_diffusion"), **PROMPTS, tokenizer=tokenizer)


def test_a_prompt_that_is_too_long_is_refused(causal: Model) -> None:
    long = "the cat saw a " * 9
    with pytest.raises(ValueError, match=r"a prompt has 36 tokens, but .* reads 32"):
        from_text(causal, [long], [long.replace("cat", "dog")], ["cat"], ["dog"])


def test_usable_prompts_warn_of_nothing(causal: Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_text(causal, **PROMPTS)
