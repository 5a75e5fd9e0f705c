"""Edge attribution patching: EAP, EAP-IG and their kin, one score per edge and example.

`s(u->v) = - sum over positions and hidden of (a_u^corrupt - a_u^clean) . d metric / d x_v`. Positive: corrupting this
edge lowers the metric. Methods differ only in where the gradient is taken (Hanna et al. 2024, arXiv 2403.17806):

- `eap`: on the clean run;
- `eap-ig`: mean over the input embeddings `corrupt + alpha (clean - corrupt)`, by a quadrature rule over alpha;
- `clean-corrupted`: mean of the clean and the corrupted run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.record import receiver_gradients, record_activations, source_differences
from mechshift_core.graph import Graph
from mechshift_core.models.load import Model

Method = Literal["eap", "eap-ig", "clean-corrupted"]
Quadrature = Literal["left", "midpoint", "gauss-legendre"]
DEFAULT_BATCH = 64


@dataclass(frozen=True, slots=True)
class EdgeScores:
    """Attribution scores of every edge for every example.

    Attributes:
        edges: Names, e.g. `a0.h1->m1`, `m0->a1.h2<q>`, `m0->a1.kv0<k>`.
        values: float32, [examples, edges].
        clean_metric: The metric on the clean run, [examples]; `corrupt_metric` on the corrupted one.
        predicted: The most likely token on the clean run at the position read, [examples].
    """

    edges: tuple[str, ...]
    values: Tensor
    clean_metric: Tensor
    corrupt_metric: Tensor
    predicted: Tensor

    def mean(self) -> Tensor:
        """Mean over examples, [edges]."""
        return self.values.mean(0)


def integration_path(method: Method, *, steps: int, quadrature: Quadrature) -> list[tuple[float, float]]:
    """(alpha, weight) of the runs on which a method takes its gradients; alpha is 0 at the corrupted input.

    `left` is alpha = k/m for k = 0..m-1, as in the reference implementation since February 2025.
    """
    if method == "eap":
        return [(1.0, 1.0)]
    if method == "clean-corrupted":
        return [(0.0, 0.5), (1.0, 0.5)]
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if quadrature == "left":
        return [(k / steps, 1 / steps) for k in range(steps)]
    if quadrature == "midpoint":
        return [((k + 0.5) / steps, 1 / steps) for k in range(steps)]
    nodes: npt.NDArray[np.float64]
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return [((node + 1) / 2, weight / 2) for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)]


def attribute_edges(
    model: Model,
    batch: CounterfactualBatch,
    *,
    method: Method = "eap-ig",
    steps: int = 5,
    quadrature: Quadrature = "left",
    batch_size: int = DEFAULT_BATCH,
) -> EdgeScores:
    """Score every edge on every example.

    Args:
        model: A loaded model.
        batch: Examples; scores do not depend on which others are in it.
        method: Where gradients are taken, see the module.
        steps: Gradient evaluations of `eap-ig`.
        quadrature: Rule for the integral of `eap-ig`.
        batch_size: Examples that go through the model at once (times `steps`); the scores do not depend on it.

    Returns:
        One score per example and edge, on the CPU.
    """
    graph = Graph.of(model.shape)
    path = integration_path(method, steps=steps, quadrature=quadrature)
    parts = [
        _attribute(model, graph, batch.rows(slice(start, start + batch_size)).to(model.device), path)
        for start in range(0, len(batch), batch_size)
    ]
    values, clean, corrupt, predicted = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return EdgeScores(graph.edges, values, clean, corrupt, predicted)


def _attribute(
    model: Model, graph: Graph, batch: CounterfactualBatch, path: list[tuple[float, float]]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    clean = record_activations(model, batch, batch.clean_ids)
    corrupt = record_activations(model, batch, batch.corrupt_ids)
    gradients = receiver_gradients(model, batch, clean.embedding, corrupt.embedding, path)
    differences = source_differences(model, clean, corrupt).transpose(1, 2).flatten(2)  # [B, sources, S d]
    columns = [-differences @ gradient.transpose(1, 2).flatten(2).transpose(1, 2) for gradient in gradients]
    matrix = torch.cat(columns, dim=2)  # [B, sources, receivers]
    source, receiver = graph.edge_index
    scores = matrix[:, torch.from_numpy(source), torch.from_numpy(receiver)].float()
    return scores, clean.metric, corrupt.metric, clean.predicted
