"""Edge attribution patching: EAP, EAP-IG and their kin, one score per edge and example.

`s(u->v) = - sum over positions and hidden of (a_u^corrupt - a_u^clean) . d metric / d x_v`. Positive: corrupting this
edge lowers the metric. The methods, which differ in where and by which rules the gradient is taken, are those of
:mod:`mechshift_core.attribution.methods`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.frames import Per, edge_columns, scored
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.methods import WITHOUT_ROLES, Method, Quadrature, Scoring, integration_path
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.scoring import Passes, rules_of, score
from mechshift_core.graph import Graph
from mechshift_core.models.load import Model
from mechshift_core.options import Count, Seed, checked

__all__ = ["EdgeScores", "Method", "Quadrature", "attribute_edges", "edge_score_blocks", "integration_path"]

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
        draw_variance: Of `expected-gradients` with two or more draws, the variance of one draw's score over the draws,
            [examples, edges]; that of `values` is this, divided by the number of draws.
    """

    edges: tuple[str, ...]
    values: Tensor
    clean_metric: Tensor
    corrupt_metric: Tensor
    predicted: Tensor
    by_role: Tensor | None = None
    batching: Batching | None = None
    draw_variance: Tensor | None = None

    def __repr__(self) -> str:
        mean = self.mean()
        top = mean.abs().topk(min(_SHOWN, len(self.edges))).indices.tolist()
        strongest = ", ".join(f"{self.edges[number]} {mean[number].item():.3g}" for number in top)
        return f"EdgeScores({len(self.values)} examples x {len(self.edges):,} edges; strongest: {strongest})"

    def mean(self) -> Tensor:
        """Mean over examples, [edges]."""
        return self.values.mean(0)

    @checked
    def to_frame(self, per: Per = "mean") -> pl.DataFrame:
        """The scores as a frame, in the order of `edges`.

        Args:
            per: `mean` has a row an edge, `prompt` one for every edge on every prompt.

        Returns:
            Columns `edge`, `source`, `target`, `kind`, `source_layer`, `source_head`, `target_layer` and `target_head`
            (see :func:`.edge_columns`), `score`, in units of the metric; of means also `se`, the standard error over
            prompts, and `rank` by magnitude, in which scores of 0 share the last one; of prompts `example`.
        """
        return scored(edge_columns(self.edges), self.values, per=per)

    @classmethod
    def joined(cls, blocks: Sequence[EdgeScores]) -> EdgeScores:
        """The scores of several blocks of examples, one after the other."""
        by_role = [block.by_role for block in blocks if block.by_role is not None]
        variance = [block.draw_variance for block in blocks if block.draw_variance is not None]
        return cls(
            blocks[0].edges,
            torch.cat([block.values for block in blocks]),
            torch.cat([block.clean_metric for block in blocks]),
            torch.cat([block.corrupt_metric for block in blocks]),
            torch.cat([block.predicted for block in blocks]),
            torch.cat(by_role) if by_role else None,
            blocks[-1].batching,
            torch.cat(variance) if variance else None,
        )


@checked
def attribute_edges(
    model: Model,
    batch: CounterfactualBatch,
    *,
    method: Method = "eap-ig",
    steps: Count = 5,
    quadrature: Quadrature = "midpoint",
    draws: Count = 1,
    seed: Seed = 0,
    methods: Sequence[Method] = (),
    batch_size: Count | None = None,
    roles: Tensor | None = None,
) -> EdgeScores:
    """Score every edge on every example.

    Args:
        model: A loaded model.
        batch: Examples; scores do not depend on which others are in it.
        method: Where gradients are taken, see :mod:`mechshift_core.attribution.methods`.
        steps: Gradient evaluations on a path (the methods `eap-ig`, `eap-ig-activations` and `eap-ig-sources`).
        quadrature: Rule for the integral over it; unless given `midpoint`, as in a spec (`left` is the rule of the
            reference implementation).
        draws: Random points of each example's path (`expected-gradients`); two or more give their variance too.
        seed: Seed of these points.
        methods: The methods whose ranks `rank-average` averages, two or more.
        batch_size: Examples that go through the model at once (times `steps`); as many as fit into memory unless given.
            The scores do not depend on it.
        roles: Token role of every position, [examples, positions], numbered from 0: the scores are given by role too.

    Returns:
        One score per example and edge, on the CPU.

    Raises:
        ValueError: for an option that is not known or out of range, roles with a method that has no scores by role, or
            a batch that the model can't read.
        ExecutionError: if a score is not finite, or for a model that the rules of `gim` or `relp` are not derived for.
        MemoryError: if a single example does not fit into memory.
    """
    blocks = edge_score_blocks(
        model,
        batch,
        method=method,
        steps=steps,
        quadrature=quadrature,
        draws=draws,
        seed=seed,
        methods=methods,
        batch_size=batch_size,
        roles=roles,
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
    draws: Count = 1,
    seed: Seed = 0,
    methods: Sequence[Method] = (),
    batch_size: Count | None = None,
    roles: Tensor | None = None,
) -> Iterator[EdgeScores]:
    """The scores of :func:`attribute_edges` block by block, so that memory does not grow with the examples."""
    check_readable(model, batch)
    scoring = Scoring(method=method, steps=steps, quadrature=quadrature, draws=draws, seed=seed, methods=tuple(methods))
    if roles is not None and method in WITHOUT_ROLES:
        why = "patches an edge at all positions" if method == "exact" else "ranks edges over all positions"
        raise ValueError(f"the method {method!r} {why}, so it has no scores by token role")
    ruled = rules_of(model, scoring)
    role_count = 1 if roles is None else int(roles.max()) + 1
    fitting = sequences_for_gradients(model, batch.clean_ids.shape[1], role_count)
    batching = Batching(min(len(batch), batch_size or max(1, fitting // scoring.at_once)))

    def compute(rows: slice) -> EdgeScores:
        part = batch.rows(rows).to(model.device)
        at_once = max(1, max(fitting, batch_size or 1) // len(part))
        of_part = None if roles is None else roles[rows].to(model.device)
        found = score(Passes(model, part, at_once, of_part, role_count), scoring, ruled)
        check_finite(model, "an edge score or metric", found.by_role, found.clean.metric, found.corrupt.metric)
        return EdgeScores(
            Graph.of(model.shape).edges,
            found.by_role.sum(1).cpu(),
            found.clean.metric.cpu(),
            found.corrupt.metric.cpu(),
            found.clean.predicted.cpu(),
            None if roles is None else found.by_role.cpu(),
            batching,
            None if found.draw_variance is None else found.draw_variance.cpu(),
        )

    yield from in_batches(len(batch), batching, compute)
