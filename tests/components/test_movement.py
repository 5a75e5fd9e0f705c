"""What two models are compared by: streams by role against Transformers' own, and norms of planted weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from nnsight import NNsight
from random_models import FAMILIES, write_random_model
from torch import nn

from mechshift_core import CounterfactualBatch, load_model
from mechshift_core.errors import ExecutionError
from mechshift_core.interventions.movement.streams import read_streams
from mechshift_core.interventions.movement.weights import ALL, Component, weight_norms
from mechshift_core.models import Model
from mechshift_core.models.architectures import ArchitectureView
from stats.distances import kl_divergence


def batch(*, padded: bool = False) -> CounterfactualBatch:
    ids = torch.randint(40, (4, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 6, dtype=torch.long)
    if padded:
        mask[1, 4:] = 0
    return CounterfactualBatch(
        clean_ids=ids,
        corrupt_ids=ids.flip(0),
        answer_ids=torch.arange(4),
        foil_ids=torch.arange(4) + 5,
        position=torch.tensor([5, 0, 3, 2]),
        attention_mask=mask,
    )


ROLES = torch.tensor([[0, 1, 1, 0, 2, 2], [0, 1, 1, 1, 2, 2], [1, 1, 0, 0, 0, 2], [1, 1, 1, 1, 1, 1]])


@pytest.mark.parametrize(
    ("family", "paradigm"),
    [
        ("gpt2", "autoregressive"),
        ("gemma2", "masked_diffusion"),
        pytest.param("gpt_neox", "masked_diffusion", marks=pytest.mark.long),
        pytest.param("qwen3", "autoregressive", marks=pytest.mark.long),
    ],
)
def test_streams_are_means_over_the_tokens_of_a_role(
    family: str, paradigm: Literal["autoregressive", "masked_diffusion"], tmp_path: Path
) -> None:
    model = load_model(write_random_model(family, tmp_path), paradigm=paradigm, device="cpu")
    of, read = batch(), []
    modules = [*model.view.module(model.view.declaration.blocks), model.view.module(model.view.declaration.final_norm)]
    hooks = [module.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])) for module in modules]
    logits = model.logits(of.clean_ids)
    for hook in hooks:
        hook.remove()
    found = read_streams(model, of, ROLES, count=3, rows=3)
    assert found.streams.shape == (4, 3, 4, 16)
    for layer, stream in enumerate(read):
        for row, at in enumerate((5, 0, 3, 2)):
            torch.testing.assert_close(found.streams[row, layer, 0], stream[row, at])
            for role in range(3):
                own = stream[row, ROLES[row] == role]
                expected = own.mean(0) if len(own) else torch.zeros(16)
                torch.testing.assert_close(found.streams[row, layer, 1 + role], expected)
    assert found.tokens.tolist() == [[1, 2, 2, 2], [1, 1, 3, 2], [1, 3, 2, 1], [1, 0, 6, 0]]
    expected = logits[torch.arange(4), torch.tensor([5, 0, 3, 2])].log_softmax(-1)
    torch.testing.assert_close(found.log_probs, expected)


def test_padding_has_no_role(tmp_path: Path) -> None:
    model = load_model(write_random_model("qwen2", tmp_path), paradigm="masked_diffusion", device="cpu")
    of = batch(padded=True)
    found = read_streams(model, of, ROLES, count=3)
    alone = replace(
        of,
        clean_ids=of.clean_ids[1:2, :4],
        corrupt_ids=of.corrupt_ids[1:2, :4],
        answer_ids=of.answer_ids[1:2],
        foil_ids=of.foil_ids[1:2],
        position=torch.tensor([0]),
        attention_mask=None,
    )
    single = read_streams(model, alone, ROLES[1:2, :4], count=3)
    torch.testing.assert_close(found.streams[1], single.streams[0])
    assert found.tokens[1].tolist() == [1, 1, 3, 0]


def test_the_position_read_alone_needs_no_roles(tmp_path: Path) -> None:
    model = load_model(write_random_model("gpt2", tmp_path), device="cpu")
    both = read_streams(model, batch(), ROLES, count=3)
    found = read_streams(model, batch(), None, count=0)
    torch.testing.assert_close(found.streams[:, :, 0], both.streams[:, :, 0])
    assert found.streams.shape[2] == 1


def changed(model: Model, change: Callable[[nn.Module], None]) -> Model:
    """The model with other weights."""
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        change(module)
    return replace(model, source="changed", module=module, view=ArchitectureView(module))


QUICK = ("gpt2", "gemma2", "gpt_neox", "qwen3")


@pytest.mark.parametrize(
    "family", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in FAMILIES]
)
def test_every_parameter_counts_once_and_what_is_scaled_has_the_known_norm(family: str, tmp_path: Path) -> None:
    model = load_model(write_random_model(family, tmp_path), device="cpu")

    def scale(module: nn.Module) -> None:
        for parameter in module.parameters():
            parameter.mul_(1.25)

    found = weight_norms(model, changed(model, scale))
    numbers = found.norms()
    parameters = list(model.module.parameters())
    assert numbers["parameters"][-1] == sum(one.numel() for one in parameters) == numbers["parameters"][:-1].sum()
    whole = float(torch.cat([one.double().flatten() for one in parameters]).norm())
    assert numbers["before"][-1] == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(numbers["difference"], 0.25 * numbers["before"], rtol=1e-6)
    np.testing.assert_allclose(numbers["after"], 1.25 * numbers["before"], rtol=1e-6)
    assert [one.name for one in found.squares if one.kind == "other"] == ["transformer.wpe"] * (family == "gpt2")
    shape = model.shape
    for kind, heads in (("q", shape.heads), ("k", shape.key_value_heads), ("v", shape.key_value_heads)):
        assert sum(one.kind == kind for one in found.squares) == shape.layers * heads
    assert sum(one.kind == "o" and one.head is not None for one in found.squares) == shape.layers * shape.heads


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "qwen2"])
def test_a_changed_head_is_the_only_one_that_moved(family: str, tmp_path: Path) -> None:
    """The head that is changed is one that the model's own view of its weights calls so."""
    model = load_model(write_random_model(family, tmp_path), device="cpu")

    def change(module: nn.Module) -> None:
        view = ArchitectureView(module)
        view.projection(1, "q")[0][2].add_(0.5)  # a view into the weight
        view.module(view.declaration.mlp, 0).get_parameter(
            next(name for name, _ in view.module(view.declaration.mlp, 0).named_parameters())
        ).add_(1.0)

    other = changed(model, change)
    found = {one: squares for one, squares in weight_norms(model, other).squares.items() if squares.difference}
    assert [(one.name, one.kind) for one in found] == [("m0", "mlp"), ("a1.h2", "q"), (ALL, ALL)]
    size = model.view.projection(1, "q")[0][2].numel()
    assert found[Component("a1.h2", "q", 1, 2)].difference == pytest.approx(0.25 * size, rel=1e-5)


def test_a_planted_bias_of_the_logits_gives_the_divergence_of_its_closed_form(tmp_path: Path) -> None:
    """With logits moved by c, q = p exp(c) / Z: the divergence of q from p is ln sum p exp(c) - sum p c."""
    model = load_model(write_random_model("gpt2", tmp_path), device="cpu")
    added = torch.linspace(-1, 1, 16)
    head = model.view.module(model.view.declaration.head).weight
    other = changed(model, lambda module: module.transformer.ln_f.bias.add_(added))
    other = replace(other, net=NNsight(other.module))
    p, q = (read_streams(one, batch(), None, count=0).log_probs.double() for one in (model, other))
    moved = (head @ added).double()
    expected = (p + moved).logsumexp(-1) - (p.exp() * moved).sum(-1)
    assert expected.min() > 0.01
    np.testing.assert_allclose(kl_divergence(p.numpy(), q.numpy()), expected.numpy(), rtol=1e-4)


def test_the_same_weights_are_at_exactly_zero(tmp_path: Path) -> None:
    folder = write_random_model("gemma2", tmp_path)
    one, other = (load_model(folder, device="cpu") for _ in range(2))
    assert not weight_norms(one, other).norms()["difference"].any()


def test_a_matrix_with_two_names_counts_once_even_where_the_other_model_has_two_matrices(tmp_path: Path) -> None:
    model = load_model(write_random_model("qwen2", tmp_path), device="cpu")

    def tie(module: nn.Module) -> None:
        module.lm_head.weight = module.model.embed_tokens.weight

    tied = changed(model, tie)
    names = [one.name for one in weight_norms(tied, changed(tied, lambda _: None)).squares]
    assert "embedding" in names and "unembedding" not in names
    mixed = weight_norms(tied, model)
    assert mixed.squares[Component("embedding", "embedding")].difference == 0
    assert mixed.squares[Component("unembedding", "unembedding")].difference > 0


def test_other_shapes_and_architectures_are_refused_by_name(tmp_path: Path) -> None:
    one = load_model(write_random_model("qwen2", tmp_path / "a"), device="cpu")
    deep = load_model(write_random_model("qwen2", tmp_path / "b", layers=3), device="cpu")
    wide = load_model(write_random_model("qwen2", tmp_path / "c", key_value_heads=4), device="cpu")
    with pytest.raises(ExecutionError, match=r"/a has no parameter model\.layers\.2\..*, which the other has"):
        weight_norms(one, deep)
    with pytest.raises(ExecutionError, match=r"self_attn\.k_proj\.weight has the shapes \[8, 16\] and \[16, 16\]"):
        weight_norms(one, wide)
