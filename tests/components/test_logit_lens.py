"""The logit lens on every architecture, against Transformers' own modules called one by one, without nnsight."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, write_random_model
from torch import Tensor, nn

from mechshift_core import CounterfactualBatch, load_model
from mechshift_core.errors import ExecutionError
from mechshift_core.interventions.logit_lens import lens
from mechshift_core.interventions.logit_lens.lens import Lens, lens_names, read_lens, softcap
from mechshift_core.metrics import NO_TOKEN
from mechshift_core.models import Model

PARADIGMS = ("autoregressive", "masked_diffusion")
CLOSE: dict[str, float] = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="module", params=[(f, p) for f in FAMILIES for p in PARADIGMS], ids="-".join)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    family, paradigm = request.param
    return load_model(write_random_model(family, tmp_path_factory.mktemp(family)), paradigm=paradigm, device="cpu")


@pytest.fixture(scope="module")
def batch() -> CounterfactualBatch:
    """Sets of answers and foils, some of one token, read at different positions."""
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (4, 6), generator=draw) for _ in range(2))
    return CounterfactualBatch(
        clean_ids=clean,
        corrupt_ids=corrupt,
        answer_ids=torch.tensor([[0, 8], [1, NO_TOKEN], [2, 10], [3, 30]]),
        foil_ids=torch.tensor([[20, 21, 22], [21, NO_TOKEN, NO_TOKEN], [22, 5, NO_TOKEN], [23, 6, 7]]),
        position=torch.tensor([5, 5, 4, 3]),
    )


@dataclass
class Heard:
    """Inputs and outputs of modules in one forward pass, by plain hooks; what is heard is at the position read."""

    batch: CounterfactualBatch
    values: dict[str, Tensor] = field(default_factory=dict)

    def listen(self, name: str, module: nn.Module, *, read: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            given = args[0] if args else kwargs["hidden_states"]
            value = given if read == "input" else output
            value = value[0] if isinstance(value, tuple) else value
            self.values[name] = value[torch.arange(4), self.batch.position]

        return module.register_forward_hook(hook, with_kwargs=True)


@pytest.fixture(scope="module")
def heard(model: Model, batch: CounterfactualBatch) -> dict[str, Tensor]:
    declared, view, ear = model.view.declaration, model.view, Heard(batch)
    handles = [ear.listen("final", view.module(declared.final_norm), read="input")]
    for layer in range(model.shape.layers):
        block: Any = view.module(declared.blocks)[layer]
        handles += [
            ear.listen(f"x{layer}", block, read="input"),
            ear.listen(f"z{layer}", view.module(declared.attention_output, layer), read="input"),
            ear.listen(f"o{layer}", view.module(declared.attention_output, layer), read="output"),
            ear.listen(f"m{layer}", view.module(declared.mlp_post_norm or declared.mlp, layer), read="output"),
        ]
    ear.values["logits"] = model.logits(batch.clean_ids)[torch.arange(4), batch.position]
    for handle in handles:
        handle.remove()
    return ear.values


@pytest.fixture(scope="module")
def found(model: Model, batch: CounterfactualBatch) -> Lens:
    return read_lens(model, batch)


def contribution(model: Model, heard: dict[str, Tensor], name: str) -> Tensor:
    """What a source writes at the position read, [examples, hidden], from Transformers' own modules."""
    declared, view = model.view.declaration, model.view
    if name == "input":
        return heard["x0"]
    layer = int(name[1:].partition(".")[0])
    if name.startswith("m"):
        return heard[name]
    head, size = int(name.partition(".h")[2]), model.shape.head_size
    alone = torch.zeros_like(heard[f"z{layer}"])
    alone[:, head * size : head * size + size] = heard[f"z{layer}"][:, head * size : head * size + size]
    project = view.module(declared.attention_output, layer)
    written: Tensor = project(alone) - project(torch.zeros_like(alone))  # without the bias
    if declared.attention_post_norm is None:
        return written
    norm = view.module(declared.attention_post_norm, layer)  # at the scale of the whole output
    whole = heard[f"o{layer}"]
    return written * norm.weight.add(1) * torch.rsqrt(whole.pow(2).mean(-1, keepdim=True) + norm.eps)


def through_the_head(model: Model, vectors: Tensor, *, capped: bool = True) -> Tensor:
    declared, view = model.view.declaration, model.view
    logits: Tensor = view.module(declared.head)(view.module(declared.final_norm)(vectors))
    cap = softcap(model)
    return cap * torch.tanh(logits / cap) if capped and cap else logits


def tokens(ids: Tensor) -> list[list[int]]:
    return [[int(token) for token in row if token != NO_TOKEN] for row in ids]


def check_readout(model: Model, batch: CounterfactualBatch, found: lens.Readout, vectors: list[Tensor]) -> None:
    for column, vector in enumerate(vectors):
        logits = through_the_head(model, vector)
        for row, (answers, foils) in enumerate(zip(tokens(batch.answer_ids), tokens(batch.foil_ids), strict=True)):
            p = logits[row].double().softmax(-1)
            assert found.log_prob[row, column].item() == pytest.approx(p[answers].sum().log().item(), **_approx())
            assert found.foil_log_prob[row, column].item() == pytest.approx(p[foils].sum().log().item(), **_approx())
            assert found.entropy[row, column].item() == pytest.approx(-(p * p.log()).sum().item(), **_approx())
            order = logits[row].argsort(descending=True).tolist()
            assert found.rank[row, column].item() == 1 + min(order.index(answer) for answer in answers)
            assert found.top[row, column].item() == order[0]


def _approx() -> dict[str, float]:
    return {"abs": 1e-4, "rel": 1e-4}


def test_every_residual_stream_is_read_through_the_model_s_own_head(
    model: Model, batch: CounterfactualBatch, heard: dict[str, Tensor], found: Lens
) -> None:
    streams = [*(heard[f"x{layer}"] for layer in range(model.shape.layers)), heard["final"]]
    check_readout(model, batch, found.streams, streams)
    torch.testing.assert_close(through_the_head(model, heard["final"]), heard["logits"], **CLOSE)


def test_what_every_component_writes_is_read_alike(
    model: Model, batch: CounterfactualBatch, heard: dict[str, Tensor], found: Lens
) -> None:
    names = lens_names(model)[:-1]
    check_readout(model, batch, found.components, [contribution(model, heard, name) for name in names])


def test_direct_attributions_sum_to_the_logit_difference_before_soft_capping(
    model: Model, batch: CounterfactualBatch, heard: dict[str, Tensor], found: Lens
) -> None:
    logits = through_the_head(model, heard["final"], capped=False)
    torch.testing.assert_close(found.direct.sum(1), batch.measure(logits), **CLOSE)
    if softcap(model) is None:
        torch.testing.assert_close(found.direct.sum(1), batch.measure(heard["logits"]), **CLOSE)
    else:
        assert float((found.direct.sum(1) - batch.measure(heard["logits"])).abs().max()) > 1e-2


def test_a_component_s_direct_attribution_is_what_the_frozen_norm_loses_without_it(
    model: Model, batch: CounterfactualBatch, heard: dict[str, Tensor], found: Lens
) -> None:
    norm: Any = model.view.module(model.view.declaration.final_norm)
    whole = heard["final"]
    if isinstance(norm, nn.LayerNorm):
        divided = (whole.var(-1, unbiased=False, keepdim=True) + norm.eps).rsqrt()
    else:
        epsilon = getattr(norm, "variance_epsilon", None) or norm.eps
        divided = (whole.pow(2).mean(-1, keepdim=True) + epsilon).rsqrt()

    def frozen(residual: Tensor) -> Tensor:
        centred = residual - residual.mean(-1, keepdim=True) if isinstance(norm, nn.LayerNorm) else residual
        weight = norm.weight + 1 if type(norm).__name__.startswith("Gemma") else norm.weight
        normed = centred * divided * weight + (norm.bias if isinstance(norm, nn.LayerNorm) else 0)
        return batch.measure(model.view.module(model.view.declaration.head)(normed))

    names = lens_names(model)
    assert names[-1] == lens.BIAS and found.direct.shape == (4, len(names))
    for column, name in enumerate(names[:-1]):
        lost = frozen(whole) - frozen(whole - contribution(model, heard, name))
        torch.testing.assert_close(found.direct[:, column], lost, **CLOSE)


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """LayerNorm and biases everywhere."""
    return load_model(write_random_model("gpt2", tmp_path_factory.mktemp("gpt2")), device="cpu")


def test_batches_change_nothing(biased: Model, batch: CounterfactualBatch, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_lens(biased, batch)
    monkeypatch.setattr(lens, "LOGITS_AT_ONCE", 40)
    apart = read_lens(biased, batch, rows=1)
    for part in ("streams", "components"):
        for name in ("log_prob", "foil_log_prob", "rank", "entropy", "top"):
            torch.testing.assert_close(getattr(getattr(apart, part), name), getattr(getattr(whole, part), name))
    torch.testing.assert_close(apart.direct, whole.direct, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lost", ["attention bias", "norm bias", "no soft-capping"])
def test_what_does_not_add_up_is_refused(
    biased: Model, batch: CounterfactualBatch, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lost == "attention bias":
        record = lens.record_written
        monkeypatch.setattr(lens, "record_written", lambda *of: replace(found := record(*of), biases=0 * found.biases))
        said = "direct logit attributions do not sum to the logit difference"
    elif lost == "norm bias":
        norm = biased.view.norm("transformer.ln_f")
        monkeypatch.setattr(type(biased.view), "norm", lambda *_: replace(norm, bias=None))
        said = "the last residual stream, read through the lens, does not give the model's logits"
    else:
        monkeypatch.setattr(lens, "softcap", lambda _: 3.0)
        said = "does not give the model's logits"
    with pytest.raises(ExecutionError, match=f"{said}.* of GPT2LMHeadModel"):
        read_lens(biased, batch)


@pytest.mark.parametrize(("family", "dtype"), [("gemma2", "bfloat16"), ("gpt2", "float16")])
def test_half_precision_is_close_and_not_refused(
    family: str, dtype: Any, batch: CounterfactualBatch, tmp_path: Path
) -> None:
    folder = write_random_model(family, tmp_path)
    half, full = (read_lens(load_model(folder, dtype=one, device="cpu"), batch) for one in (dtype, "float32"))
    assert half.direct.dtype == torch.float32
    error = (half.direct - full.direct).abs().max() / full.direct.abs().max()
    assert float(error) < (0.05 if dtype == "bfloat16" else 0.01)
