from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from published_checkpoints import random_model, store_as_hub, write_published
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from mechshift_core.execution.plan import make_plan
from mechshift_core.models import published
from mechshift_core.spec import load_spec
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.banks import NATURAL, banks_of

SPECS = Path(__file__).parents[2] / "specs"
PAIRS = {
    "gpt2-diffugpt": ("diffugpt", "gpt2", 50257),
    "qwen3-a2d": ("a2d", "a2d-qwen3", 151936),
    "qwen2.5-dream-7b": ("dream", "Dream", 152064),
    "llama2-diffullama-7b": ("diffullama", "llama", 32000),
}
"""Spec -> layout of the tests' checkpoints, its declared name, size of the vocabulary."""
WORDS = r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"
DIGITS = r"'s|'t| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+"
"""How GPT-2 splits text before it merges bytes, and how tokenizers do that read every digit as a token."""


@pytest.mark.parametrize("name", PAIRS)
def test_the_spec_of_a_published_pair_says_what_is_known_of_its_models(name: str) -> None:
    _, declared, vocabulary = PAIRS[name]
    spec = load_spec(SPECS / f"{name}.yaml", check_files=False)
    (pair,) = spec.pairs
    before, after = spec.models[pair.before], spec.models[pair.after]
    known = {**published.BY_MODEL_TYPE, **published.WRAPPED}[declared]
    assert spec.name == name
    assert (after.paradigm, after.shifted) == ("masked_diffusion", known.shifted)
    assert after.mask_token == known.mask_tokens[vocabulary]
    assert after.tokenizer == before.source  # circuits are compared on the same tokens


@pytest.mark.nightly
@pytest.mark.parametrize("name", PAIRS)
def test_the_spec_of_a_published_pair_can_be_planned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small models of the same vocabularies, with a tokenizer that splits text as theirs do, stand in for the Hub's.
    layout, _, vocabulary = PAIRS[name]
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    spec = load_spec(SPECS / f"{name}.yaml")
    assert spec.measures.overlap is not None  # the stand-ins have fewer edges
    overlap = spec.measures.overlap.model_copy(update={"top_k": (10, 20)})
    spec = spec.model_copy(update={"measures": spec.measures.model_copy(update={"overlap": overlap})})
    before, after = (spec.models[key] for key in (spec.pairs[0].before, spec.pairs[0].after))
    random_model(layout, vocabulary=vocabulary).save_pretrained(tmp_path / "before")
    byte_pairs(WORDS if layout == "diffugpt" else DIGITS).save_pretrained(tmp_path / "before")
    write_published(layout, tmp_path / "after", vocabulary=vocabulary)
    for number, (model, folder) in enumerate(((before, "before"), (after, "after"))):
        store_as_hub(tmp_path / "hub", model.location, tmp_path / folder, commit=f"{number}" * 40)
    plan = make_plan(spec)
    assert [facts.revision for facts in plan.models.values()] == ["0" * 40, "1" * 40]
    assert {task: len(data.examples) for task, data in plan.datasets.items()} == {
        t.name: t.examples for t in spec.tasks
    }
    assert {facts.dtype for facts in plan.models.values()} == {spec.execution.dtype}


def byte_pairs(pattern: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer trained on the tasks' own text."""
    draw = np.random.default_rng(0)
    exercises = [banks_of(task)[NATURAL].exercise(draw) for task in TASKS.values() for _ in range(1500)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=3000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    # Centuries and their years apart: in so few texts every year would become one token, as few are to GPT-2.
    texts = [re.sub(r"(\d\d)(\d\d)", r"\1 (\2)", f"{one.prompt} {one.completion}") for one in exercises]
    numbers = [f"({number:02d})" for number in range(100)] * 50
    tokenizer.train_from_iterator([*texts, *numbers], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)
