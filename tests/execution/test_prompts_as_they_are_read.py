"""Runs on text against an independent reading: the tokenizer's own tokens through the Transformers model."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from real_tokenizer import write_real_tokenizer
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mechshift_core import run
from mechshift_core.spec import SpecError
from mechshift_core.tasks.sva import VERBS

SPEC: dict[str, Any] = {
    "schema": "mechshift/v1",
    "name": "text",
    "models": {
        "before": {"source": "before", "paradigm": "autoregressive"},
        "after": {"source": "after", "paradigm": "autoregressive"},
    },
    "pairs": [{"name": "pair", "before": "before", "after": "after", "role": "treatment"}],
    "tasks": [
        {"name": "ioi", "examples": 12, "words": "bundled"},
        {"name": "sva", "examples": 12, "words": "bundled"},
        {"name": "mine", "regime": "local", "dataset": "mine.jsonl"},
    ],
    "select": {"correct": "none"},
    "interventions": [{"name": "circuit", "kind": "edge_attribution", "method": "eap"}],
    "measures": {"overlap": {"top_k": [5]}},
}
FORMS = tuple(zip(*(verb.split("/") for verb in VERBS), strict=True))
"""Plural and singular ones."""
WORDS = "red blue green big small old new good long".split()
MINE = [
    {"clean": f"The {one} and the {two} ", "corrupt": f"The {two} and the {one} ", "answer": f" {one}", "foil": [two]}
    for one, two in pairwise(WORDS)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random models of Llama's shape with a tokenizer that begins every text with `<s>`."""
    folder = tmp_path_factory.mktemp("text")
    for seed, name in enumerate(("before", "after")):
        write_model(folder / name, seed)
        write_real_tokenizer(folder / name)
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, MINE)) + "\n")
    return folder


def write_model(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def examples(folder: Path, name: str, **changes: Any) -> pl.DataFrame:
    spec = {**SPEC, **changes}
    YAML().dump(spec, folder / "spec.yaml")
    finished = run(folder / "spec.yaml", out=folder / name)
    assert not finished.failures
    return pl.read_parquet(finished.path / "tables/examples.parquet")


@cache
def tokenizer(folder: Path) -> Any:
    return PreTrainedTokenizerFast.from_pretrained(folder / "before")


@cache
def logits(folder: Path, model: str, text: str, *, begin: bool) -> torch.Tensor:
    """What Transformers says comes after a text."""
    ids = tokenizer(folder)(text)["input_ids"]
    with torch.no_grad():
        found: torch.Tensor = loaded(folder / model)(torch.tensor([ids if begin else ids[1:]])).logits[0, -1]
    return found


@cache
def loaded(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@cache
def token(folder: Path, word: str) -> int:
    """The first token by which a text goes on with a word."""
    prompt, whole = (tokenizer(folder)(text)["input_ids"] for text in ("The", f"The {word}"))
    found: int = whole[len(prompt)]
    return found


def check(folder: Path, table: pl.DataFrame, begins: dict[str, bool]) -> None:
    rows = table.unique(["task", "model", "example"]).to_dicts()
    assert {row["task"] for row in rows} == {"ioi", "sva", "mine"} and len(rows) == 2 * (12 + 12 + len(MINE))
    for row in rows:
        expected = {}
        for side in ("clean", "corrupt"):
            values = logits(folder, row["model"], row[side], begin=begins[row["model"]])
            if row["task"] == "sva":
                right, wrong = ([token(folder, word) for word in words] for words in FORMS)
                expected[side] = float(values.softmax(-1)[right].sum() - values.softmax(-1)[wrong].sum())
                answers = right
            else:
                answers = [token(folder, row["answer"])]
                expected[side] = float(values[answers[0]] - values[token(folder, row["foil"])])
            if side == "clean":
                assert row["correct_by_argmax"] == (int(values.argmax()) in answers)
        assert row["clean_metric"] == pytest.approx(expected["clean"], abs=1e-4)
        assert row["corrupt_metric"] == pytest.approx(expected["corrupt"], abs=1e-4)


@pytest.mark.long
def test_numbers_are_those_of_transformers_with_the_beginning_of_sequence(folder: Path) -> None:
    check(folder, examples(folder, "as-it-is"), {"before": True, "after": True})
    stored = json.loads((folder / "as-it-is/provenance.json").read_text())["models"]
    assert [stored[name]["prompts_begin_with"] for name in ("before", "after")] == [[1], [1]]


@pytest.mark.long
def test_each_model_of_a_pair_may_be_read_its_own_way(folder: Path) -> None:
    models = {**SPEC["models"], "after": {**SPEC["models"]["after"], "add_bos_token": False}}
    every_kind = [*SPEC["interventions"], {"name": "looked", "kind": "attention"}]
    table = examples(folder, "mixed", models=models, interventions=every_kind)
    check(folder, table, {"before": True, "after": False})
    keys = {
        name: {path.name for path in (folder / name / "cells").iterdir()} for name in ("as-it-is", "mixed")
    }  # the cells of the model that is read as before are the same
    assert len(keys["as-it-is"] & keys["mixed"]) == 3


@pytest.mark.long
def test_a_choice_that_the_tokenizer_can_not_follow_is_an_error(folder: Path) -> None:
    settings = json.loads((folder / "before/tokenizer_config.json").read_text())
    del settings["bos_token"]
    plain = json.loads((folder / "before/tokenizer.json").read_text())
    plain["post_processor"] = None
    other = folder / "plain"
    other.mkdir()
    (other / "tokenizer_config.json").write_text(json.dumps(settings))
    (other / "tokenizer.json").write_text(json.dumps(plain))
    declared = {name: {**model, "tokenizer": "plain", "add_bos_token": True} for name, model in SPEC["models"].items()}
    YAML().dump({**SPEC, "models": declared}, folder / "spec.yaml")
    with pytest.raises(SpecError, match="add_bos_token is true, but the tokenizer has no beginning-of-sequence token"):
        run(folder / "spec.yaml", out=folder / "refused")
