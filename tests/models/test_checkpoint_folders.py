"""What a checkpoint's folder holds besides, or instead of, what Transformers writes: read, hashed or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, write_random_model
from safetensors.torch import load_file, save_file

from mechshift_core import CounterfactualBatch, attribute_edges, load_model
from mechshift_core.attribution.proof import prove
from mechshift_core.errors import ExecutionError, MechshiftError
from mechshift_core.execution.plan import make_plan
from mechshift_core.models import sources
from mechshift_core.models.checkpoint import INDEX, WEIGHTS, stored_tensors, weight_files
from mechshift_core.spec import load_spec

SPEC = """schema: mechshift/v1
name: folders
models:
  a: {source: ./model, paradigm: autoregressive}
  b: {source: ./model, paradigm: autoregressive}
pairs:
  - {name: p, before: a, after: b, role: treatment}
tasks:
  - {name: mine, regime: local, dataset: pairs.jsonl, examples: 4}
select: {correct: none}
interventions:
  - {name: circuit, kind: edge_attribution}
measures:
  overlap: {top_k: [5]}
"""
Change = Callable[[Path], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random_model("llama", tmp_path / "model")


def set_entries(folder: Path, **entries: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def shard(folder: Path, *, index: bool = True) -> None:
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    where = {key: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, key in enumerate(sorted(weights))}
    for name in set(where.values()):
        save_file({key: weights[key] for key, file in where.items() if file == name}, folder / name, {"format": "pt"})
    if index:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))


def adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}))
    save_file({"base_model.model.x.lora_A.weight": torch.ones(2, 16)}, folder / "adapter_model.safetensors")


def validate(folder: Path) -> None:
    """What `mechshift validate` does: no weights are loaded."""
    line = {"clean_ids": [1, 2, 3], "corrupt_ids": [1, 4, 3], "answer_ids": 5, "foil_ids": 6}
    lines = [json.dumps(line | {"clean_ids": [number, 2, 3]}) for number in range(7, 12)]
    (folder.parent / "pairs.jsonl").write_text("\n".join(lines))
    (folder.parent / "spec.yaml").write_text(SPEC)
    make_plan(load_spec(folder.parent / "spec.yaml"))


READ: dict[str, tuple[Change, str]] = {
    "adapter beside weights": (
        adapter,
        r"holds an adapter \(adapter_config\.json, adapter_model\.safetensors\) beside .*adapter's folder as `adapter`",
    ),
    "pickled adapter": (
        lambda d: (d / "adapter_model.bin").write_bytes(b"x"),
        r"holds an adapter \(adapter_model\.bin\)",
    ),
    "adapter without base": (
        lambda d: (d / WEIGHTS).rename(d / "adapter_model.safetensors"),
        r"holds an adapter \(adapter_model\.safetensors\) without its base model's weights",
    ),
    "adapter without config": (
        lambda d: (adapter(d), (d / "config.json").unlink()),
        r"holds an adapter \(adapter_config\.json, adapter_model\.|no config\.json in .* give it as `adapter`",
    ),
    "shards without index": (
        lambda d: shard(d, index=False),
        r"holds shards \(model-00001-of-00002\.safetensors, .*\) without model\.safetensors\.index\.json",
    ),
    "weights of Mistral's own layout": (
        lambda d: (d / WEIGHTS).rename(d / "consolidated.safetensors"),
        r"holds consolidated\.safetensors, which is not the layout that Transformers writes",
    ),
    "pickled weights": (
        lambda d: (d / WEIGHTS).rename(d / "pytorch_model.bin"),
        r"no \.safetensors weights in .* but pytorch_model\.bin \(pickled weights are not read",
    ),
    "another format": (
        lambda d: (d / WEIGHTS).rename(d / "model.gguf"),
        r"no \.safetensors weights in .* but model\.gguf; give the file as `gguf:FILE`",
    ),
    "no weights": (
        lambda d: (d / WEIGHTS).unlink(),
        r"no \.safetensors weights in .*, nor any other weights; expected model\.safetensors",
    ),
    "an index of shards that are not there": (
        lambda d: (shard(d), (d / "model-00002-of-00002.safetensors").unlink()),
        r"is incomplete: no model-00002-of-00002\.safetensors",
    ),
    "an empty shard": (
        lambda d: (shard(d), (d / "model-00002-of-00002.safetensors").write_bytes(b"")),
        r"cannot be read",
    ),
    "weights of another name": (
        lambda d: set_entries(d, transformers_weights="other.safetensors"),
        r"transformers_weights names 'other\.safetensors' as the weights; expected model\.safetensors",
    ),
    "quantised weights": (
        lambda d: set_entries(d, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        r"the weights are quantised \(bitsandbytes\); .*dequantize\(\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_cannot_be_read_is_named_at_load(folder: Path, name: str) -> None:
    change, message = READ[name]
    change(folder)
    with pytest.raises(ExecutionError, match=message):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("name", [name for name in READ if name != "an empty shard"])
def test_what_cannot_be_read_is_named_by_validation(folder: Path, name: str) -> None:
    change, message = READ[name]
    validate(folder)
    change(folder)
    with pytest.raises(MechshiftError, match=message):
        validate(folder)


def test_a_shard_without_tensors_is_one_without_its_weights(folder: Path) -> None:
    shard(folder)
    save_file({}, folder / "model-00002-of-00002.safetensors", {"format": "pt"})
    with pytest.raises(ExecutionError, match="missing_keys"):
        load_model(folder, device="cpu")


def test_a_key_in_two_shards_is_refused(folder: Path) -> None:
    shard(folder)
    first = load_file(folder / "model-00001-of-00002.safetensors")
    second = load_file(folder / "model-00002-of-00002.safetensors")
    key = next(iter(first))
    save_file(second | {key: first[key] * 2}, folder / "model-00002-of-00002.safetensors", {"format": "pt"})
    with pytest.raises(ExecutionError, match=r"is also in model-00001-of-00002\.safetensors"):
        load_model(folder, device="cpu")
    with pytest.raises(ExecutionError, match=r"is also in model-00001-of-00002\.safetensors"):
        stored_tensors(folder)


def test_shards_and_pickled_weights_beside_are_read_as_the_one_file_is(folder: Path) -> None:
    ids = torch.arange(12).reshape(2, 6)
    whole = load_model(folder, device="cpu").logits(ids)
    (folder / "pytorch_model.bin").write_bytes(b"never read")
    torch.testing.assert_close(load_model(folder, device="cpu").logits(ids), whole, rtol=0, atol=0)
    shard(folder)
    torch.testing.assert_close(load_model(folder, device="cpu").logits(ids), whole, rtol=0, atol=0)


def test_keys_of_an_adapter_that_was_saved_unmerged_are_recognised(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    key = "model.layers.0.self_attn.q_proj.weight"
    weights[key.replace("weight", "base_layer.weight")] = weights.pop(key)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(ExecutionError, match=r"missing_keys: .*q_proj\.weight; it has keys of an adapter"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize("changed", ["config.json", WEIGHTS])
def test_the_hash_covers_configuration_and_weights(folder: Path, changed: str) -> None:
    before = sources.weights_hash(folder)
    with (folder / changed).open("ab") as file:
        file.write(b" ")
    assert sources.weights_hash(folder) != before


@pytest.mark.parametrize("changed", [INDEX, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"])
def test_the_hash_covers_shards_and_their_index(folder: Path, changed: str) -> None:
    shard(folder)
    before = sources.weights_hash(folder)
    with (folder / changed).open("ab") as file:
        file.write(b" ")
    assert sources.weights_hash(folder) != before


def test_the_hash_does_not_cover_what_decides_nothing(folder: Path) -> None:
    before = sources.weights_hash(folder)
    for name in ("generation_config.json", "README.md", "training_args.bin", "optimizer.safetensors"):
        (folder / name).write_text("{}")
    assert sources.weights_hash(folder) == before
    assert weight_files(folder) == [folder / WEIGHTS]


@pytest.mark.parametrize("family", FAMILIES)
def test_how_a_model_returns_its_outputs_is_not_left_to_its_configuration(family: str, tmp_path: Path) -> None:
    folder = write_random_model(family, tmp_path)
    ids = torch.arange(12).reshape(2, 6)
    expected = load_model(folder, device="cpu").logits(ids)
    set_entries(
        folder, return_dict=False, output_hidden_states=True, output_attentions=True, use_cache=True, torchscript=True,
        attention_dropout=0.9, attn_pdrop=0.9, resid_pdrop=0.9, embd_pdrop=0.9, hidden_dropout=0.9,
    )  # fmt: skip
    model = load_model(folder, device="cpu")
    torch.testing.assert_close(model.logits(ids), expected, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_epsilon_of_zero_is_a_number(family: str, tmp_path: Path) -> None:
    folder = write_random_model(family, tmp_path)
    set_entries(folder, rms_norm_eps=0.0, layer_norm_epsilon=0.0, layer_norm_eps=0.0)
    model = load_model(folder, device="cpu")
    assert {model.view.norm(model.view.declaration.attention_norm, layer).epsilon for layer in (0, 1)} == {0.0}


def test_what_is_wrong_with_a_setting_is_said_whole(folder: Path) -> None:
    set_entries(folder, rms_norm_eps="small")
    with pytest.raises(ExecutionError, match=r"'rms_norm_eps': .*float.*str.*small"):
        load_model(folder, device="cpu")


def test_an_output_matrix_of_its_own_is_used_whatever_the_configuration_ties(folder: Path) -> None:
    ids = torch.arange(12).reshape(2, 6)
    expected = load_model(folder, device="cpu").logits(ids)
    set_entries(folder, tie_word_embeddings=True)
    torch.testing.assert_close(load_model(folder, device="cpu").logits(ids), expected, rtol=0, atol=0)


def scale_weights(folder: Path, factor: float) -> None:
    weights = load_file(folder / WEIGHTS)
    for layer in range(2):
        weights[f"model.layers.{layer}.mlp.down_proj.weight"] *= factor
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def test_an_overflow_is_blamed_on_the_number_format(folder: Path) -> None:
    scale_weights(folder, 3e4)
    for dtype in ("float32", "bfloat16"):
        load_model(folder, dtype=dtype, device="cpu")  # type: ignore[arg-type]
    with pytest.raises(
        ExecutionError, match=r"not finite in float16 .*load the model in bfloat16 or float32"
    ) as raised:
        load_model(folder, dtype="float16", device="cpu")
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_damaged_checkpoint_is_blamed_in_every_number_format(folder: Path, dtype: Any) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(ExecutionError, match=r"is damaged: NaN or infinite numbers in model\.layers\.1\.mlp\.up_proj"):
        load_model(folder, dtype=dtype, device="cpu")


def test_an_overflow_of_float32_is_the_checkpoints(folder: Path) -> None:
    scale_weights(folder, 1e37)  # squares overflow, and the norm makes 0 of what it divides by infinity
    for dtype, message in (("float32", "in float32 too, though every weight is finite"), ("bfloat16", "in float32")):
        with pytest.raises(ExecutionError, match=rf"the logits are (not finite|the same for all tokens).*{message}"):
            load_model(folder, dtype=dtype, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.0, 1e-40])
def test_an_output_that_tells_nothing_apart_is_refused(value: float, folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], value)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    with pytest.raises(
        ExecutionError, match=r"same for all tokens|all tokens have the same logit .*is its output matrix zero"
    ):
        prove(load_model(folder, device="cpu"))


def test_a_setting_with_which_the_model_does_not_run_is_named(tmp_path: Path) -> None:
    folder = write_random_model("gemma2", tmp_path / "model")
    set_entries(folder, sliding_window=None)
    with pytest.raises(ExecutionError, match=r"does not run on a prompt of 6 tokens.*config\.json.*`sliding_window`"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        ([[3, 40]], None, r"tokens of .*, 0 to 39; got 3 to 40"),
        ([[3, -100]], None, r"tokens of .*, 0 to 39; got -100 to 3"),
        ([3, 4], None, r"\[batch, positions\]; they are \[2\]"),
        ([[3.0, 4.0]], None, r"whole numbers.*float32"),
        ([[3, 4]], [[1, 1, 1]], r"attention_mask must be \[1, 2\], like ids; it is \[1, 3\]"),
    ],
)
def test_logits_are_of_tokens_that_there_are(ids: Any, mask: Any, message: str, folder: Path) -> None:
    model = load_model(folder, device="cpu")
    with pytest.raises(ValueError, match=message):
        model.logits(torch.tensor(ids), None if mask is None else torch.tensor(mask))


def test_scores_that_overflow_are_refused_with_the_number_format(folder: Path) -> None:
    model = load_model(folder, dtype="float16", device="cpu")
    model.view.module("mlp.down_proj", 1).weight.data *= 3e4
    batch = CounterfactualBatch(
        clean_ids=[[1, 2, 3]],
        corrupt_ids=[[1, 5, 3]],
        answer_ids=[4],
        foil_ids=[6],  # type: ignore[arg-type]
    )
    with pytest.raises(ExecutionError, match=r"an edge score or metric is not finite in float16 .*bfloat16 or float32"):
        attribute_edges(model, batch)


@pytest.mark.parametrize("value", [-3, 40, 3.5, "x", True, [1]])
def test_an_impossible_mask_token_of_the_configuration_is_an_error_of_validation(folder: Path, value: Any) -> None:
    validate(folder)
    set_entries(folder, mask_token_id=value)
    for read in (validate, lambda d: load_model(d, device="cpu")):
        with pytest.raises(
            MechshiftError, match=r"mask_token_id is .* in its config\.json; expected the id of a token"
        ):
            read(folder)
