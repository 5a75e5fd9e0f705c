from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published_checkpoints import (
    LAYOUTS,
    NATIVE,
    POSITIONS,
    SHIFTED,
    VOCABULARY,
    published_config,
    published_weights,
    random_model,
    save_weights,
    write_published,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import silu

from mechshift_core.errors import ExecutionError
from mechshift_core.models import Model, load_model, sources

IDS = torch.randint(VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(layout: str, tmp_path: Path) -> Path:
    return write_published(layout, tmp_path / "published")


def load(folder: Path, **options: Any) -> Model:
    return load_model(folder, paradigm="masked_diffusion", device="cpu", **options)


def change_config(folder: Path, **entries: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def change_weights(folder: Path, **changes: Any) -> None:
    """Replace weights (None: leave out) by key, dots written as double underscores."""
    weights = load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        weights.pop(name.replace("__", "."), None)
        if tensor is not None:
            weights[name.replace("__", ".")] = tensor
    save_weights(folder, weights)


def test_a_published_model_computes_what_the_model_it_was_written_from_computes(
    layout: str, folder: Path, tmp_path: Path
) -> None:
    random_model(layout).save_pretrained(tmp_path / "native")
    expected = load(tmp_path / "native").logits(IDS)
    model = load(folder)
    assert (model.logits(IDS) - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert model.module.config.model_type == NATIVE[layout]
    assert model.shifted == SHIFTED[layout]


def test_llada_computes_what_its_own_code_computes(tmp_path: Path) -> None:
    # Written from the published description, not from the names of any Transformers class.
    folder = write_published("llada", tmp_path / "llada")
    torch.testing.assert_close(load(folder).logits(IDS), _llada(folder, IDS), atol=1e-4, rtol=1e-4)


def _llada(folder: Path, ids: Tensor) -> Tensor:
    weights = load_file(folder / "model.safetensors")

    def w(name: str) -> Tensor:
        return weights[f"model.transformer.{name}.weight"]

    def norm(x: Tensor, name: str) -> Tensor:
        return x * (x.square().mean(-1, keepdim=True) + 1e-3).rsqrt() * w(name)

    def rotate(x: Tensor) -> Tensor:  # [batch, heads, positions, 4]: pairs (0, 2) and (1, 3)
        angles = torch.arange(x.shape[2])[:, None] * 5e4 ** -(torch.arange(2) / 2)
        first, second = x.chunk(2, dim=-1)
        sin, cos = angles.sin(), angles.cos()
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (4, 4)).transpose(1, 2)

    x = w("wte")[ids]
    for block in ("blocks.0", "blocks.1"):
        normal = norm(x, f"{block}.attn_norm")
        q, k, v = (heads(normal @ w(f"{block}.{name}_proj").T) for name in "qkv")
        pattern = (rotate(q) @ rotate(k).transpose(-1, -2) / 4**0.5).softmax(-1)
        x = x + (pattern @ v).transpose(1, 2).flatten(2) @ w(f"{block}.attn_out").T
        normal = norm(x, f"{block}.ff_norm")
        x = x + (silu(normal @ w(f"{block}.ff_proj").T) * (normal @ w(f"{block}.up_proj").T)) @ w(f"{block}.ff_out").T
    return norm(x, "ln_f") @ w("ff_out").T


def test_what_is_known_without_loading_is_what_the_loaded_model_has(folder: Path) -> None:
    model = load(folder)
    config = sources.read_config(folder)
    assert sources.graph_shape(config, source=folder) == model.shape
    assert sources.vocabulary(folder) == model.module.config.vocab_size == VOCABULARY
    assert sources.context_length(folder) == POSITIONS


def test_a_checkpoint_in_shards_is_loaded_whole_or_not_at_all(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    expected = load(folder).logits(IDS)
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: weights[name] for name in part}, folder / file, {})
    index = {"metadata": {}, "weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(load(folder).logits(IDS), expected)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ExecutionError, match=r"incomplete: no model-00002-of-00002\.safetensors"):
        load(folder)


NORM = {
    "diffugpt": ("denoise_model.h.1.ln_2.weight", "transformer.h.1.ln_2.weight"),
    "diffullama": ("denoise_model.layers.1.input_layernorm.weight", "model.layers.1.input_layernorm.weight"),
    "dream": ("model.layers.1.input_layernorm.weight",) * 2,
    "a2d": ("model.layers.1.self_attn.q_norm.weight",) * 2,
    "llada": ("model.transformer.blocks.1.attn_norm.weight", "model.layers.1.input_layernorm.weight"),
}
"""A key as published, and what it is called in the class."""


def test_a_missing_weight_is_named_not_made_up(layout: str, folder: Path) -> None:
    published, native = NORM[layout]
    change_weights(folder, **{published: None})
    with pytest.raises(ExecutionError, match=f"missing_keys: {native}"):
        load(folder)


def test_a_missing_output_matrix_is_not_replaced_by_the_embedding(tmp_path: Path) -> None:
    folder = write_published("dream", tmp_path / "dream")
    change_weights(folder, lm_head__weight=None)
    with pytest.raises(ExecutionError, match=r"missing_keys: lm_head\.weight"):
        load(folder)


def test_an_unexpected_weight_is_named(folder: Path) -> None:
    change_weights(folder, extra__weight=torch.ones(2))
    with pytest.raises(ExecutionError, match=r"unexpected keys: extra\.weight"):
        load(folder)


def test_a_weight_of_a_wrong_shape_is_named_with_both_shapes(layout: str, folder: Path) -> None:
    published, native = NORM[layout]
    expected = tuple(load_file(folder / "model.safetensors")[published].shape)
    change_weights(folder, **{published: torch.ones(5)})
    with pytest.raises(ExecutionError) as caught:
        load(folder)
    assert f"mismatched_keys: {native} (5,) instead of {expected}" in str(caught.value)


def test_the_embedding_says_how_many_tokens_a_diffugpt_has(tmp_path: Path) -> None:
    # The vocabulary was extended by a mask token; the configuration is that of the model before.
    folder = write_published("diffugpt", tmp_path / "diffugpt")
    change_config(folder, vocab_size=VOCABULARY - 1)
    assert sources.vocabulary(folder) == VOCABULARY == load(folder).module.config.vocab_size
    change_weights(folder, embed_tokens__weight=None)
    with pytest.raises(ExecutionError, match=r"no DiffuGPT checkpoint: no embed_tokens\.weight"):
        load(folder)


def test_an_output_matrix_of_its_own_is_used_even_if_the_configuration_says_it_is_tied(tmp_path: Path) -> None:
    folder = write_published("a2d", tmp_path / "a2d")
    untied = load(folder).logits(IDS)
    change_config(folder, tie_word_embeddings=True)
    assert torch.equal(load(folder).logits(IDS), untied)


def test_pickled_weights_are_refused_with_a_way_out(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ExecutionError, match=r"but pytorch_model\.bin \(pickled weights are not read.*convert them"):
        load(folder)


def test_code_from_a_repository_is_never_run(tmp_path: Path) -> None:
    folder = write_published("diffullama", tmp_path / "model")
    save_weights(folder, random_model("diffullama").state_dict())
    change_config(folder, auto_map={"AutoModel": "modeling_evil.Evil"})
    (folder / "modeling_evil.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ExecutionError, match=r"\(auto_map\), which is never run.*A2D, DiffuGPT, DiffuLLaMA, Dream"):
        load(folder)


def test_another_model_under_the_name_of_dream_is_not_taken_for_dream(tmp_path: Path) -> None:
    folder = write_published("dream", tmp_path / "dream")
    change_config(folder, architectures=["DreamForCausalLM"])
    with pytest.raises(ExecutionError, match="never run"):
        load(folder)


@pytest.mark.parametrize(
    ("layout", "entry", "value"), [("llada", "scale_logits", True), ("dream", "use_sliding_window", True)]
)
def test_a_setting_that_the_class_cannot_honour_is_refused(
    layout: str, entry: str, value: object, tmp_path: Path
) -> None:
    folder = write_published(layout, tmp_path / layout)
    change_config(folder, **{entry: value})
    with pytest.raises(ExecutionError, match=f"{entry} is True; .* only where it is False"):
        load(folder)


def test_a_setting_that_llada_does_not_give_is_not_made_up(tmp_path: Path) -> None:
    folder = write_published("llada", tmp_path / "llada")
    change_config(folder, rope_theta=None)
    with pytest.raises(ExecutionError, match="LLaDA weights has no rope_theta"):
        load(folder)


def test_a_declaration_that_contradicts_what_is_known_names_both(layout: str, folder: Path) -> None:
    wrong = not SHIFTED[layout]
    with pytest.raises(ExecutionError) as caught:
        load(folder, shifted=wrong)
    assert f"shifted: {str(wrong).lower()}, but it holds" in str(caught.value)
    assert str(caught.value).endswith(f"(shifted: {str(not wrong).lower()})")
    with pytest.raises(ExecutionError, match="so masked_diffusion, but is declared autoregressive"):
        load_model(folder)


def test_what_the_layouts_came_from_is_loaded_as_published_too(tmp_path: Path) -> None:
    # gpt2 has no prefix and holds the buffers of its causal mask; Llama-2 holds the frequencies of its rotation.
    gpt2, llama = random_model("diffugpt"), random_model("diffullama")
    gpt2_weights = {n.removeprefix("transformer."): t for n, t in gpt2.transformer.state_dict().items()}
    buffers = {f"h.{layer}.attn.bias": torch.ones(1, 1, POSITIONS, POSITIONS).tril() for layer in range(2)}
    frequencies = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(2) for layer in range(2)}
    for name, model, weights in (
        ("gpt2", gpt2, gpt2_weights | buffers),
        ("llama", llama, llama.state_dict() | frequencies),
    ):
        (tmp_path / name).mkdir()
        save_weights(tmp_path / name, weights)
        (tmp_path / name / "config.json").write_text(json.dumps(published_config("diffugpt", model)))
        with torch.no_grad():
            expected = model(input_ids=IDS).logits
        torch.testing.assert_close(load_model(tmp_path / name, device="cpu").logits(IDS), expected)


def test_the_published_diffullama_is_a_plain_llama_checkpoint(tmp_path: Path) -> None:
    folder = write_published("diffullama", tmp_path / "diffullama")
    wrapped = load(folder).logits(IDS)
    save_weights(folder, random_model("diffullama").state_dict())
    assert torch.equal(load(folder, mask_token=11).logits(IDS), wrapped)


def test_the_weights_of_a_diffugpt_are_those_that_were_published(tmp_path: Path) -> None:
    folder = write_published("diffugpt", tmp_path / "diffugpt")
    published = published_weights("diffugpt", random_model("diffugpt"))
    loaded = load(folder).module.state_dict()
    assert torch.equal(loaded["transformer.wte.weight"], published["embed_tokens.weight"])
    assert torch.equal(loaded["lm_head.weight"], published["embed_tokens.weight"])
