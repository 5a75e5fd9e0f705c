from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_models import random_batch, write_random_model

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.attribution import edge_score_blocks, memory
from mechshift_core.attribution.edges import integration_path
from mechshift_core.attribution.memory import Batching
from mechshift_core.graph import Graph
from mechshift_core.models import Model
from mechshift_core.models.norms import Norm


@pytest.fixture(scope="module", params=["gpt2", "qwen2", "gemma2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_random_model(request.param, tmp_path_factory.mktemp(request.param)), device="cpu")


@pytest.fixture
def batch() -> CounterfactualBatch:
    return random_batch()


def test_scores_do_not_depend_on_the_batch(model: Model, batch: CounterfactualBatch) -> None:
    together = attribute_edges(model, batch)
    for size in (1, 2):
        apart = attribute_edges(model, batch, batch_size=size)
        torch.testing.assert_close(apart.values, together.values, atol=1e-5, rtol=1e-4)
    blocks = list(edge_score_blocks(model, batch, batch_size=2))
    assert [len(block.values) for block in blocks] == [2, 2, 1]
    torch.testing.assert_close(torch.cat([block.values for block in blocks]), together.values, atol=1e-5, rtol=1e-4)
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


@pytest.mark.parametrize("method", ["eap", "eap-ig", "clean-corrupted"])
def test_scores_by_token_role_sum_to_the_scores(model: Model, batch: CounterfactualBatch, method: str) -> None:
    roles = torch.randint(3, batch.clean_ids.shape, generator=torch.Generator().manual_seed(0))
    plain = attribute_edges(model, batch, method=method)  # type: ignore[arg-type]
    scores = attribute_edges(model, batch, method=method, roles=roles, batch_size=2)  # type: ignore[arg-type]
    assert scores.by_role is not None
    assert scores.by_role.shape == (5, 3, len(scores.edges))
    torch.testing.assert_close(scores.values, plain.values, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.by_role.sum(1), plain.values, atol=1e-5, rtol=1e-4)


def test_a_token_role_s_score_is_what_its_positions_contribute(model: Model, batch: CounterfactualBatch) -> None:
    # Corrupt one position only: sources before any attention then differ there alone, and so do their edges' scores.
    changed = batch.clean_ids.clone()
    changed[:, 2] = (changed[:, 2] + 7) % 40
    batch = replace(batch, corrupt_ids=changed)
    scores = attribute_edges(model, batch, method="eap", roles=torch.arange(6).expand(5, 6))
    from_input = [number for number, edge in enumerate(scores.edges) if edge.startswith("input->")]
    assert scores.by_role is not None
    by_position = scores.by_role[:, :, from_input].abs().amax((0, 2))
    assert float(by_position[2]) > 0
    assert by_position[[0, 1, 3, 4, 5]].tolist() == [0] * 5


def test_many_steps_are_cut_where_they_do_not_fit(
    model: Model, batch: CounterfactualBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attribute_edges(model, batch, steps=7)
    monkeypatch.setattr("mechshift_core.attribution.edges.sequences_for_gradients", lambda *_: 3)
    cut = attribute_edges(model, batch, steps=7)
    assert cut.batching is not None and cut.batching.size == 1
    torch.testing.assert_close(cut.values, whole.values, atol=1e-5, rtol=1e-4)


def test_a_pass_takes_a_share_of_the_memory_and_never_more_than_helps(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes may share a machine: one that took all that is free would leave nothing to the others."""
    monkeypatch.setitem(memory.MOST_TOKENS, "cpu", 10**15)
    for count in (memory.sequences_for_gradients, memory.sequences_for_patching):
        fitting = []
        for free in (2**20, memory.MOST_BYTES, 2 * memory.MOST_BYTES, 2**50):
            monkeypatch.setattr(memory, "free_memory", lambda _, free=free: free)
            fitting.append(count(model, 3))
        assert 1 <= fitting[0] < fitting[1] < fitting[2] == fitting[3]


def test_a_batch_that_does_not_fit_is_halved(
    model: Model, batch: CounterfactualBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attribute_edges(model, batch)
    forward = model.module.forward

    def small_memory(input_ids: torch.Tensor, **options: object) -> object:
        if len(input_ids) > 2 * 5:  # two examples of five steps
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model.module, "forward", small_memory)
    halved = attribute_edges(model, batch, batch_size=5)
    assert halved.batching == Batching(2, halvings=[5])
    torch.testing.assert_close(halved.values, whole.values, atol=1e-5, rtol=1e-4)
    with pytest.raises(MemoryError, match="one example alone does not fit"):
        attribute_edges(model, batch, steps=11)


@pytest.mark.long
def test_patched_runs_that_do_not_fit_are_halved(
    model: Model, batch: CounterfactualBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    edges = list(attribute_edges(model, batch, method="eap").edges)
    circuits = [edges[start::4] for start in range(4)]
    whole = evaluate_circuits(model, batch, circuits)
    forward = model.module.forward
    sizes = []

    def small_memory(input_ids: torch.Tensor, **options: object) -> object:
        sizes.append(len(input_ids))
        if len(input_ids) > 6:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model.module, "forward", small_memory)
    torch.testing.assert_close(evaluate_circuits(model, batch, circuits, rows=20), whole, atol=1e-5, rtol=1e-5)
    assert max(sizes) > 6


def test_exact_scores_have_no_token_roles(model: Model, batch: CounterfactualBatch) -> None:
    with pytest.raises(ValueError, match="no scores by token role"):
        attribute_edges(model, batch, method="exact", roles=torch.zeros(5, 6, dtype=torch.long))


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
