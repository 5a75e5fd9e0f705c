from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published_checkpoints import write_published
from random_models import write_random_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from mechshift_core.errors import ExecutionError
from mechshift_core.models import load_model, published, sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random_model("qwen2", tmp_path / "model")


def mask_of(folder: Path, **options: Any) -> int | None:
    return load_model(folder, paradigm="masked_diffusion", device="cpu", **options).mask_token_id


def write_tokenizer(folder: Path, *, mask: str | None = None) -> Path:
    words = {f"w{number}": number for number in range(39)} | {"<mask>": 39}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(words, unk_token="w0")), mask_token=mask)
    tokenizer.save_pretrained(folder)
    return folder


def test_an_ordinary_token_is_given_by_its_id_with_or_without_a_tokenizer(folder: Path, tmp_path: Path) -> None:
    assert mask_of(folder) is None
    assert mask_of(folder, mask_token=11) == 11
    assert mask_of(folder, mask_token=0) == 0
    words = write_tokenizer(tmp_path / "words", mask="<mask>")
    assert mask_of(folder, mask_token=11, tokenizer=words) == 11


def test_a_text_is_looked_up_in_the_vocabulary(folder: Path, tmp_path: Path) -> None:
    words = write_tokenizer(tmp_path / "words")
    assert mask_of(folder, mask_token="w7", tokenizer=words) == 7
    with pytest.raises(ExecutionError, match="mask_token 'w99' is not in the vocabulary"):
        mask_of(folder, mask_token="w99", tokenizer=words)
    with pytest.raises(ExecutionError, match="no tokenizer; give the token's id"):
        mask_of(folder, mask_token="w7")


@pytest.mark.parametrize("mask_token", [-1, 40, 151666])
def test_an_id_outside_the_vocabulary_is_an_error(folder: Path, mask_token: int) -> None:
    with pytest.raises(ExecutionError, match=rf"mask_token {mask_token} is not one of the model's tokens \(0 to 39\)"):
        mask_of(folder, mask_token=mask_token)


def test_what_is_given_goes_before_the_configuration_and_that_before_the_tokenizer(tmp_path: Path) -> None:
    folder = write_published("dream", tmp_path / "dream")
    words = write_tokenizer(tmp_path / "words", mask="<mask>")
    assert mask_of(folder, tokenizer=words, mask_token=3) == 3
    assert mask_of(folder, tokenizer=words) == 38
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "mask_token_id": None}))
    assert mask_of(folder, tokenizer=words) == 39
    assert mask_of(folder) is None


def test_the_published_sizes_have_their_published_mask_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = [*published.BY_MODEL_TYPE.values(), *published.WRAPPED.values()]
    known = {(layout.name, size): mask for layout in layouts for size, mask in layout.mask_tokens.items()}
    assert known == {
        ("DiffuGPT", 50257): 10541,
        ("DiffuGPT", 50258): 50257,
        ("DiffuLLaMA", 32000): 811,
        ("Dream", 152064): 151666,
        ("A2D", 151936): 151669,
        ("LLaDA", 126464): 126336,
    }
    assert all(mask < size for (_, size), mask in known.items())
    folder = write_published("diffugpt", tmp_path / "diffugpt")
    weights = load_file(folder / "model.safetensors")
    weights["embed_tokens.weight"] = torch.randn(50258, 16)
    save_file(weights, folder / "model.safetensors", {})
    words = write_tokenizer(tmp_path / "words", mask="<mask>")
    assert mask_of(folder, tokenizer=words) == 50257


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("layout", ["diffugpt", "llada"])
def test_weights_are_loaded_in_the_format_that_is_asked_for(layout: str, dtype: str, tmp_path: Path) -> None:
    model = load_model(write_published(layout, tmp_path / "m"), paradigm="masked_diffusion", dtype=dtype, device="cpu")
    assert {parameter.dtype for parameter in model.module.parameters()} == {getattr(torch, dtype)}
    exact = load_model(tmp_path / "m", paradigm="masked_diffusion", device="cpu")
    ids = torch.arange(8)[None]
    torch.testing.assert_close(model.logits(ids).float(), exact.logits(ids), atol=0.15, rtol=0.1)


def test_auto_keeps_half_precision_only_for_large_models_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_random_model("qwen2", tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    found = {}
    for stored in (torch.float32, torch.bfloat16, torch.float16):
        save_file({name: tensor.to(stored) for name, tensor in weights.items()}, folder / "model.safetensors", {})
        for large in (10**9, 1000):
            monkeypatch.setattr(sources, "LARGE", large)
            for device in ("cpu", "cuda"):
                found[stored, large, device] = sources.resolve_dtype(folder, "auto", device=device)
    kept = {key: dtype for key, dtype in found.items() if dtype != "float32"}
    assert kept == {(torch.bfloat16, 1000, "cuda"): "bfloat16", (torch.float16, 1000, "cuda"): "float16"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert sources.resolve_dtype(folder, "auto", device="auto") == "float32"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert sources.resolve_dtype(folder, "auto", device="auto") == "float16"
    assert sources.resolve_dtype(folder, "bfloat16", device="cpu") == "bfloat16"


def test_a_tokenizer_folder_without_a_tokenizer_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="no tokenizer in"):
        load_model(folder, tokenizer=tmp_path)
