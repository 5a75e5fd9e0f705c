"""A declaration that says anything else than what a model does is refused, whatever field of it is wrong."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, write_random_model
from torch import Tensor, nn

from mechshift_core import load_model
from mechshift_core.attribution.proof import prove
from mechshift_core.errors import ExecutionError
from mechshift_core.models import Model
from mechshift_core.models.architectures import Architecture

PARADIGMS = ("autoregressive", "masked_diffusion")


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_random_model(request.param, tmp_path_factory.mktemp(request.param)), device="cpu")


@pytest.fixture
def llama(tmp_path: Path) -> Model:
    return load_model(write_random_model("llama", tmp_path), device="cpu")


def fused(declared: Architecture) -> bool:
    return len(declared.modules) == 1


def refuses(model: Model, **changes: Any) -> str | None:
    """What the proof says of a changed declaration; None where it passes."""
    right = model.view.declaration
    model.view.declaration = replace(right, **changes)
    try:
        prove(model)
    except ExecutionError as error:
        return str(error)
    finally:
        model.view.declaration = right
    return None


def test_a_fused_projection_of_another_layout_is_refused(model: Model) -> None:
    declared = model.view.declaration
    other = "interleaved" if declared.fusion == "concatenated" else "concatenated"
    message = refuses(model, fusion=other)
    # Where nothing is fused, the layout of what is fused says nothing.
    assert (message is not None) == fused(declared)


@pytest.mark.parametrize("swapped", ["qk", "qv", "kv"])
def test_projections_that_are_exchanged_are_refused(model: Model, swapped: str) -> None:
    paths = model.view.declaration.attention_projections
    if fused(model.view.declaration):
        pytest.skip("one module gives all of them")
    first, second = swapped
    assert refuses(model, attention_projections={**paths, first: paths[second], second: paths[first]})


def test_keys_and_values_of_as_many_heads_are_told_apart_from_queries(tmp_path: Path) -> None:
    # Without shared heads, all three projections have the same shape: only what attention does tells them apart.
    model = load_model(write_random_model("llama", tmp_path, key_value_heads=4), device="cpu")
    paths = model.view.declaration.attention_projections
    for first, second in ("qk", "qv", "kv"):
        message = refuses(model, attention_projections={**paths, first: paths[second], second: paths[first]})
        assert message is not None
        assert "what is read as the" in message


@pytest.mark.parametrize("field", ["attention_norm", "mlp_norm", "transposed", "embedding"])
def test_a_norm_weight_or_embedding_that_is_another_is_refused(model: Model, field: str) -> None:
    declared = model.view.declaration
    wrong: dict[str, Any] = {
        "attention_norm": declared.mlp_norm,
        "mlp_norm": declared.attention_norm,
        "transposed": not declared.transposed,
        "embedding": declared.final_norm,
    }
    assert refuses(model, **{field: wrong[field]})


def variants(model: Model) -> Iterator[dict[str, Any]]:
    """Every declared path as that of every other module, every flag the other way round."""
    declared = model.view.declaration
    prefix = f"{declared.blocks}.0."
    names = [name for name, _ in model.module.named_modules() if name]
    block = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    top = [name for name in names if not name.startswith(f"{declared.blocks}.")]
    for field in ("embedding", "blocks", "final_norm", "head"):
        yield from ({field: name} for name in top)
    for field in ("attention_norm", "attention_output", "mlp_norm", "mlp"):
        yield from ({field: name} for name in block)
    for field in ("attention_post_norm", "mlp_post_norm"):
        yield from ({field: name} for name in (None, *block))
    paths = declared.attention_projections
    for role in paths:
        yield from ({"attention_projections": {**paths, role: name}} for name in block)
    yield {"transposed": not declared.transposed}
    if fused(declared):
        yield {"fusion": "interleaved" if declared.fusion == "concatenated" else "concatenated"}


@pytest.mark.nightly
@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_wrong_value_of_any_field_of_a_declaration_passes(family: str, paradigm: str, tmp_path: Path) -> None:
    model = load_model(write_random_model(family, tmp_path), paradigm=paradigm, device="cpu")  # type: ignore[arg-type]
    right = model.view.declaration
    wrong = [changes for changes in variants(model) if replace(right, **changes) != right]
    assert len(wrong) > 80
    assert [changes for changes in wrong if refuses(model, **changes) is None] == []


class Adapted(nn.Linear):
    """A projection with a low-rank update that was not merged, as PEFT puts it there."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None)
        self.weight, self.bias = base.weight, base.bias
        self.update = torch.randn(base.out_features, base.in_features) * 0.1

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.update.T


@pytest.mark.parametrize("role", ["q", "k", "v"])
def test_a_projection_that_is_more_than_its_weight_is_refused(llama: Model, role: str) -> None:
    attention = llama.view.module("self_attn", 1)
    name = llama.view.declaration.attention_projections[role].rpartition(".")[2]  # type: ignore[index]
    setattr(attention, name, Adapted(getattr(attention, name)))
    with pytest.raises(ExecutionError, match=r"layer 1: self_attn\..*Adapted; expected a plain linear layer.*merge"):
        prove(llama)


def test_a_parametrized_projection_is_refused(llama: Model) -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    projection = llama.view.module("self_attn.k_proj", 0)
    nn.utils.parametrize.register_parametrization(projection, "weight", Doubled())
    with pytest.raises(ExecutionError, match=r"ParametrizedLinear; expected a plain linear layer"):
        prove(llama)


@pytest.mark.parametrize(("role", "dtype"), [("q", "float32"), ("k", "bfloat16"), ("v", "float16")])
def test_a_hook_on_one_head_of_one_projection_is_noticed(role: str, dtype: str, tmp_path: Path) -> None:
    model = load_model(write_random_model("llama", tmp_path), dtype=dtype, device="cpu")  # type: ignore[arg-type]
    path = model.view.declaration.attention_projections[role]  # type: ignore[index]

    def add(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[..., 4:8] *= 1.2
        return output

    model.view.module(path, 1).register_forward_hook(add)
    with pytest.raises(ExecutionError, match=r"layer 1: the \w+ of head 1 is not weight times input plus bias"):
        prove(model)


@pytest.mark.parametrize("path", ["input_layernorm", "post_attention_layernorm"])
def test_a_norm_that_is_changed_by_a_hook_is_noticed(llama: Model, path: str) -> None:
    llama.view.module(path, 0).register_forward_hook(lambda module, inputs, output: 1.05 * output)
    with pytest.raises(ExecutionError, match=r"layer 0: what (projections|the MLP) reads? is not"):
        prove(llama)


def test_a_kernel_that_computes_something_else_is_refused(llama: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    kernels: Any = importlib.import_module("transformers.modeling_utils").AttentionInterface._global_mapping
    right = kernels["sdpa"]

    def without_scale(*args: Any, scaling: float, **options: Any) -> Any:
        return right(*args, scaling=1.0, **options)

    monkeypatch.setitem(kernels, "sdpa", without_scale)
    with pytest.raises(ExecutionError, match=r"kernel 'sdpa' it computes something else than with 'eager'"):
        prove(llama)


def test_a_kernel_that_sees_padding_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(write_random_model("llama", tmp_path), paradigm="masked_diffusion", device="cpu")
    kernels: Any = importlib.import_module("transformers.modeling_utils").AttentionInterface._global_mapping
    right = kernels["sdpa"]

    def without_mask(*args: Any, **options: Any) -> Any:
        return right(*args[:4], None, *args[5:], **options)

    monkeypatch.setitem(kernels, "sdpa", without_mask)
    with pytest.raises(ExecutionError, match=r"kernel 'sdpa' a prompt that is padded.* gives something else"):
        prove(model)


@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="needs peft")
def test_an_adapter_that_peft_put_into_a_loaded_model_is_refused(llama: Model) -> None:
    import peft  # type: ignore[import-not-found, unused-ignore]

    module: Any = llama.module
    module.add_adapter(peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    with pytest.raises(ExecutionError, match=r"peft\S*Linear; expected a plain linear layer"):
        prove(llama)
