"""Attention by role and direction, against loops over the attentions that Transformers itself returns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from random_models import FAMILIES, write_random_model
from torch import Tensor

from mechshift_core import CounterfactualBatch, load_model
from mechshift_core.interventions.attention.mass import AttentionMass, attention_mass
from mechshift_core.models import Model
from mechshift_core.models.kernels import attention_kernel
from mechshift_core.models.load import Paradigm

LENGTH, COUNT = 6, 3


def drawn(examples: int = 4) -> tuple[CounterfactualBatch, Tensor]:
    """A batch read at different positions, and roles of which the last example lacks one."""
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (examples, LENGTH), generator=draw) for _ in range(2))
    roles = torch.randint(COUNT, (examples, LENGTH), generator=draw)
    roles[-1] = torch.tensor([0, 1, 0, 1, 0, 0])
    answers = torch.arange(examples)
    batch = CounterfactualBatch(
        clean_ids=clean,
        corrupt_ids=corrupt,
        answer_ids=answers,
        foil_ids=answers + 20,
        position=torch.tensor([5, 2, 3, 1][:examples]),
    )
    return batch, roles


def slowly(patterns: Tensor, batch: CounterfactualBatch, roles: Tensor) -> Tensor:
    """[examples, layers, heads, 1 + roles, roles + 3] of attentions [examples, layers, heads, queries, keys]."""
    examples, layers, heads = patterns.shape[:3]
    found = torch.zeros(examples, layers, heads, 1 + COUNT, COUNT + 3)
    for example in range(examples):
        groups = [[int(batch.position[example])]]  # type: ignore[index]
        groups += [[q for q in range(LENGTH) if roles[example, q] == role] for role in range(COUNT)]
        for number, group in enumerate(groups):
            for query in group:
                for key in range(LENGTH):
                    direction = COUNT + (0 if key < query else 1 if key == query else 2)
                    share = patterns[example, :, :, query, key] / len(group)
                    found[example, :, :, number, int(roles[example, key])] += share
                    found[example, :, :, number, direction] += share
    return found


def returned(folder: Path, paradigm: Paradigm, ids: Tensor) -> Tensor:
    """The attentions of Transformers, [examples, layers, heads, queries, keys]."""
    model = load_model(folder, paradigm=paradigm, device="cpu", attention="eager")
    with torch.no_grad():
        output = model.module(input_ids=ids, use_cache=False, output_attentions=True)
    return torch.stack(output.attentions, dim=1)


@pytest.mark.parametrize(
    ("family", "paradigm"),
    [
        *((family, "masked_diffusion") for family in FAMILIES if family != "gpt_neox-sequential"),
        ("gpt2", "autoregressive"),
        ("mistral", "autoregressive"),
    ],
)
def test_every_architecture_s_attention_is_that_of_transformers(
    family: str, paradigm: Paradigm, tmp_path: Path
) -> None:
    write_random_model(family, tmp_path)
    model = load_model(tmp_path, paradigm=paradigm, device="cpu")
    batch, roles = drawn()
    found = attention_mass(model, batch, roles, count=COUNT, rows=3)
    torch.testing.assert_close(found.mass, slowly(returned(tmp_path, paradigm, batch.clean_ids), batch, roles))
    right = found.mass[..., -1]
    assert bool((right == 0).all()) if paradigm == "autoregressive" else bool((right[:, :, :, 0] > 0).any())


@pytest.fixture(scope="module", params=["autoregressive", "masked_diffusion"])
def looked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, CounterfactualBatch, Tensor, AttentionMass]:
    folder = write_random_model("qwen2", tmp_path_factory.mktemp("qwen2"))
    model = load_model(folder, paradigm=request.param, device="cpu")
    batch, roles = drawn()
    return model, batch, roles, attention_mass(model, batch, roles, count=COUNT)


def test_even_attention_goes_to_all_that_is_visible(
    looked: tuple[Model, CounterfactualBatch, Tensor, AttentionMass],
) -> None:
    model, batch, roles, found = looked
    causal = model.paradigm == "autoregressive"
    even = torch.zeros(LENGTH, LENGTH)
    for query in range(LENGTH):
        seen = query + 1 if causal else LENGTH
        even[query, :seen] = 1 / seen
    expected = slowly(even.expand(len(batch), 1, 1, -1, -1), batch, roles)[:, 0, 0]
    torch.testing.assert_close(found.uniform, expected)


def test_mass_sums_to_one_over_roles_and_over_directions(
    looked: tuple[Model, CounterfactualBatch, Tensor, AttentionMass],
) -> None:
    _, _, roles, found = looked
    assert found.queries.tolist() == [[1, *(int((row == role).sum()) for role in range(COUNT))] for row in roles]
    present = (found.queries > 0).float()
    for mass in (found.mass, found.uniform[:, None, None]):
        expected = present[:, None, None].expand(mass.shape[:-1])
        torch.testing.assert_close(mass[..., :COUNT].sum(-1), expected)
        torch.testing.assert_close(mass[..., COUNT:].sum(-1), expected)


def test_the_model_keeps_its_own_kernel(looked: tuple[Model, CounterfactualBatch, Tensor, AttentionMass]) -> None:
    model, *_ = looked
    config = model.module.config
    with pytest.raises(RuntimeError, match="no luck"), attention_kernel(model.module, "eager"):
        assert config._attn_implementation == "eager"
        raise RuntimeError("no luck")
    assert config._attn_implementation == "sdpa"


def test_roles_are_one_for_each_position(looked: tuple[Model, CounterfactualBatch, Tensor, AttentionMass]) -> None:
    model, batch, roles, _ = looked
    for wrong in (roles[:, 1:], roles + COUNT, roles - 1):
        with pytest.raises(ValueError, match="roles must be numbers below 3, \\[4, 6\\]"):
            attention_mass(model, batch, wrong, count=COUNT)
