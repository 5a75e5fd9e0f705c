from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_models import FAMILIES, write_random_model
from torch import Tensor

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.attribution.circuits import _run
from mechshift_core.attribution.edges import integration_path
from mechshift_core.attribution.record import record_activations
from mechshift_core.graph import Graph
from mechshift_core.models import Model
from mechshift_core.models.architectures import Norm

PARADIGMS = ("autoregressive", "masked_diffusion")


@pytest.fixture(params=[(family, paradigm) for family in FAMILIES for paradigm in PARADIGMS], ids="-".join)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    family, paradigm = request.param
    return load_model(write_random_model(family, tmp_path), paradigm=paradigm, device="cpu")


@pytest.fixture
def batch() -> CounterfactualBatch:
    return random_batch()


def random_batch(examples: int = 5, positions: int = 6) -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (examples, positions), generator=draw) for _ in range(2))
    answers = torch.arange(examples)
    return CounterfactualBatch(clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers, foil_ids=answers + 20)


def test_scores_are_the_directional_derivatives_of_the_patched_run(model: Model, batch: CounterfactualBatch) -> None:
    # The slow, obvious reference: move one receiver's input a little along what one source would change.
    graph = Graph.of(model.shape)
    scores = attribute_edges(model, batch, method="eap").values
    coarse, fine = (_central_differences(model, graph, batch, step) for step in (0.04, 0.02))
    expected = -(4 * fine - coarse) / 3  # Richardson: the error of the differences is quadratic in the step
    assert float((scores - expected).abs().max()) <= 3e-3 * float(expected.abs().max())


def _central_differences(model: Model, graph: Graph, batch: CounterfactualBatch, step: float) -> Tensor:
    corrupt = record_activations(model, batch, batch.corrupt_ids)
    source, receiver = graph.edge_index
    moves = torch.zeros(2, len(source), len(graph.sources), len(graph.receivers))
    for edge, (u, v) in enumerate(zip(source, receiver, strict=True)):
        moves[0, edge, u, v], moves[1, edge, u, v] = step, -step
    runs = [_run(model, graph, batch, corrupt, part) for part in moves.flatten(0, 1).split(32)]
    up, down = torch.cat(runs).unflatten(0, (2, -1))
    return ((up - down) / (2 * step)).T


def test_the_full_circuit_is_the_clean_run_and_the_empty_one_the_corrupted_run(
    model: Model, batch: CounterfactualBatch
) -> None:
    scores = attribute_edges(model, batch, method="eap")
    full, empty = evaluate_circuits(model, batch, [list(scores.edges), []])
    torch.testing.assert_close(full, scores.clean_metric, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(empty, scores.corrupt_metric, atol=1e-5, rtol=1e-5)


def test_the_out_edges_of_the_input_sum_to_the_metric_difference(model: Model, batch: CounterfactualBatch) -> None:
    scores = attribute_edges(model, batch, steps=200, quadrature="midpoint", batch_size=2)
    leaves_input = [edge for edge, name in enumerate(scores.edges) if name.startswith("input->")]
    total = scores.values[:, leaves_input].sum(1)
    torch.testing.assert_close(total, scores.clean_metric - scores.corrupt_metric, atol=1e-2, rtol=1e-2)


def test_scores_do_not_depend_on_the_batch(model: Model, batch: CounterfactualBatch) -> None:
    together = attribute_edges(model, batch)
    for size in (1, 2):
        apart = attribute_edges(model, batch, batch_size=size)
        torch.testing.assert_close(apart.values, together.values, atol=1e-5, rtol=1e-4)
    alone = attribute_edges(model, batch.rows(slice(3, 4)))
    torch.testing.assert_close(alone.values, together.values[3:4], atol=1e-5, rtol=1e-4)


def test_masked_padding_changes_no_score(model: Model, batch: CounterfactualBatch) -> None:
    plain = attribute_edges(model, batch)
    padding = torch.zeros(len(batch), 3, dtype=torch.long)
    mask = torch.cat([torch.ones(len(batch), 6, dtype=torch.long), padding], dim=1)
    padded = replace(
        batch,
        clean_ids=torch.cat([batch.clean_ids, padding], dim=1),
        corrupt_ids=torch.cat([batch.corrupt_ids, padding], dim=1),
        attention_mask=mask,
        position=5,
    )
    torch.testing.assert_close(attribute_edges(model, padded).values, plain.values, atol=1e-5, rtol=1e-4)
    half = list(attribute_edges(model, batch).edges)[::2]
    torch.testing.assert_close(
        evaluate_circuits(model, padded, [half]), evaluate_circuits(model, batch, [half]), atol=1e-5, rtol=1e-4
    )


def test_circuits_do_not_depend_on_what_runs_beside_them(model: Model, batch: CounterfactualBatch) -> None:
    edges = attribute_edges(model, batch, method="eap").edges
    circuits = [list(edges[start::3]) for start in range(3)]
    together = evaluate_circuits(model, batch, circuits)
    apart = torch.cat([evaluate_circuits(model, batch, [circuit], rows=2) for circuit in circuits])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_clean_corrupted_is_the_mean_of_the_gradients_at_both_ends(model: Model, batch: CounterfactualBatch) -> None:
    both = attribute_edges(model, batch, method="clean-corrupted").values
    clean = attribute_edges(model, batch, method="eap").values
    corrupted = attribute_edges(model, batch, method="eap-ig", steps=1, quadrature="left").values
    torch.testing.assert_close(both, (clean + corrupted) / 2, atol=1e-5, rtol=1e-4)


def test_the_probability_metric_is_differentiated(tmp_path: Path) -> None:
    model = load_model(write_random_model("llama", tmp_path), device="cpu")
    sets = torch.tensor([[1, 2, -1], [3, -1, -1], [4, 5, 6], [7, 8, -1], [9, -1, -1]])
    batch = replace(random_batch(), answer_ids=sets, foil_ids=sets + torch.where(sets < 0, 0, 20))
    batch = replace(batch, metric="probability_difference")
    scores = attribute_edges(model, batch, method="eap")
    probabilities = model.logits(batch.clean_ids)[:, -1].softmax(-1)
    expected = [
        sum(float(probabilities[i, t]) for t in row if t >= 0)
        - sum(float(probabilities[i, t + 20]) for t in row if t >= 0)
        for i, row in enumerate(sets.tolist())
    ]
    torch.testing.assert_close(scores.clean_metric, torch.tensor(expected), atol=1e-6, rtol=1e-5)
    assert float(scores.values.abs().max()) > 0


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("quadrature", ["left", "midpoint", "gauss-legendre"])
def test_quadratures_integrate_constants_exactly(steps: int, quadrature: str) -> None:
    path = integration_path("eap-ig", steps=steps, quadrature=quadrature)  # type: ignore[arg-type]
    assert len(path) == steps
    assert sum(weight for _, weight in path) == pytest.approx(1)
    assert all(0 <= alpha <= 1 for alpha, _ in path)
    if quadrature == "gauss-legendre":
        power = 2 * steps - 1
        assert sum(weight * alpha**power for alpha, weight in path) == pytest.approx(1 / (power + 1))


@pytest.mark.parametrize("centred", [True, False])
def test_the_analytic_norm_gradient_is_autograd_s(centred: bool) -> None:
    draw = torch.Generator().manual_seed(5)
    weight, bias = torch.randn(8, generator=draw), torch.randn(8, generator=draw)
    norm = Norm(weight, 1e-5, centred, bias if centred else None)
    x = torch.randn(3, 4, 8, generator=draw, requires_grad=True)
    gradient = torch.randn(3, 4, 8, generator=draw)
    reference = torch.nn.functional.layer_norm(x, (8,), weight, bias) if centred else norm(x)
    torch.testing.assert_close(norm(x), reference)
    (expected,) = torch.autograd.grad(reference, x, gradient)
    torch.testing.assert_close(norm.vector_jacobian(x.detach(), gradient), expected)


def test_shared_key_value_heads_are_one_receiver_and_their_readers_can_be_told_apart(tmp_path: Path) -> None:
    model = load_model(write_random_model("qwen2", tmp_path), device="cpu")
    batch = random_batch()
    edges = attribute_edges(model, batch, method="eap").edges
    assert "m0->a1.kv0<k>" in edges
    assert "m0->a1.h0<k>" not in edges
    whole = [edge for edge in edges if edge != "m0->a1.kv0<k>"]
    apart = [*whole, "m0->a1.h0<k>", "m0->a1.h1<k>"]
    full, both = evaluate_circuits(model, batch, [list(edges), apart])
    torch.testing.assert_close(full, both, atol=1e-5, rtol=1e-5)
    without, one = evaluate_circuits(model, batch, [whole, [*whole, "m0->a1.h0<k>"]])
    assert float((without - one).abs().max()) > 1e-6
    assert float((full - one).abs().max()) > 1e-6


def test_an_unknown_edge_is_named(tmp_path: Path) -> None:
    model = load_model(write_random_model("gpt2", tmp_path), device="cpu")
    with pytest.raises(ValueError, match="no edges of this model, the first 'a9->logits'"):
        evaluate_circuits(model, random_batch(), [["a9->logits"]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corrupt_ids": torch.zeros(5, 7)}, "must both be"),
        ({"answer_ids": torch.zeros(4)}, "answer_ids must be"),
        ({"foil_ids": torch.full((5, 2), -1)}, "without any token"),
        ({"position": 6}, "outside the 6 positions"),
    ],
)
def test_a_malformed_batch_is_refused(changes: dict[str, object], message: str) -> None:
    batch = random_batch()
    fields = {name: getattr(batch, name) for name in ("clean_ids", "corrupt_ids", "answer_ids", "foil_ids")}
    with pytest.raises(ValueError, match=message):
        CounterfactualBatch(**{**fields, **changes})  # type: ignore[arg-type]


def test_the_graph_has_the_published_numbers_of_edges() -> None:
    from mechshift_core.graph import Shape

    assert len(Graph.of(Shape(12, 12, 12, 64, 768)).edges) == 32491
    assert len(Graph.of(Shape(32, 32, 32, 128, 4096)).edges) == 1592881
