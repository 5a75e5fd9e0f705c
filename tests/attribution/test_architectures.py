"""Every architecture, causal and bidirectional, against slow and direct implementations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import FAMILIES, write_random_model
from torch import Tensor, nn

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.attribution import node_names, node_scores, patch_nodes
from mechshift_core.attribution.patching import Patch, run_patched
from mechshift_core.attribution.proof import prove
from mechshift_core.attribution.record import record
from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Graph
from mechshift_core.models import Model
from mechshift_core.models.declared import ARCHITECTURES, ArchitectureKind

PARADIGMS = ("autoregressive", "masked_diffusion")


@pytest.fixture(scope="module", params=[(f, p) for f in FAMILIES for p in PARADIGMS], ids="-".join)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    family, paradigm = request.param
    return load_model(write_random_model(family, tmp_path_factory.mktemp(family)), paradigm=paradigm, device="cpu")


@pytest.fixture
def batch() -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (4, 6), generator=draw) for _ in range(2))
    answers = torch.arange(4)
    return CounterfactualBatch(
        clean_ids=clean,
        corrupt_ids=corrupt,
        answer_ids=answers,
        foil_ids=answers + 20,
        position=torch.tensor([5, 5, 4, 3]),
    )


# The direct implementation knows no analytic gradient and no batched patch: it hooks PyTorch modules, adds a vector to
# the residual stream that one module reads, and asks autograd or a second run what that does to the metric.


@contextmanager
def hooked(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def contributions(model: Model, batch: CounterfactualBatch, ids: Tensor) -> dict[str, Tensor]:
    """What every source writes, [examples, positions, hidden]; heads by projecting one head's output at a time."""
    declared, view = model.view.declaration, model.view
    found: dict[str, Tensor] = {}
    handles = []

    def keep(name: str) -> Any:
        return lambda module, inputs, output: found.__setitem__(name, output.detach())

    def keep_input(name: str) -> Any:
        return lambda module, inputs: found.__setitem__(name, inputs[0].detach())

    handles.append(view.module(declared.embedding).register_forward_hook(keep("input")))
    for layer in range(model.shape.layers):
        output = view.module(declared.attention_output, layer)
        handles.append(output.register_forward_pre_hook(keep_input(f"z{layer}")))
        written = view.module(declared.mlp_post_norm or declared.mlp, layer)
        handles.append(written.register_forward_hook(keep(f"m{layer}")))
    with hooked(handles):
        model.logits(ids)
    for layer in range(model.shape.layers):
        z, output = found.pop(f"z{layer}"), view.module(declared.attention_output, layer)
        heads = z.unflatten(-1, (model.shape.heads, -1))
        bias = output(torch.zeros_like(z))
        parts = []
        for head in range(model.shape.heads):
            alone = torch.zeros_like(heads)
            alone[:, :, head] = heads[:, :, head]
            parts.append(output(alone.flatten(2)) - bias)
        if declared.attention_post_norm is not None:
            # The part of the norm's output that is due to a head: the norm is linear at the scale of the whole output.
            norm, whole = view.module(declared.attention_post_norm, layer), output(z)
            size = norm(whole) / whole
            parts = [part * size for part in parts]
        found |= {f"a{layer}.h{head}": part for head, part in enumerate(parts)}
    return found


def reading_modules(model: Model, receiver: str) -> tuple[nn.Module, nn.Module | None, slice | Tensor]:
    """(the norm that reads the stream, the projection behind it, its features) of a receiver."""
    declared, view, size = model.view.declaration, model.view, model.shape.head_size
    if receiver == "logits":
        return view.module(declared.final_norm), None, slice(None)
    if receiver.startswith("m"):
        return view.module(declared.mlp_norm, int(receiver[1:])), None, slice(None)
    layer, head, role = int(receiver[1 : receiver.index(".")]), int(receiver[-4]), receiver[-2]
    norm = view.module(declared.attention_norm, layer)
    projection = view.module(declared.attention_projections[role], layer)
    features = torch.arange(size) + head * size
    if declared.fusion == "interleaved":
        features = torch.arange(size) + (head * 3 + "qkv".index(role)) * size
    elif declared.attention_projections["q"] == declared.attention_projections["k"]:
        features = features + "qkv".index(role) * model.shape.heads * size
    return norm, projection, features


def metric_with(
    model: Model, batch: CounterfactualBatch, receiver: str, change: Tensor, *, alpha: float = 1.0
) -> Tensor:
    """The metric when one receiver reads the residual stream plus `change`, `alpha` of the way to the clean input."""
    norm, projection, features = reading_modules(model, receiver)
    embed = model.view.module(model.view.declaration.embedding)
    clean, corrupt = embed(batch.clean_ids), embed(batch.corrupt_ids)
    handles = [embed.register_forward_hook(lambda *_: corrupt + alpha * (clean - corrupt))]
    if projection is None:
        handles.append(norm.register_forward_pre_hook(lambda module, inputs: (inputs[0] + change,)))
    else:
        streams: list[Tensor] = []
        handles.append(norm.register_forward_pre_hook(lambda module, inputs: streams.append(inputs[0])))

        def patched(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            columns = torch.zeros(output.shape[-1], dtype=torch.bool)
            columns[features] = True
            return torch.where(columns, projection.forward(norm.forward(streams[0] + change)), output)

        handles.append(projection.register_forward_hook(patched))
    with hooked(handles):
        logits = model.module(input_ids=batch.clean_ids, use_cache=False).logits
    return batch.measure(logits[torch.arange(len(batch)), batch.position])


@pytest.mark.parametrize(("method", "steps", "alphas"), [("eap", 1, [1.0]), ("eap-ig", 3, [0.0, 1 / 3, 2 / 3])])
def test_scores_are_the_gradients_that_autograd_takes_at_each_receiver(
    model: Model, batch: CounterfactualBatch, method: str, steps: int, alphas: list[float]
) -> None:
    graph = Graph.of(model.shape)
    scores = attribute_edges(model, batch, method=method, steps=steps, quadrature="left")  # type: ignore[arg-type]
    clean, corrupt = (contributions(model, batch, ids) for ids in (batch.clean_ids, batch.corrupt_ids))
    expected = []
    for receiver in graph.receivers:
        change = torch.zeros(*batch.clean_ids.shape, model.shape.hidden_size, requires_grad=True)
        metrics = [metric_with(model, batch, receiver.name, change, alpha=alpha).sum() for alpha in alphas]
        (gradient,) = torch.autograd.grad(torch.stack(metrics).mean(), change)
        expected += [
            -((corrupt[source.name] - clean[source.name]) * gradient).sum((1, 2))
            for source in graph.sources[: receiver.sources]
        ]
    reference = torch.stack(expected, dim=1)
    assert float((scores.values - reference).abs().max()) <= 1e-4 * float(reference.abs().max())


def test_exact_scores_are_those_of_patching_one_edge_at_a_time(model: Model, batch: CounterfactualBatch) -> None:
    graph = Graph.of(model.shape)
    scores = attribute_edges(model, batch, method="exact")
    clean, corrupt = (contributions(model, batch, ids) for ids in (batch.clean_ids, batch.corrupt_ids))
    expected = []
    with torch.no_grad():
        for receiver in graph.receivers:
            for source in graph.sources[: receiver.sources]:
                change = corrupt[source.name] - clean[source.name]
                expected.append(scores.clean_metric - metric_with(model, batch, receiver.name, change))
    reference = torch.stack(expected, dim=1)
    assert float((scores.values - reference).abs().max()) <= 1e-4 * float(reference.abs().max())


def test_the_full_circuit_is_the_clean_run_and_the_empty_one_the_corrupted_run(
    model: Model, batch: CounterfactualBatch
) -> None:
    edges = Graph.of(model.shape).edges
    full, empty = evaluate_circuits(model, batch, [list(edges), []])
    clean, corrupt = (
        batch.measure(model.logits(ids)[torch.arange(len(batch)), batch.position])
        for ids in (batch.clean_ids, batch.corrupt_ids)
    )
    torch.testing.assert_close(full, clean, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(empty, corrupt, atol=1e-5, rtol=1e-5)


def test_integrated_gradients_are_complete_at_every_residual_stream(model: Model, batch: CounterfactualBatch) -> None:
    scores = attribute_edges(model, batch, steps=100, quadrature="gauss-legendre", batch_size=2)
    nodes = node_scores(model.shape, scores)
    for name in ("input", "x0"):
        total = nodes.values[:, nodes.nodes.index(name)]
        torch.testing.assert_close(total, scores.clean_metric - scores.corrupt_metric, atol=5e-3, rtol=5e-3)


def test_node_scores_are_the_gradient_at_the_node_times_its_change(model: Model, batch: CounterfactualBatch) -> None:
    scores = attribute_edges(model, batch, method="eap", roles=torch.arange(6).expand(4, 6) % 3)
    nodes = node_scores(model.shape, scores)
    names = node_names(model.shape)
    step = 1e-2
    clean = record(model, batch, batch.clean_ids)
    instead = record(model, batch, batch.corrupt_ids).activations
    sources = len(Graph.of(model.shape).sources)
    moves = torch.eye(len(names))
    columns = []
    for sign in (step, -step, step / 2, -step / 2):
        patch = Patch(runs=len(names), nodes=sign * moves[:, :sources], residual=sign * moves[:, sources:])
        columns.append(run_patched(model, batch, instead, patch))
    coarse, fine = (columns[0] - columns[1]) / (2 * step), (columns[2] - columns[3]) / step
    expected = -(4 * fine - coarse).T / 3
    assert float((nodes.values - expected).abs().max()) <= 1e-2 * float(expected.abs().max())
    assert nodes.by_role is not None
    torch.testing.assert_close(nodes.by_role.sum(1), nodes.values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(clean.metric, scores.clean_metric, atol=1e-5, rtol=1e-5)


def test_replacing_a_node_is_replacing_all_its_outgoing_edges(model: Model, batch: CounterfactualBatch) -> None:
    graph = Graph.of(model.shape)
    names = [source.name for source in graph.sources]
    by_node = patch_nodes(model, batch, [[name] for name in names])
    without = [[edge for edge in graph.edges if not edge.startswith(f"{name}->")] for name in names]
    torch.testing.assert_close(by_node, evaluate_circuits(model, batch, without), atol=1e-5, rtol=1e-5)


def test_replacing_a_residual_stream_is_replacing_all_edges_across_it(model: Model, batch: CounterfactualBatch) -> None:
    graph = Graph.of(model.shape)
    source, receiver = graph.edge_index
    written = [graph.sources[u].layer for u in source]
    read = [graph.receivers[v].layer for v in receiver]
    layers = range(model.shape.layers + 1)
    by_stream = patch_nodes(model, batch, [[f"x{layer}"] for layer in layers])
    kept = [
        [edge for edge, u, v in zip(graph.edges, written, read, strict=True) if not (u < layer <= v)]
        for layer in layers
    ]
    torch.testing.assert_close(by_stream, evaluate_circuits(model, batch, kept), atol=1e-5, rtol=1e-5)


def test_a_declaration_that_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_random_model("gemma2", tmp_path)
    right = ARCHITECTURES["gemma2"].declaration
    wrong = {
        "does not fit this version of it: unflatten": {"transposed": True},
        "has no module": {"mlp_norm": "ln_2"},
        "read is not the attention norm": {
            "attention_norm": "pre_feedforward_layernorm",
            "mlp_norm": "input_layernorm",
        },
        "MLP of layer 0 read is not the sum": {"attention_post_norm": None},
        "heads of layer 1 read is not the sum": {"mlp_post_norm": None},
    }
    for message, changes in wrong.items():
        declared = ArchitectureKind("gemma2", replace(right, **changes))
        monkeypatch.setitem(ARCHITECTURES._known, "gemma2", declared)
        with pytest.raises(ExecutionError, match=message):
            load_model(folder, device="cpu")


def test_a_parallel_block_taken_for_a_sequential_one_is_noticed(tmp_path: Path) -> None:
    model = load_model(write_random_model("gpt_neox", tmp_path), device="cpu")
    model.view.shape = replace(model.shape, parallel=False)
    with pytest.raises(ExecutionError, match="MLP of layer 0 read is not the sum of what the sources before write"):
        prove(model)


def test_an_undeclared_architecture_is_refused_with_what_to_declare(tmp_path: Path) -> None:
    write_random_model("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(
        ExecutionError, match=r"'mamba' is not supported.*declare where its embedding.*are in an ArchitectureKind"
    ):
        load_model(tmp_path, device="cpu")
