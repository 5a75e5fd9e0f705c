"""Agreement with the reference implementation of EAP-IG, to 1e-4 of the largest score."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from oracle_models import Oracle

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.models import Model

TOLERANCE = 1e-4


@pytest.fixture
def model(oracle: Oracle) -> Model:
    return load_model(oracle.folder, paradigm=oracle.paradigm, device="cpu")


@pytest.fixture
def batch(oracle: Oracle) -> CounterfactualBatch:
    names = ("clean_ids", "corrupt_ids", "answer_ids", "foil_ids")
    return CounterfactualBatch(**{name: torch.tensor(oracle.content[name]) for name in names})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("eap", {"method": "eap"}),
        ("eap_ig_5", {"method": "eap-ig", "steps": 5, "quadrature": "left"}),
        ("eap_ig_20", {"method": "eap-ig", "steps": 20, "quadrature": "left"}),
    ],
)
def test_edge_scores_agree(
    oracle: Oracle, model: Model, batch: CounterfactualBatch, name: str, options: dict[str, Any]
) -> None:
    scores = attribute_edges(model, batch, **options)
    expected = oracle.grouped(oracle.content["scores"][name])
    assert set(scores.edges) == set(expected)
    reference = torch.tensor([expected[edge] for edge in scores.edges])
    assert float((scores.mean() - reference).abs().max()) <= TOLERANCE * float(reference.abs().max())


def test_metrics_agree(oracle: Oracle, model: Model, batch: CounterfactualBatch) -> None:
    scores = attribute_edges(model, batch, method="eap")
    torch.testing.assert_close(scores.clean_metric, torch.tensor(oracle.content["clean_metric"]), atol=1e-6, rtol=0)
    torch.testing.assert_close(scores.corrupt_metric, torch.tensor(oracle.content["corrupt_metric"]), atol=1e-6, rtol=0)


def test_patched_circuits_agree(oracle: Oracle, model: Model, batch: CounterfactualBatch) -> None:
    circuits = oracle.content["circuits"]
    metrics = evaluate_circuits(model, batch, [circuit["edges"] for circuit in circuits])
    expected = torch.tensor([circuit["metric_per_example"] for circuit in circuits])
    assert float((metrics - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


def test_exact_scores_agree(oracle: Oracle, model: Model, batch: CounterfactualBatch) -> None:
    if oracle.group > 1:
        pytest.skip("the reference patches the query heads of a shared key/value head one by one: see the next test")
    scores = attribute_edges(model, batch, method="exact")
    exact = oracle.grouped(oracle.content["scores"]["exact"])
    expected = torch.tensor([exact[edge] for edge in scores.edges])
    assert float((scores.mean() - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


def test_patching_one_edge_at_a_time_agrees(oracle: Oracle, model: Model, batch: CounterfactualBatch) -> None:
    names = oracle.content["edges"]
    exact = oracle.content["scores"]["exact"]
    by_edge = exact if isinstance(exact, dict) else dict(zip(names, exact, strict=True))
    circuits = [[other for other in names if other != edge] for edge in by_edge]
    full = evaluate_circuits(model, batch, [names])
    changes = -(evaluate_circuits(model, batch, circuits) - full).mean(1)
    expected = torch.tensor(list(by_edge.values()))
    assert float((changes - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())
