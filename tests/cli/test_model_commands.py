"""`mechshift models show`: what a model is and which words it knows; wrong names are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from random_models import write_random_model
from ruamel.yaml import YAML

from mechshift_core.cli.main import main
from mechshift_core.spec.starters import starter
from mechshift_core.zoo import bundled_models
from mechshift_core.zoo.vocabulary import words


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["bundled:tiny-s0/arm", "tiny-s0/arm"])
def test_every_word_that_a_bundled_model_knows_is_listed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", name, "--words"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed == sorted(words()) and "Mary" in listed and "<unk>" not in listed
    assert main(["models", "show", name, "--words", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": "bundled:tiny-s0/arm", "words": listed}


def test_a_model_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    folder = bundled_models()["tiny-s0/arm"]
    assert main(["models", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    config = json.loads((folder / "config.json").read_text())
    assert f"qwen2, {config['num_hidden_layers']} layers, {config['num_attention_heads']} heads" in shown
    assert f"{len(words())} whole words" in shown and f"{config['vocab_size']} token ids" in shown
    assert main(["models", "show", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["words"] == len(words())


def test_only_whole_words_can_be_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_random_model("qwen2", tmp_path / "model")
    assert main(["models", "show", str(folder), "--words"]) == 2
    assert "holds no tokenizer.json" in capsys.readouterr().err
    (folder / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": []}')
    assert main(["models", "show", str(folder), "--words"]) == 2
    assert "its tokens are pieces of words (BPE), of which any word can be made" in capsys.readouterr().err
    (folder / "tokenizer.json").write_text("{}")
    assert main(["models", "show", str(folder)]) == 2
    assert "tokenizer.json: not a tokenizer that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("tiny-s0/amr", 2, "unknown model 'tiny-s0/amr' (did you mean 'tiny-s0/arm'?)"),
        ("bundled:nothing", 2, "unknown model 'bundled:nothing'; expected hf:ORG/NAME, gguf:FILE, a folder, or of the"),
        (".", 3, "model folder . has no config.json"),
        ("gguf:none.gguf", 3, "none.gguf"),
    ],
)
def test_what_is_no_model_is_told(name: str, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "show", name]) == code
    assert message in (said := capsys.readouterr().err) and "internal error" not in said


def test_validate_says_which_words_and_where_the_known_ones_are(capsys: pytest.CaptureFixture[str]) -> None:
    files = starter("custom-task")
    rows = [json.loads(line) for line in files.companions["custom-task.jsonl"].splitlines()]
    rows[2]["clean"] = rows[2]["clean"].replace(rows[2]["answer"], "Zebulon", 1)
    Path("custom-task.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    Path("study.yaml").write_text(files.spec)
    source = next(iter(YAML(typ="safe", pure=True).load(files.spec)["models"].values()))["source"]
    assert main(["validate", "study.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "1 x a word is not in the vocabulary, line 3: 'Zebulon'" in shown
    assert f"\n  mechshift models show {source} --words  # what is known\n" in shown
