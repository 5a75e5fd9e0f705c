from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from random_models import FAMILIES, write_random_model
from safetensors.torch import load_file, save_file

from mechshift_core.errors import ExecutionError
from mechshift_core.models import checks, load_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random_model("qwen2", tmp_path / "model")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", [None, "eager"])
@pytest.mark.parametrize("paradigm", ["autoregressive", "masked_diffusion"])
def test_the_paradigm_decides_whether_the_last_token_reaches_the_first_position(
    family: str, attention: str | None, paradigm: str, tmp_path: Path
) -> None:
    model = load_model(write_random_model(family, tmp_path), paradigm=paradigm, attention=attention, device="cpu")
    ids = torch.randint(40, (1, 7), generator=torch.Generator().manual_seed(1))
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % 40
    moved = (model.logits(ids)[0, 0] - model.logits(changed)[0, 0]).abs().max()
    assert (moved > 1e-4) == (paradigm == "masked_diffusion")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("paradigm", ["autoregressive", "masked_diffusion"])
def test_masked_padding_changes_nothing(family: str, paradigm: str, tmp_path: Path) -> None:
    model = load_model(write_random_model(family, tmp_path), paradigm=paradigm, device="cpu")
    ids = torch.randint(40, (3, 6), generator=torch.Generator().manual_seed(2))
    padded = torch.cat([ids, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    mask = torch.cat([torch.ones(3, 6), torch.zeros(3, 4)], dim=1).long()
    torch.testing.assert_close(model.logits(padded, mask)[:, :6], model.logits(ids), atol=1e-5, rtol=1e-5)


def test_weights_are_frozen_and_the_model_knows_its_shape(folder: Path) -> None:
    model = load_model(folder)
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert (model.shape.layers, model.shape.heads, model.shape.key_value_heads, model.shape.head_size) == (2, 4, 2, 4)
    assert model.tokenizer is None
    assert model.shifted


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="does not exist"):
        load_model(tmp_path / "nowhere")


def test_a_folder_without_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match=r"has no config\.json"):
        load_model(tmp_path)


def test_an_unknown_bundled_model_lists_the_known_ones() -> None:
    with pytest.raises(ExecutionError, match="no bundled model 'tiny-s9/arm'"):
        load_model("bundled:tiny-s9/arm")


def test_a_truncated_checkpoint_is_an_error_with_its_folder(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ExecutionError, match="cannot be read"):
        load_model(folder)


def test_missing_weights_are_named_not_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExecutionError, match=r"missing_keys: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(folder)


def test_left_over_weights_are_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors") | {"model.layers.7.extra": torch.ones(1)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ExecutionError, match=r"unexpected_keys: model\.layers\.7\.extra"):
        load_model(folder)


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ExecutionError, match="pickled weights are not read"):
        load_model(folder)


def test_a_broken_config_is_an_error(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(ExecutionError, match=r"config\.json cannot be read"):
        load_model(folder)


def test_an_unknown_architecture_lists_the_supported_ones(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))
    with pytest.raises(ExecutionError, match=r"'mamba' is not supported .*gemma2, .*gpt2, .*qwen2"):
        load_model(folder)


def test_a_bidirectional_checkpoint_is_not_read_as_autoregressive(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "is_causal": False}))
    with pytest.raises(ExecutionError, match="declared autoregressive"):
        load_model(folder)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_leak_test_sees_through_flags(folder: Path, bidirectional: bool) -> None:
    # The model attends the other way than it is declared: whatever its flags say, the check must find out.
    module = load_model(folder, paradigm="autoregressive" if bidirectional else "masked_diffusion").module
    with pytest.raises(ExecutionError, match="fails the leak test"):
        checks.check_attention(module, bidirectional=bidirectional, source="model")


def test_an_autoregressive_model_cannot_be_unshifted(folder: Path) -> None:
    with pytest.raises(ExecutionError, match="unshifted"):
        load_model(folder, shifted=False)


def test_a_mask_token_needs_a_tokenizer(folder: Path) -> None:
    with pytest.raises(ExecutionError, match="no tokenizer"):
        load_model(folder, paradigm="masked_diffusion", mask_token="<mask>")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(ExecutionError, match="sees no GPU"):
        load_model(folder, device="cuda")
