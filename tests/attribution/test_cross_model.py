"""One model's outputs in another model's run, held against plain PyTorch hooks, one prompt at a time, in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from permuted_heads import write_permuted_twin
from random_models import FAMILIES, write_random_model
from torch import Tensor

from mechshift_core import CounterfactualBatch, load_model
from mechshift_core.attribution import cross_patch, moved_names
from mechshift_core.models import Model

QUICK = ("gpt2", "gemma2", "gpt_neox")
CASES = [
    *(
        pytest.param(family, "autoregressive", marks=() if family in QUICK else pytest.mark.nightly, id=family)
        for family in FAMILIES
    ),
    pytest.param("qwen2", "masked_diffusion", id="qwen2-bidirectional"),
]


def pair_of(folder: Path, family: str, paradigms: tuple[str, str]) -> tuple[Model, Model]:
    """Two random models of one architecture."""
    models = []
    for seed, paradigm in enumerate(paradigms):
        source = write_random_model(family, folder / str(seed), seed=seed)
        mask = 39 if paradigm == "masked_diffusion" else None
        options: dict[str, Any] = {"paradigm": paradigm, "mask_token": mask, "dtype": "float64"}
        models.append(load_model(source, device="cpu", **options))
    return models[0], models[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    return pair_of(tmp_path_factory.mktemp("qwen2"), "qwen2", ("autoregressive", "autoregressive"))


@pytest.fixture
def batch() -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(38, (3, 6), generator=draw) for _ in range(2))
    return CounterfactualBatch(
        clean_ids=clean, corrupt_ids=corrupt, answer_ids=torch.arange(3), foil_ids=torch.arange(3) + 20, position=4
    )


@contextmanager
def hooked(*hooks: tuple[Any, str, Callable[..., object]]) -> Iterator[None]:
    """Hooks on modules, `before` or `after` them, for a while."""
    with ExitStack() as stack:
        for module, when, hook in hooks:
            register = module.register_forward_pre_hook if when == "before" else module.register_forward_hook
            stack.callback(register(hook).remove)
        yield


def first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value


def sites(model: Model, layer: int) -> dict[str, Any]:
    """The modules of a layer whose outputs are moved."""
    declared, block = model.view.declaration, attrgetter(model.view.declaration.blocks)(model.module)[layer]
    return {
        "block": block,
        "projection": attrgetter(declared.attention_output)(block),
        "attention": attrgetter(declared.attention_post_norm or declared.attention_output)(block),
        "mlp": attrgetter(declared.mlp_post_norm or declared.mlp)(block),
    }


def head_written(model: Model, layer: int, head: int, z: Tensor, projected: Tensor) -> Tensor:
    """What a head adds to the residual stream, [positions, hidden], given what its projection reads and gives."""
    size, module = model.shape.head_size, sites(model, layer)["projection"]
    weight = module.weight if model.view.declaration.transposed else module.weight.T
    added = z[:, head * size : (head + 1) * size] @ weight[head * size : (head + 1) * size]
    if model.view.declaration.attention_post_norm is None:
        return added
    norm = sites(model, layer)["attention"]
    return added * torch.rsqrt(projected.square().mean(-1, keepdim=True) + norm.eps) * (1 + norm.weight)


def recorded(model: Model, ids: Tensor) -> dict[str, Tensor]:
    """Everything that one prompt's run writes, by node."""
    kept: dict[str, Tensor] = {}
    hooks: list[tuple[Any, str, Callable[..., object]]] = []

    def keep(name: str, *, inputs: bool = False) -> Callable[..., None]:
        def hook(_: object, given: Any, *made: Any) -> None:
            kept[name] = first(given if inputs else made[0])[0].clone()

        return hook

    for layer in range(model.shape.layers):
        found = sites(model, layer)
        hooks += [
            (found["block"], "before", keep(f"x{layer}", inputs=True)),
            (found["projection"], "before", keep(f"z{layer}", inputs=True)),
            (found["projection"], "after", keep(f"p{layer}")),
            (found["attention"], "after", keep(f"a{layer}")),
            (found["mlp"], "after", keep(f"m{layer}")),
        ]
    final = attrgetter(model.view.declaration.final_norm)(model.module)
    with hooked(*hooks, (final, "before", keep(f"x{model.shape.layers}", inputs=True))):
        model.logits(ids[None])
    for layer in range(model.shape.layers):
        for head in range(model.shape.heads):
            written = head_written(model, layer, head, kept[f"z{layer}"], kept[f"p{layer}"])
            kept[f"a{layer}.h{head}"] = written
    return kept


def replacing(model: Model, node: str, given: Tensor, where: Tensor) -> list[tuple[Any, str, Callable[..., object]]]:
    """Hooks that put a node's output in place at some positions."""
    layer = int(node[1:].partition(".")[0])
    seen: dict[str, Tensor] = {}

    def swapped(live: Tensor) -> Tensor:
        return torch.where(where[:, None], given, live[0])[None]

    def before(_: object, inputs: Any) -> object:
        return (swapped(inputs[0]), *inputs[1:])

    def after(_: object, __: object, output: Any) -> object:
        return (swapped(output[0]), *output[1:]) if isinstance(output, tuple) else swapped(output)

    if node[0] == "x":
        final = attrgetter(model.view.declaration.final_norm)(model.module)
        return [(final if layer == model.shape.layers else sites(model, layer)["block"], "before", before)]
    if node[0] == "m" or "." not in node:
        return [(sites(model, layer)["mlp" if node[0] == "m" else "attention"], "after", after)]
    head = int(node.partition(".h")[2])

    def note(name: str) -> Callable[..., None]:
        def hook(_: object, inputs: Any, *made: Any) -> None:
            seen[name] = first(made[0] if made else inputs)[0].clone()

        return hook

    def exchanged(_: object, __: object, output: Any) -> object:
        live = head_written(model, layer, head, seen["z"], seen["p"])
        changed = first(output) + torch.where(where[:, None], given - live, 0.0)[None]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    found = sites(model, layer)
    return [
        (found["projection"], "before", note("z")),
        (found["projection"], "after", note("p")),
        (found["attention"], "after", exchanged),
    ]


def by_hand(
    recipient: Model, given: list[dict[str, Tensor]], batch: CounterfactualBatch, node: str, ids: Tensor, where: Tensor
) -> Tensor:
    """The metric of every example with a node replaced by what it is given of each."""
    found = []
    for example in range(len(batch)):
        with hooked(*replacing(recipient, node, given[example][node], where)):
            logits = recipient.logits(ids[example][None])[:, int(batch.position[example])]  # type: ignore[index]
        found.append(batch.rows(slice(example, example + 1)).measure(logits))
    return torch.cat(found)


@pytest.mark.long
@pytest.mark.parametrize(("family", "paradigm"), CASES)
def test_every_node_is_moved_as_hooks_move_it(
    family: str, paradigm: str, batch: CounterfactualBatch, tmp_path: Path
) -> None:
    recipient, donor = pair_of(tmp_path, family, ("autoregressive", paradigm))
    if paradigm == "masked_diffusion":
        recipient, donor = donor, recipient
    nodes = moved_names(recipient.shape, ("heads", "attention", "mlps", "residual"))
    somewhere = torch.tensor([True, False, True, False, True, False])
    prompts = {"clean": batch.clean_ids, "corrupted": batch.corrupt_ids}
    for of, into in (("clean", "corrupted"), ("corrupted", "corrupted"), ("clean", "clean")):
        given, ids = [recorded(donor, one) for one in prompts[of]], prompts[into]
        masks = somewhere.expand(len(nodes), -1)
        runs = [[node] for node in nodes]
        found = cross_patch(recipient, donor, batch, runs, given=of, into=into, positions=masks)  # type: ignore[arg-type]
        assert found.dtype == torch.float64
        for node, values in zip(nodes, found, strict=True):
            expected = by_hand(recipient, given, batch, node, ids, somewhere)
            torch.testing.assert_close(values, expected, atol=1e-9, rtol=1e-9, msg=lambda text, n=node: f"{n}: {text}")


def test_a_model_s_own_activations_restore_and_cost_what_they_should(
    two: tuple[Model, Model], batch: CounterfactualBatch
) -> None:
    model, other = two
    streams = [["x0"], ["x1"], ["x2"], []]
    clean = batch.measure(model.logits(batch.clean_ids)[:, 4])
    corrupt = batch.measure(model.logits(batch.corrupt_ids)[:, 4])
    restored = cross_patch(model, model, batch, streams)
    torch.testing.assert_close(restored, torch.stack([clean, clean, clean, corrupt]), atol=1e-12, rtol=0)
    every = [[name] for name in moved_names(model.shape, ("heads", "attention", "mlps", "residual"))]
    kept = cross_patch(model, model, batch, every, into="clean")
    torch.testing.assert_close(kept, clean.expand_as(kept), atol=1e-12, rtol=0)
    lost = cross_patch(model, other, batch, every, into="clean")
    assert float((lost - clean).abs().min()) > 1e-9


def test_several_moves_of_a_run_are_made_together(two: tuple[Model, Model], batch: CounterfactualBatch) -> None:
    model, other = two
    heads = [f"a1.h{head}" for head in range(model.shape.heads)]
    together, whole = cross_patch(model, other, batch, [heads, ["a1"]])
    torch.testing.assert_close(together, whole, atol=1e-12, rtol=0)  # qwen2's output projection has no bias


def test_a_twin_with_permuted_heads_is_told_by_its_heads_alone(
    two: tuple[Model, Model], batch: CounterfactualBatch, tmp_path: Path
) -> None:
    """Whole layers and streams serve as well as one's own; single heads do where the permutation puts them."""
    model = two[0]
    order = [2, 3, 0, 1]  # whole groups of two heads, which share their keys and values
    folder = write_permuted_twin(Path(model.source), tmp_path, order)
    twin = load_model(folder, dtype="float64", device="cpu")
    torch.testing.assert_close(twin.logits(batch.clean_ids), model.logits(batch.clean_ids), atol=1e-12, rtol=0)
    others = [[name] for name in moved_names(model.shape, ("attention", "mlps", "residual"))]
    torch.testing.assert_close(
        cross_patch(model, twin, batch, others), cross_patch(model, model, batch, others), atol=1e-10, rtol=0
    )
    for layer in range(model.shape.layers):
        own = cross_patch(model, model, batch, [[f"a{layer}.h{head}"] for head in range(4)])
        matrix = [[(f"a{layer}.h{given}", f"a{layer}.h{head}")] for head in range(4) for given in range(4)]
        found = cross_patch(model, twin, batch, matrix).unflatten(0, (4, 4))
        same = ((found - own[:, None]).abs().amax(-1) < 1e-10).nonzero().tolist()
        assert same == [
            [head, order.index(head)] for head in range(4)
        ]  # a head of the model, and its place in the twin


def test_padding_and_batches_change_nothing(two: tuple[Model, Model], batch: CounterfactualBatch) -> None:
    model, other = two
    runs = [["a0.h1"], ["m1", "x1"], ["a1"], ["x2"]]
    whole = cross_patch(model, other, batch, runs)
    mask = torch.ones(3, 8, dtype=torch.long)
    mask[:, 6:] = 0
    longer = {
        name: torch.cat([getattr(batch, name), torch.full((3, 2), 9)], dim=1) for name in ("clean_ids", "corrupt_ids")
    }
    padded = replace(batch, **longer, attention_mask=mask)
    torch.testing.assert_close(cross_patch(model, other, padded, runs), whole, atol=1e-12, rtol=0)
    torch.testing.assert_close(cross_patch(model, other, batch, runs, rows=1), whole, atol=1e-12, rtol=0)
    columns = torch.arange(6).expand(3, -1)
    shared = cross_patch(model, other, batch, runs, donor_batch=padded, columns=columns)
    torch.testing.assert_close(shared, whole, atol=1e-12, rtol=0)


def test_a_donor_that_begins_later_is_read_where_the_same_token_stands(
    two: tuple[Model, Model], batch: CounterfactualBatch
) -> None:
    """With a token before the prompt that the recipient lacks; a position without a counterpart stays as it is."""
    model, other = two
    begun = replace(
        batch,
        clean_ids=torch.cat([torch.full((3, 1), 7), batch.clean_ids], dim=1),
        corrupt_ids=torch.cat([torch.full((3, 1), 7), batch.corrupt_ids], dim=1),
        position=5,
    )
    columns = torch.arange(1, 7).expand(3, -1).clone()
    columns[:, 2] = -1
    where = torch.tensor([True, True, False, True, True, True])
    for node in ("a0.h1", "a1", "m0", "x1", "x2"):
        (found,) = cross_patch(model, other, batch, [[node]], donor_batch=begun, columns=columns)
        for example in range(3):
            given = recorded(other, begun.clean_ids[example])[node][1:]
            with hooked(*replacing(model, node, given, where)):
                logits = model.logits(batch.corrupt_ids[example][None])[:, 4]
            expected = batch.rows(slice(example, example + 1)).measure(logits)
            torch.testing.assert_close(found[example : example + 1], expected, atol=1e-9, rtol=1e-9)


def test_what_can_t_be_moved_is_refused(two: tuple[Model, Model], batch: CounterfactualBatch, tmp_path: Path) -> None:
    model, other = two
    for runs, message in (
        ([["a9.h0"]], r"'a9\.h0' is no node of this model"),
        ([["a0.h4"]], r"'a0\.h4' is no node"),
        ([["x3"]], "'x3' is no node"),
        ([["input"]], "'input' is no node"),
        ([[("a0.h0", "m0")]], "they are not of one kind"),
        ([[("x1", "x2")]], "can only take its own place"),
    ):
        with pytest.raises(ValueError, match=message):
            cross_patch(model, other, batch, runs)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"positions must be \[1, 6\] or \[1, 3, 6\]; they are \[1, 1, 7\]"):
        cross_patch(model, other, batch, [["m0"]], positions=torch.ones(1, 7))
    with pytest.raises(ValueError, match=r"columns must be \[3, 6\]; it is \[3, 5\]"):
        cross_patch(model, other, batch, [["m0"]], columns=torch.ones(3, 5))
    with pytest.raises(ValueError, match="donor_batch must have the 3 examples"):
        cross_patch(model, other, batch, [["m0"]], donor_batch=batch.rows(slice(0, 2)))
    with pytest.raises(ValueError, match="into: expected 'corrupted' or 'clean'"):
        cross_patch(model, other, batch, [["m0"]], into="corrupt")  # type: ignore[arg-type]
    deeper = load_model(write_random_model("qwen2", tmp_path, layers=3), device="cpu")
    with pytest.raises(ValueError, match="have different graphs"):
        cross_patch(model, deeper, batch, [["m0"]])


def test_models_are_as_they_were(two: tuple[Model, Model], batch: CounterfactualBatch) -> None:
    weights = copy.deepcopy(two[0].module.state_dict())
    cross_patch(*two, batch, [["a0.h1"], ["x1"]])
    assert all(torch.equal(value, weights[name]) for name, value in two[0].module.state_dict().items())
