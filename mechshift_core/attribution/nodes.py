"""Nodes: what the metric does when a head, an MLP or the residual stream is replaced, and the gradient's estimate.

A node's name is that of a source (`input`, `a{l}.h{h}`, `m{l}`) or `x{l}`, the residual stream that block l reads
(`x{L}`, with L layers, is the one that the final norm reads).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from mechshift_core.attribution.ablation import Ablation, replacement_of
from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.edges import EdgeScores
from mechshift_core.attribution.frames import Per, node_columns, scored
from mechshift_core.attribution.memory import sequences_for_gradients
from mechshift_core.attribution.patching import Patch, run_in_batches
from mechshift_core.attribution.readable import check_readable
from mechshift_core.graph import Graph, Shape
from mechshift_core.models.load import Model
from mechshift_core.options import Count, Seed, checked


def node_names(shape: Shape) -> list[str]:
    """Every node that can be replaced: the sources in the order of the graph, then the residual streams."""
    return [*(source.name for source in Graph.of(shape).sources), *shape.residual_streams]


@checked
def patch_nodes(
    model: Model,
    batch: CounterfactualBatch,
    nodes: Sequence[Sequence[str]],
    *,
    ablation: Ablation = "counterfactual",
    positions: Tensor | None = None,
    seed: Seed = 0,
    only: Sequence[int] | None = None,
    rows: Count | None = None,
    halvings: list[int] | None = None,
) -> Tensor:
    """The metric of each example with nodes replaced: activation patching, knock-outs.

    Args:
        model: A loaded model.
        batch: Examples. The ablations `mean` and `resample` take their values from all of them.
        nodes: The nodes that each run replaces; several in one run are replaced together.
        ablation: What they are replaced by, see :mod:`mechshift_core.attribution.ablation`.
        positions: Where they are replaced, bool, [runs, positions] or [runs, examples, positions]; everywhere unless
            given.
        seed: Seed of the ablation `resample`.
        only: The examples to evaluate, by number; all unless given. (Of the others `mean` and `resample` are made too.)
        rows: Runs times examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Returns:
        [runs, examples evaluated], on the CPU; float32 or, as the model, float64. The effect of a run is the clean
        metric minus this.

    Raises:
        ValueError: for a name that is no node of the model, positions of another shape, a batch that the model can't
            read, one over which the ablation can't be taken, or an option that is not known or out of range.
        ExecutionError: if a metric is not finite.
    """
    check_readable(model, batch)
    chosen, residual = _membership(model.shape, nodes)
    mask = _positions(positions, len(nodes), batch)
    rows = rows or sequences_for_gradients(model, batch.clean_ids.shape[1])

    def patch_of(runs: slice, examples: Tensor) -> Patch:
        where = None if mask is None else mask[runs]
        if where is not None and where.shape[1] > 1:
            where = where[:, examples]
        return Patch(
            runs=runs.stop - runs.start,
            nodes=chosen[runs].to(model.device),
            residual=residual[runs].to(model.device) if bool(residual[runs].any()) else None,
            positions=None if where is None else where.to(model.device),
        )

    replacement = replacement_of(model, batch, ablation, seed=seed, rows=rows)
    return run_in_batches(model, batch, replacement, patch_of, len(nodes), only=only, rows=rows, halvings=halvings)


def _membership(shape: Shape, nodes: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
    graph = Graph.of(shape)
    chosen = torch.zeros(len(nodes), len(graph.sources))
    residual = torch.zeros(len(nodes), shape.layers + 1)
    streams = {name: layer for layer, name in enumerate(shape.residual_streams)}
    for run, names in enumerate(nodes):
        for name in names:
            if name in graph.source_numbers:
                chosen[run, graph.source_numbers[name]] = 1
            elif name in streams:
                residual[run, streams[name]] = 1
            else:
                raise ValueError(f"{name!r} is no node of this model; its nodes are input, a0.h0 ... m0 ..., x0 ...")
    return chosen, residual


def _positions(positions: Tensor | None, runs: int, batch: CounterfactualBatch) -> Tensor | None:
    if positions is None:
        return None
    mask = torch.as_tensor(positions)
    mask = mask[:, None] if mask.ndim == 2 else mask
    examples, length = batch.clean_ids.shape
    if mask.shape not in ((runs, 1, length), (runs, examples, length)):
        raise ValueError(
            f"positions must be [{runs}, {length}] or [{runs}, {examples}, {length}]; they are {list(mask.shape)}"
        )
    return mask


@dataclass(frozen=True, slots=True)
class NodeScores:
    """Attribution scores of nodes.

    Attributes:
        nodes: Names, see :func:`node_names`.
        values: float32, [examples, nodes]: an estimate of the metric lost when the node is replaced by its corrupted
            value.
        by_role: By token role, [examples, roles, nodes]; None unless asked for.
    """

    nodes: tuple[str, ...]
    values: Tensor
    by_role: Tensor | None = None

    def __repr__(self) -> str:
        return f"NodeScores({len(self.values)} examples x {len(self.nodes):,} nodes)"

    @checked
    def to_frame(self, per: Per = "mean") -> pl.DataFrame:
        """The scores as a frame, in the order of `nodes`.

        Args:
            per: `mean` has a row a node, `prompt` one for every node on every prompt.

        Returns:
            Columns `node`, `kind`, `layer`, `head` (see :func:`.node_columns`) and `score`; of means also `se` and
            `rank`, of prompts `example`, as of :meth:`.EdgeScores.to_frame`.
        """
        return scored(node_columns(self.nodes), self.values, per=per)


def node_scores(shape: Shape, scores: EdgeScores) -> NodeScores:
    """Attribution patching of nodes, from edge scores.

    The metric's gradient at a source's output is the sum of its gradients at the receivers that read it, since every
    way on leads through exactly one first receiver: a node's score is the sum of those of its outgoing edges, and a
    residual stream's is the sum over the edges that cross it.
    """
    graph = Graph.of(shape)
    source, receiver = graph.edge_index
    # Layers of writers are numbered from -1 (the input) and those of readers from 0, both to `layers`.
    written = np.array([u.layer for u in graph.sources])[source] + 1
    read = np.array([v.layer for v in graph.receivers])[receiver]
    width = shape.layers + 1
    crossed = torch.from_numpy(written * width + read)

    def summed(values: Tensor) -> Tensor:
        by_source = values.new_zeros(*values.shape[:-1], len(graph.sources))
        by_source.index_add_(-1, torch.from_numpy(source), values)
        by_layers = values.new_zeros(*values.shape[:-1], width * width).index_add_(-1, crossed, values)
        grid = by_layers.unflatten(-1, (width, width))
        streams = [grid[..., : layer + 1, layer:].sum((-2, -1)) for layer in range(width)]
        return torch.cat([by_source, torch.stack(streams, dim=-1)], dim=-1)

    by_role = None if scores.by_role is None else summed(scores.by_role)
    return NodeScores(tuple(node_names(shape)), summed(scores.values), by_role)
