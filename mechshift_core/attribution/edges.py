"""Edge attribution patching: EAP, EAP-IG and their kin, one score per edge and example.

`s(u->v) = - sum over positions and hidden of (a_u^corrupt - a_u^clean) . d metric / d x_v`. Positive: corrupting this
edge lowers the metric. Methods differ only in where the gradient is taken (Hanna et al. 2024, arXiv 2403.17806):

- `eap`: on the clean run;
- `eap-ig`: mean over the input embeddings `corrupt + alpha (clean - corrupt)`, by a quadrature rule over alpha;
- `clean-corrupted`: mean of the clean and the corrupted run;
- `exact`: no gradient; the change of minus the metric when only that edge is patched with its corrupted value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import Contraction, written_differences
from mechshift_core.attribution.exact import exact_scores
from mechshift_core.attribution.gradients import Path, differentiate
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.record import Recording, record
from mechshift_core.graph import Graph
from mechshift_core.models.load import Model
from mechshift_core.options import Count, checked

Method = Literal["eap", "eap-ig", "clean-corrupted", "exact"]
Quadrature = Literal["left", "midpoint", "gauss-legendre"]
CORRUPTED, CLEAN = 0.0, 1.0


_SHOWN = 5
"""Edges that the text of scores names."""


@dataclass(frozen=True, slots=True)
class EdgeScores:
    """Attribution scores of every edge for every example.

    Attributes:
        edges: Names, e.g. `a0.h1->m1`, `m0->a1.h2<q>`, `m0->a1.kv0<k>`.
        values: [examples, edges]; float32, of a model in float64 float64.
        clean_metric: The metric on the clean run, [examples]; `corrupt_metric` on the corrupted one.
        predicted: The most likely token on the clean run at the position read, [examples].
        by_role: Scores by token role, [examples, roles, edges], which sum to `values`; None unless asked for.
        batching: How the examples were cut into batches.
    """

    edges: tuple[str, ...]
    values: Tensor
    clean_metric: Tensor
    corrupt_metric: Tensor
    predicted: Tensor
    by_role: Tensor | None = None
    batching: Batching | None = None

    def __repr__(self) -> str:
        mean = self.mean()
        top = mean.abs().topk(min(_SHOWN, len(self.edges))).indices.tolist()
        strongest = ", ".join(f"{self.edges[number]} {mean[number].item():.3g}" for number in top)
        return f"EdgeScores({len(self.values)} examples x {len(self.edges):,} edges; strongest: {strongest})"

    def mean(self) -> Tensor:
        """Mean over examples, [edges]."""
        return self.values.mean(0)

    @classmethod
    def joined(cls, blocks: Sequence[EdgeScores]) -> EdgeScores:
        """The scores of several blocks of examples, one after the other."""
        by_role = [block.by_role for block in blocks if block.by_role is not None]
        return cls(
            blocks[0].edges,
            torch.cat([block.values for block in blocks]),
            torch.cat([block.clean_metric for block in blocks]),
            torch.cat([block.corrupt_metric for block in blocks]),
            torch.cat([block.predicted for block in blocks]),
            torch.cat(by_role) if by_role else None,
            blocks[-1].batching,
        )


@checked
def integration_path(method: Method, *, steps: Count, quadrature: Quadrature) -> Path:
    """(alpha, weight) of the runs on which a method takes its gradients; alpha is 0 at the corrupted input.

    `left` is alpha = k/m for k = 0..m-1, as in the reference implementation since February 2025.

    Raises:
        ValueError: for an option that is not known or out of range, or a method without gradients.
    """
    if method == "exact":
        raise ValueError("the method 'exact' takes no gradients")
    if method == "eap":
        return [(CLEAN, 1.0)]
    if method == "clean-corrupted":
        return [(CORRUPTED, 0.5), (CLEAN, 0.5)]
    if quadrature == "left":
        return [(k / steps, 1 / steps) for k in range(steps)]
    if quadrature == "midpoint":
        return [((k + 0.5) / steps, 1 / steps) for k in range(steps)]
    nodes: npt.NDArray[np.float64]
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return [((node + 1) / 2, weight / 2) for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)]


@checked
def attribute_edges(
    model: Model,
    batch: CounterfactualBatch,
    *,
    method: Method = "eap-ig",
    steps: Count = 5,
    quadrature: Quadrature = "midpoint",
    batch_size: Count | None = None,
    roles: Tensor | None = None,
) -> EdgeScores:
    """Score every edge on every example.

    Args:
        model: A loaded model.
        batch: Examples; scores do not depend on which others are in it.
        method: Where gradients are taken, see the module.
        steps: Gradient evaluations of `eap-ig`.
        quadrature: Rule for the integral of `eap-ig`; unless given `midpoint`, as in a spec (`left` is the rule of the
            reference implementation).
        batch_size: Examples that go through the model at once (times `steps`); as many as fit into memory unless given.
            The scores do not depend on it.
        roles: Token role of every position, [examples, positions], numbered from 0: the scores are given by role too.

    Returns:
        One score per example and edge, on the CPU.

    Raises:
        ValueError: for an option that is not known or out of range, roles with the method `exact`, or a batch that the
            model can't read.
        ExecutionError: if a score is not finite.
        MemoryError: if a single example does not fit into memory.
    """
    blocks = edge_score_blocks(
        model, batch, method=method, steps=steps, quadrature=quadrature, batch_size=batch_size, roles=roles
    )
    return EdgeScores.joined(list(blocks))


@checked
def edge_score_blocks(
    model: Model,
    batch: CounterfactualBatch,
    *,
    method: Method = "eap-ig",
    steps: Count = 5,
    quadrature: Quadrature = "midpoint",
    batch_size: Count | None = None,
    roles: Tensor | None = None,
) -> Iterator[EdgeScores]:
    """The scores of :func:`attribute_edges` block by block, so that memory does not grow with the examples."""
    check_readable(model, batch)
    exact = method == "exact"
    if exact and roles is not None:
        raise ValueError("the method 'exact' patches an edge at all positions, so it has no scores by token role")
    path = [] if exact else integration_path(method, steps=steps, quadrature=quadrature)
    role_count = 1 if roles is None else int(roles.max()) + 1
    fitting = sequences_for_gradients(model, batch.clean_ids.shape[1], role_count)
    batching = Batching(min(len(batch), batch_size or max(1, fitting // max(1, len(path)))))

    def compute(rows: slice) -> EdgeScores:
        part = batch.rows(rows).to(model.device)
        if exact:
            scores, clean, corrupt = exact_scores(model, part)
            by_role = scores[:, None]
        else:
            at_once = max(1, max(fitting, batch_size or 1) // len(part))
            of_part = None if roles is None else roles[rows].to(model.device)
            by_role, clean, corrupt = _attribute(model, part, path, at_once, of_part, role_count)
        check_finite(model, "an edge score or metric", by_role, clean.metric, corrupt.metric)
        return EdgeScores(
            Graph.of(model.shape).edges,
            by_role.sum(1).cpu(),
            clean.metric.cpu(),
            corrupt.metric.cpu(),
            clean.predicted.cpu(),
            None if roles is None else by_role.cpu(),
            batching,
        )

    yield from in_batches(len(batch), batching, compute)


def _attribute(
    model: Model, batch: CounterfactualBatch, path: Path, at_once: int, roles: Tensor | None, role_count: int
) -> tuple[Tensor, Recording, Recording]:
    """Scores [examples, roles, edges] and the clean and the corrupted run; `at_once` steps go through together."""
    path = sorted(path, key=lambda step: step[0] not in (CORRUPTED, CLEAN))  # the ends first: see below
    chunks = [path[first : first + at_once] for first in range(0, len(path), at_once)]
    # A step at an end of the path is the clean or the corrupted run itself, so that it need not be run twice.
    endpoints = {alpha: number for number, (alpha, _) in enumerate(chunks[0]) if alpha in (CORRUPTED, CLEAN)}
    missing = [alpha for alpha in (CLEAN, CORRUPTED) if alpha not in endpoints]
    runs: dict[float, Recording] = {}
    if missing:
        ids = {CLEAN: batch.clean_ids, CORRUPTED: batch.corrupt_ids}
        recorded = record(model, batch, torch.cat([ids[alpha] for alpha in missing]))
        for number, alpha in enumerate(missing):
            runs[alpha] = recorded.part(slice(number * len(batch), (number + 1) * len(batch)))
    contractions: list[Contraction] = []

    def contraction(found: dict[float, Recording]) -> Contraction:
        if not contractions:
            runs.update(found)
            with torch.no_grad():
                differences = written_differences(model, runs[CLEAN].activations, runs[CORRUPTED].activations)
            contractions.append(Contraction(model, batch, differences, roles, role_count))
        return contractions[0]

    for number, chunk in enumerate(chunks):
        differentiate(model, batch, chunk, endpoints if number == 0 else {}, contraction)
    return contractions[0].edges(), runs[CLEAN], runs[CORRUPTED]
