"""What replaces activations, where, and what that does to the metric: against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_models import write_random_model
from torch import Tensor

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.attribution import node_names, patch_nodes
from mechshift_core.attribution.ablation import replacement_of
from mechshift_core.attribution.record import Activations, record
from mechshift_core.models import Model

ABLATIONS = ("counterfactual", "mean", "zero", "resample")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_random_model("qwen2", tmp_path_factory.mktemp("qwen2")), device="cpu")


@pytest.fixture
def batch() -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (5, 6), generator=draw) for _ in range(2))
    answers = torch.arange(5)
    return CounterfactualBatch(clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=answers + 20)


def with_mlp(model: Model, batch: CounterfactualBatch, layer: int, written: Tensor) -> Tensor:
    """The metric when a layer's MLP writes something else, by a plain PyTorch hook."""
    module = model.view.module(model.view.declaration.mlp, layer)
    handle = module.register_forward_hook(lambda *_: written.expand(len(batch), 6, -1))
    try:
        return batch.measure(model.logits(batch.clean_ids)[:, -1])
    finally:
        handle.remove()


def test_each_ablation_puts_its_own_value_in_place(model: Model, batch: CounterfactualBatch) -> None:
    clean = record(model, batch, batch.clean_ids).activations.mlps[0]
    corrupt = record(model, batch, batch.corrupt_ids).activations.mlps[0]
    expected = {"counterfactual": corrupt, "mean": clean.mean(0, keepdim=True), "zero": torch.zeros_like(clean)}
    for ablation, written in expected.items():
        (found,) = patch_nodes(model, batch, [["m0"]], ablation=ablation)  # type: ignore[arg-type]
        torch.testing.assert_close(found, with_mlp(model, batch, 0, written), atol=1e-5, rtol=1e-5)


def test_resampling_takes_each_example_s_value_from_another_one(model: Model, batch: CounterfactualBatch) -> None:
    clean = record(model, batch, batch.clean_ids).activations.mlps[0]
    given = replacement_of(model, batch, "resample", seed=4)(torch.arange(5)).mlps[0]
    partners = [[bool(torch.allclose(given[i], clean[j], atol=1e-6)) for j in range(5)] for i in range(5)]
    assert [sum(row) for row in partners] == [1] * 5
    assert [sum(column) for column in zip(*partners, strict=True)] == [1] * 5
    assert not any(partners[i][i] for i in range(5))
    (found,) = patch_nodes(model, batch, [["m0"]], ablation="resample", seed=4)
    torch.testing.assert_close(found, with_mlp(model, batch, 0, given), atol=1e-5, rtol=1e-5)
    other = patch_nodes(model, batch, [["m0"]], ablation="resample", seed=5)
    assert float((found - other).abs().max()) > 1e-4


@pytest.mark.long
@pytest.mark.parametrize("ablation", ABLATIONS)
def test_what_is_evaluated_beside_it_or_in_which_batch_changes_nothing(
    model: Model, batch: CounterfactualBatch, ablation: str
) -> None:
    nodes = [["a0.h1"], ["m1", "a1.h0"], ["x1"]]
    whole = patch_nodes(model, batch, nodes, ablation=ablation)  # type: ignore[arg-type]
    parts = [
        patch_nodes(model, batch, [node], ablation=ablation, only=[example], rows=1)  # type: ignore[arg-type]
        for node in nodes
        for example in range(5)
    ]
    torch.testing.assert_close(torch.cat(parts).reshape(3, 5), whole, atol=1e-5, rtol=1e-5)
    half = list(attribute_edges(model, batch, method="eap").edges)[::2]
    circuits = evaluate_circuits(model, batch, [half], ablation=ablation)  # type: ignore[arg-type]
    some = evaluate_circuits(model, batch, [half], ablation=ablation, only=[3, 1], rows=1)  # type: ignore[arg-type]
    torch.testing.assert_close(some, circuits[:, [3, 1]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_nodes_and_edges_agree_under_every_ablation(model: Model, batch: CounterfactualBatch, ablation: str) -> None:
    names = [name for name in node_names(model.shape) if not name.startswith("x")]
    edges = attribute_edges(model, batch, method="eap").edges
    by_node = patch_nodes(model, batch, [[name] for name in names], ablation=ablation)  # type: ignore[arg-type]
    without = [[edge for edge in edges if not edge.startswith(f"{name}->")] for name in names]
    by_edge = evaluate_circuits(model, batch, without, ablation=ablation)  # type: ignore[arg-type]
    torch.testing.assert_close(by_node, by_edge, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["gpt2", "qwen2", "gemma2"])
def test_where_nothing_is_written_there_is_no_rounding(family: str, batch: CounterfactualBatch, tmp_path: Path) -> None:
    """A norm makes of rounding a stream of full size; these must be what is not written by any source, exactly."""
    model = load_model(write_random_model(family, tmp_path / family), paradigm="autoregressive", device="cpu")
    module = model.module
    stream = torch.zeros(model.shape.hidden_size)
    if family == "gpt2":
        stream = module.transformer.wpe.weight[batch.position].squeeze() + sum(
            block.attn.c_proj.bias for block in module.transformer.h
        )
    final = module.transformer.ln_f if family == "gpt2" else module.model.norm
    with torch.no_grad():
        expected = batch.measure(module.lm_head(final(stream)).expand(len(batch), -1))
    last = f"x{model.shape.layers}"
    found = [
        patch_nodes(model, batch, [[last], ["x1", last]], ablation="zero"),
        evaluate_circuits(model, batch, [[]], ablation="zero"),
    ]
    if family != "gpt2":  # an MLP without biases that reads nothing writes nothing
        late = f"m{model.shape.layers - 1}->logits"
        found.append(evaluate_circuits(model, batch, [[late]], ablation="zero"))
    for values in found:
        assert torch.allclose(values, expected.expand_as(values), rtol=1e-6, atol=1e-6 * float(expected.abs().max()))


def test_padding_does_not_count_in_the_mean(model: Model, batch: CounterfactualBatch) -> None:
    mask = torch.ones(5, 8, dtype=torch.long)
    mask[:3, 6:] = 0
    longer = torch.cat([batch.clean_ids, torch.full((5, 2), 9)], dim=1)
    padded = replace(batch, clean_ids=longer, corrupt_ids=longer, attention_mask=mask, position=5)
    mean: Activations = replacement_of(model, padded, "mean")(torch.tensor([0]))
    clean = record(model, padded, padded.clean_ids).activations
    torch.testing.assert_close(mean.mlps[1][0, 7], clean.mlps[1][3:, 7].mean(0), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mean.heads[1][0, 2], clean.heads[1][:, 2].mean(0), atol=1e-5, rtol=1e-5)


def test_a_patch_at_every_position_is_a_patch_everywhere(model: Model, batch: CounterfactualBatch) -> None:
    nodes = [["a0.h1"], ["m0"], ["x1"]]
    everywhere = patch_nodes(model, batch, nodes)
    masks = torch.ones(3, 6, dtype=torch.bool)
    torch.testing.assert_close(patch_nodes(model, batch, nodes, positions=masks), everywhere, atol=1e-6, rtol=1e-6)
    nowhere = patch_nodes(model, batch, nodes, positions=~masks)
    clean = record(model, batch, batch.clean_ids).metric
    torch.testing.assert_close(nowhere, clean.expand(3, 5), atol=1e-5, rtol=1e-5)


def test_a_patch_at_a_position_is_what_a_hook_at_that_position_does(model: Model, batch: CounterfactualBatch) -> None:
    clean, corrupt = (record(model, batch, ids).activations.mlps[0] for ids in (batch.clean_ids, batch.corrupt_ids))
    where = torch.zeros(1, 5, 6, dtype=torch.bool)
    where[0, torch.arange(5), torch.tensor([0, 5, 2, 3, 1])] = True
    (found,) = patch_nodes(model, batch, [["m0"]], positions=where)
    expected = with_mlp(model, batch, 0, torch.where(where[0][:, :, None], corrupt, clean))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_wrong_names_and_positions_are_refused(model: Model, batch: CounterfactualBatch) -> None:
    with pytest.raises(ValueError, match=r"'a9\.h0' is no node of this model"):
        patch_nodes(model, batch, [["m0", "a9.h0"]])
    with pytest.raises(ValueError, match=r"positions must be \[1, 6\] or \[1, 5, 6\]; they are \[1, 1, 7\]"):
        patch_nodes(model, batch, [["m0"]], positions=torch.ones(1, 7))
    with pytest.raises(ValueError, match=r"ablation: expected .*'mena'"):
        patch_nodes(model, batch, [["m0"]], ablation="mena")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is only one"):
        patch_nodes(model, batch.rows(slice(0, 1)), [["m0"]], ablation="resample")


@pytest.mark.nightly
@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.05), ("float16", 0.005)])
@pytest.mark.parametrize(
    ("name", "paradigm"), [pytest.param("arm", "autoregressive", marks=pytest.mark.long), ("mdm", "masked_diffusion")]
)
def test_half_precision_gives_the_scores_of_full_precision(name: str, paradigm: str, dtype: str, error: float) -> None:
    draw = torch.Generator().manual_seed(0)
    clean, corrupt = (torch.randint(5, 200, (6, 9), generator=draw) for _ in range(2))
    answers = torch.arange(6) + 10
    batch = CounterfactualBatch(clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=answers + 20)
    full, half = (
        load_model(f"bundled:tiny-s0/{name}", paradigm=paradigm, device="cpu", dtype=kind)  # type: ignore[arg-type]
        for kind in ("float32", dtype)
    )
    expected, found = (attribute_edges(model, batch) for model in (full, half))
    assert found.values.dtype == torch.float32
    assert float((found.values - expected.values).abs().max()) <= error * float(expected.values.abs().max())
    circuits = [list(expected.edges)[::3], list(expected.edges), []]
    exact, rounded = (evaluate_circuits(model, batch, circuits) for model in (full, half))
    assert float((rounded - exact).abs().max()) <= error * float(exact.abs().max())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gpu_gives_the_scores_of_a_cpu(dtype: str, tmp_path: Path, batch: CounterfactualBatch) -> None:
    folder = write_random_model("qwen2", tmp_path)
    cpu, gpu = (load_model(folder, device=kind, dtype=dtype) for kind in ("cpu", "cuda"))  # type: ignore[arg-type]
    tolerance = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}[dtype]
    for method in ("eap", "eap-ig", "exact"):
        expected, found = (attribute_edges(model, batch, method=method).values for model in (cpu, gpu))  # type: ignore[arg-type]
        assert float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())
