"""What a tokenizer's folder holds: read, hashed or refused, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from random_models import write_random_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mechshift_core import load_model
from mechshift_core.errors import ExecutionError
from mechshift_core.execution.plan import Plan, make_plan
from mechshift_core.models.load import load_tokenizer
from mechshift_core.models.sources import SOURCE_FILES, tokenizer_hash
from mechshift_core.spec import SpecError, load_spec

SPEC = """schema: mechshift/v1
name: tokenizers
models:
  a: {source: ./model, paradigm: autoregressive}
  b: {source: ./model, paradigm: PARADIGM}
pairs:
  - {name: p, before: a, after: b, role: treatment}
tasks:
  - {name: mine, regime: local, dataset: pairs.jsonl}
select: {correct: none}
interventions:
  - {name: circuit, kind: edge_attribution}
measures:
  overlap: {top_k: [5]}
"""
WORDS = [f"w{number}" for number in range(38)]
"""With `<s>` and `<unk>` as many as the model has tokens, 40."""


def write_tokenizer(folder: Path, *, begin: bool = False, beyond: tuple[str, ...] = (), **settings: Any) -> None:
    """A word-level tokenizer; `beyond` are tokens that the model does not have."""
    names = ["<s>", "<unk>", *WORDS, *beyond]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if begin:
        number = names.index(settings.get("bos_token", "<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{names[number]} $A", special_tokens=[(names[number], number)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "unk_token": "<unk>"} | settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random_model("llama", tmp_path / "model")


def plan(folder: Path, declared: str = "", *, paradigm: str = "autoregressive") -> Plan:
    """What `mechshift validate` does."""
    line = {"clean": "w1 w2", "corrupt": "w3 w2", "answer": "w4", "foil": "w5"}
    (folder.parent / "pairs.jsonl").write_text(json.dumps(line))
    text = SPEC.replace("PARADIGM", paradigm).replace("regressive}", f"regressive{declared}}}")
    (folder.parent / "spec.yaml").write_text(text)
    return make_plan(load_spec(folder.parent / "spec.yaml"))


@pytest.mark.parametrize(("begin", "stated"), [(False, True), (True, False)])
def test_settings_that_contradict_each_other_have_to_be_decided(begin: bool, stated: bool, folder: Path) -> None:
    write_tokenizer(folder, begin=begin, add_bos_token=stated)
    with pytest.raises(SpecError, match=r"spec.yaml:4:.*says add_bos_token: (true|false), but .* as it was trained"):
        plan(folder)
    for wanted, ids in ((True, (0, 3, 4)), (False, (3, 4))):
        found = plan(folder, f", add_bos_token: {str(wanted).lower()}")
        assert found.datasets["mine"].examples[0].clean_ids == ids


@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize("agree", [True, False])
def test_settings_that_agree_are_taken(begin: bool, agree: bool, folder: Path) -> None:
    write_tokenizer(folder, begin=begin, **({"add_bos_token": begin} if agree else {}))
    assert plan(folder).models["a"].begin == ((0,) if begin else ())


def test_a_beginning_that_the_model_does_not_have_is_an_error_of_validation(folder: Path) -> None:
    write_tokenizer(folder, begin=True, beyond=("<bos>",), bos_token="<bos>")
    with pytest.raises(SpecError, match=r"spec.yaml:4:.*begins texts with the token 40, but the model has 40 tokens"):
        plan(folder)
    assert plan(folder, ", add_bos_token: false").datasets["mine"].examples[0].clean_ids == (3, 4)


def test_a_model_that_needs_no_mask_may_share_a_tokenizer_that_has_one_it_does_not_know(folder: Path) -> None:
    write_tokenizer(folder, beyond=("<mask>",), mask_token="<mask>")
    assert load_model(folder, device="cpu").mask_token_id is None
    assert plan(folder).datasets["mine"].examples
    message = (
        r"the mask token of its tokenizer, '<mask>', has the id 40, which is not one of the model's tokens, 0 to 39"
    )
    with pytest.raises(ExecutionError, match=message):
        load_model(folder, paradigm="masked_diffusion", device="cpu")
    with pytest.raises(SpecError, match=message):
        plan(folder, paradigm="masked_diffusion")


def test_one_that_splits_words_at_random_is_refused(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE({"w": 0, "1": 1, "w1": 2}, [("w", "1")], dropout=0.5))
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(ExecutionError, match=r"splits words at random \(dropout 0\.5 in its tokenizer\.json\)"):
        load_tokenizer(folder)
    with pytest.raises(SpecError, match=r"spec.yaml:4:.*splits words at random"):
        plan(folder)
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"w": 0}, [], dropout=0.0))).save_pretrained(folder)
    assert load_tokenizer(folder) is not None


@pytest.mark.parametrize("name", SOURCE_FILES)
def test_a_vocabulary_is_hashed_where_it_decides_the_tokens(name: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}")
    hashes = [tokenizer_hash(tmp_path)]
    for content in ("one", "two"):
        (tmp_path / name).write_text(content)
        hashes.append(tokenizer_hash(tmp_path))
    assert len(set(hashes)) == 3
    (tmp_path / "tokenizer.json").write_text("{}")
    beside = tokenizer_hash(tmp_path)
    (tmp_path / name).unlink()
    assert tokenizer_hash(tmp_path) == beside


def test_a_vocabulary_that_no_tokenizer_is_made_of_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    (tmp_path / "tokenizer.model").write_bytes(b"no SentencePiece model")
    with pytest.raises(ExecutionError, match=r"no tokenizer\.json but tokenizer\.model, .*save_pretrained"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_that_can_not_be_read_has_a_line(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(SpecError, match=r"spec.yaml:4:.*the tokenizer in .* cannot be read: KeyError: 'added_tokens'"):
        plan(folder)
