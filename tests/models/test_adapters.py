"""Adapters are merged into their base, or refused: never left out, never applied unmerged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from random_models import random_model, write_random_model
from torch import Tensor

from mechshift_core import load_spec
from mechshift_core.errors import ExecutionError
from mechshift_core.execution.plan import make_plan
from mechshift_core.models import load_model
from mechshift_core.models.adapters import MERGEABLE
from mechshift_core.models.sources import weights_hash
from mechshift_core.spec import SpecError

# What peft warns of while the tests write adapters.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

IDS = torch.arange(24).reshape(2, 12) % 40
CONFIGS: dict[str, Callable[[], peft.PeftConfig]] = {
    "LORA": lambda: peft.LoraConfig(r=2, lora_alpha=8, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
    "DORA": lambda: peft.LoraConfig(r=2, target_modules=["v_proj", "o_proj"], use_dora=True, init_lora_weights=False),
    "LOHA": lambda: peft.LoHaConfig(r=2, target_modules=["q_proj"], init_weights=False),
    "LOKR": lambda: peft.LoKrConfig(r=2, target_modules=["q_proj"], init_weights=False),
    "IA3": lambda: peft.IA3Config(
        target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
    ),
    "embeddings and head, too": lambda: peft.LoraConfig(
        r=2, target_modules=["embed_tokens", "q_proj"], modules_to_save=["lm_head"], init_lora_weights=False
    ),
}


def write_adapter(base: Path, folder: Path, config: peft.PeftConfig) -> Tensor:
    """Save a random adapter; returns the logits of the adapted model."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    adapted: Any = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).eval()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if weight.requires_grad and ("ia3" in name or "modules_to_save" in name):
                weight.add_(0.3 * torch.randn_like(weight))
        logits: Tensor = adapted(input_ids=IDS).logits
    adapted.save_pretrained(folder)
    return logits


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_random_model("llama", tmp_path / "base")


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_model_computes_what_the_adapted_one_does(kind: str, base: Path, tmp_path: Path) -> None:
    expected = write_adapter(base, tmp_path / "adapter", CONFIGS[kind]())
    assert not torch.allclose(load_model(base, device="cpu").logits(IDS), expected, atol=1e-2)
    model = load_model(base, adapter=tmp_path / "adapter", device="cpu")
    torch.testing.assert_close(model.logits(IDS), expected, rtol=1e-4, atol=1e-4)
    assert not [name for name, _ in model.module.named_modules() if "lora" in name or "base_layer" in name]


def test_several_are_merged_one_after_the_other(base: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_adapter(base, tmp_path / name, CONFIGS["LORA"]())
    first, second = tmp_path / "first", tmp_path / "second"
    plain, one, two = (
        load_model(base, adapter=some, device="cpu").module.get_parameter("model.layers.0.self_attn.q_proj.weight")
        for some in ([], first, [first, second])
    )
    torch.testing.assert_close(two - one, one - plain)  # the same adapter twice


def test_a_float64_model_is_merged_in_float64(base: Path, tmp_path: Path) -> None:
    expected = write_adapter(base, tmp_path / "adapter", CONFIGS["LORA"]())
    model = load_model(base, adapter=tmp_path / "adapter", dtype="float64", device="cpu")
    assert {weight.dtype for weight in model.module.parameters()} == {torch.float64}
    torch.testing.assert_close(model.logits(IDS), expected.double(), rtol=1e-4, atol=1e-4)


def test_the_hash_of_the_weights_knows_the_adapter(base: Path, tmp_path: Path) -> None:
    write_adapter(base, tmp_path / "adapter", CONFIGS["LORA"]())
    adapter = tmp_path / "adapter"
    plain, adapted = weights_hash(base), weights_hash(base, (adapter,))
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "elsewhere"}))
    assert weights_hash(base, (adapter,)) == adapted != plain
    (adapter / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 9}))
    changed = weights_hash(base, (adapter,))
    write_adapter(base, adapter, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    assert len({plain, adapted, changed, weights_hash(base, (adapter,))}) == 4


def test_a_spec_names_it_beside_the_source(base: Path, tmp_path: Path) -> None:
    write_adapter(base, tmp_path / "adapter", CONFIGS["LORA"]())
    plan = make_plan(load_spec(_spec(tmp_path, "adapter")))
    facts = plan.models["after"]
    assert facts.adapters == (tmp_path / "adapter",) and plan.models["before"].adapters == ()
    assert facts.weights == weights_hash(base, facts.adapters) != plan.models["before"].weights


@pytest.mark.parametrize(
    ("named", "message"),
    [("nowhere", r"spec\.yaml:4:\d+: no such folder: .*nowhere"),
     ("base", r"spec\.yaml:4:\d+: no adapter_config\.json in .*base")],
)  # fmt: skip
def test_a_spec_whose_adapter_is_not_there_is_refused(named: str, message: str, base: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        load_spec(_spec(tmp_path, named))


def test_a_spec_whose_adapter_is_of_another_base_is_refused_before_anything_is_loaded(
    base: Path, tmp_path: Path
) -> None:
    other = write_random_model("llama", tmp_path / "other", layers=3)
    write_adapter(other, tmp_path / "adapter", CONFIGS["LORA"]())
    with pytest.raises(
        SpecError,
        match=r"spec\.yaml:4:\d+: adapter .* changes layers\.2\.mlp\.down_proj, which the model in .*base does not",
    ):
        make_plan(load_spec(_spec(tmp_path, "adapter")))


def _spec(folder: Path, adapter: str) -> Path:
    line = {"clean_ids": [1, 2, 3], "corrupt_ids": [1, 4, 3], "answer_ids": 5, "foil_ids": 6}
    lines = [json.dumps(line | {"clean_ids": [number, 2, 3]}) for number in range(7, 12)]
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    (folder / "spec.yaml").write_text(
        f"""schema: mechshift/v1
models:
  before: {{source: base, paradigm: autoregressive}}
  after: {{source: base, adapter: {adapter}, paradigm: autoregressive}}
pairs: [{{name: pair, before: before, after: after, role: control}}]
tasks: [{{name: own, regime: local, dataset: pairs.jsonl}}]
name: adapted
seed: 1
interventions: [{{name: circuit, kind: edge_attribution}}]
measures: {{overlap: {{top_k: [5]}}}}
"""
    )
    return folder / "spec.yaml"


def _other_base(base: Path, adapter: Path, **changes: Any) -> None:
    from random_models import DECODER, SIZES
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**(DECODER | SIZES | {"num_hidden_layers": 2} | changes))
    LlamaForCausalLM(config).save_pretrained(base.parent / "other")
    write_adapter(base.parent / "other", adapter, CONFIGS["LORA"]())


def _changed(adapter: Path, **settings: Any) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def _of_new_tokens(base: Path, adapter: Path) -> None:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(43)
    adapted = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])
    )
    adapted.save_pretrained(adapter)


def _not_finite(base: Path, adapter: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_adapter(base, adapter, CONFIGS["LORA"]())
    tensors = load_file(adapter / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, adapter / "adapter_model.safetensors")


REFUSED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "no folder": (lambda base, adapter: None, r"adapter .* does not exist; expected a folder that PEFT's"),
    "an empty folder": (lambda base, adapter: adapter.mkdir(), r"has no adapter_config\.json and no adapter_model"),
    "pickled weights": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()),
            (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin"),
        ),
        r"has no adapter_model\.safetensors but adapter_model\.bin, which is pickled and not read",
    ),
    "more layers": (
        lambda base, adapter: _other_base(base, adapter, num_hidden_layers=3),
        r"changes layers\.2\.mlp\.down_proj, which the model in .* does not have; is it the adapter of another base",
    ),
    "fewer layers": (
        lambda base, adapter: _other_base(base, adapter, num_hidden_layers=1),
        r"has no weights for: .*layers\.1\.",
    ),
    "another size": (
        lambda base, adapter: _other_base(base, adapter, hidden_size=32),
        r"its part for layers\.0\.mlp\.down_proj has size 32, but that weight is 16 x 24; is it the adapter of another",
    ),
    "new tokens": (_of_new_tokens, r"does not fit its base model: .*size mismatch for .*embed_tokens"),
    "a tokenizer of more tokens": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()),
            (adapter / "tokenizer.json").write_text('{"added_tokens": [{"id": 40, "content": "<new>"}]}'),
        ),
        r"came with a tokenizer that has a token 40, but .* has 40 tokens; an adapter with new tokens has",
    ),
    "prompts that are learned": (
        lambda base, adapter: write_adapter(
            base, adapter, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
        ),
        r"an adapter of the kind PROMPT_TUNING can't be merged into weights; expected one of LORA",
    ),
    "a start that takes from the base": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()), _changed(adapter, init_lora_weights="pissa_niter_4"),
        ),
        r"init_lora_weights is 'pissa_niter_4', which may take a part out of the base's weights",
    ),
    "a start that is not known": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()), _changed(adapter, init_lora_weights="lora_ga"),
        ),
        r"init_lora_weights is 'lora_ga', which may take a part out of the base's weights",
    ),
    "settings of another version": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()), _changed(adapter, use_new_scaling=True),
        ),
        r"use_new_scaling: not known to the installed peft, which would leave it out",
    ),
    "a bias where the base has none": (
        lambda base, adapter: write_adapter(
            base, adapter, peft.LoraConfig(r=2, target_modules=["q_proj"], lora_bias=True, init_lora_weights=False)
        ),
        r"can't be merged: ",
    ),
    "layers that are not there": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()), _changed(adapter, target_modules=["wq"]),
        ),
        r"does not fit its base model: Target modules",
    ),
    "a file that ends early": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()),
            (adapter / "adapter_model.safetensors").write_bytes(
                (adapter / "adapter_model.safetensors").read_bytes()[:-40]
            ),
        ),
        r"does not fit its base model|cannot be read",
    ),
    "settings that are no JSON": (
        lambda base, adapter: (
            write_adapter(base, adapter, CONFIGS["LORA"]()), (adapter / "adapter_config.json").write_text("{"),
        ),
        r"adapter_config\.json cannot be read",
    ),
    "weights that are not finite": (
        _not_finite,
        r"the merged model computes other logits than the adapted one \(apart by nan",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_refused(case: str, base: Path, tmp_path: Path) -> None:
    make, message = REFUSED[case]
    make(base, tmp_path / "adapter")
    with pytest.raises(ExecutionError, match=message):
        load_model(base, adapter=tmp_path / "adapter", device="cpu")


def test_without_peft_it_says_how_to_get_it(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_adapter(base, tmp_path / "adapter", CONFIGS["LORA"]())
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ExecutionError, match=r"merged by the package peft: pip install peft"):
        load_model(base, adapter=tmp_path / "adapter", device="cpu")


def test_a_merge_that_computes_something_else_is_noticed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_adapter(base, tmp_path / "adapter", CONFIGS["LORA"]())

    def unmerged(self: Any) -> Any:
        return random_model("llama", 2)

    monkeypatch.setattr(peft.LoraModel, "merge_and_unload", unmerged)
    with pytest.raises(ExecutionError, match=r"the merged model computes other logits than the adapted one"):
        load_model(base, adapter=tmp_path / "adapter", device="cpu")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_half_precision_an_adapter_is_merged_before_anything_is_rounded(
    dtype: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_adapter(
        base,
        tmp_path / "adapter",
        peft.LoraConfig(r=2, lora_alpha=1, target_modules=["q_proj"], init_lora_weights=False),
    )
    wide = load_model(base, adapter=tmp_path / "adapter", device="cpu").module
    half = load_model(base, adapter=tmp_path / "adapter", dtype=dtype, device="cpu").module
    for name, weight in wide.named_parameters():
        assert torch.equal(weight.to(half.get_parameter(name).dtype), half.get_parameter(name)), name
    monkeypatch.setattr(peft.LoraModel, "merge_and_unload", peft.LoraModel.unload)  # the adapter is left out
    with pytest.raises(ExecutionError, match=r"the merged model computes other logits than the adapted one"):
        load_model(base, adapter=tmp_path / "adapter", dtype=dtype, device="cpu")


def test_an_adapter_of_a_weight_that_is_used_twice_is_refused_for_what_it_is(tmp_path: Path) -> None:
    from random_models import DECODER, SIZES
    from transformers import LlamaConfig, LlamaForCausalLM

    tied = LlamaConfig(**(DECODER | SIZES | {"num_hidden_layers": 1, "tie_word_embeddings": True}))
    LlamaForCausalLM(tied).save_pretrained(tmp_path / "tied")
    write_adapter(tmp_path / "tied", tmp_path / "adapter", peft.LoraConfig(r=2, target_modules=["lm_head"]))
    with pytest.raises(ExecutionError, match=r"changes lm_head, whose weight the model in .* uses twice"):
        load_model(tmp_path / "tied", adapter=tmp_path / "adapter", device="cpu")


@pytest.mark.parametrize("layout", ["diffugpt", "diffullama", "llada", "dream"])
def test_published_layouts_take_adapters_of_the_class_that_they_are_loaded_as(layout: str, tmp_path: Path) -> None:
    from published_checkpoints import write_published

    folder = write_published(layout, tmp_path / "published")
    plain = load_model(folder, paradigm="masked_diffusion", mask_token=3, device="cpu")
    target = "c_attn" if layout == "diffugpt" else "q_proj"
    adapted: Any = peft.get_peft_model(
        plain.module, peft.LoraConfig(r=2, target_modules=[target], init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = adapted(input_ids=IDS % 30, use_cache=False).logits
    model = load_model(folder, adapter=tmp_path / "adapter", paradigm="masked_diffusion", mask_token=3, device="cpu")
    torch.testing.assert_close(model.logits(IDS % 30), expected, rtol=1e-4, atol=1e-4)


def test_what_is_said_to_be_mergeable_is_known_to_peft() -> None:
    assert set(MERGEABLE) <= {kind.value for kind in peft.PeftType}
