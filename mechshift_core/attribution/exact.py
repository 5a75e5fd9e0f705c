"""The effect of every single edge, by patching: the slow truth that attribution approximates."""

from __future__ import annotations

import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.memory import sequences_for_patching
from mechshift_core.attribution.patching import Patch, run_in_batches
from mechshift_core.attribution.record import Activations, Recording, record
from mechshift_core.graph import Graph
from mechshift_core.models.load import Model


def exact_scores(model: Model, batch: CounterfactualBatch) -> tuple[Tensor, Recording, Recording]:
    """Minus the change of the metric when one edge alone carries its corrupted value.

    Edges are patched in the order of their receivers, so that a batch of patches leaves most layers as they are.

    Args:
        model: The model.
        batch: Examples, on the model's device.

    Returns:
        Scores [examples, edges] on the CPU, and the clean and the corrupted run.
    """
    graph = Graph.of(model.shape)
    both = record(model, batch, torch.cat([batch.clean_ids, batch.corrupt_ids]))
    clean, corrupt = both.part(slice(0, len(batch))), both.part(slice(len(batch), None))
    source, receiver = graph.edge_index  # by receiver, then by source

    def patch_of(runs: slice, _: Tensor) -> Patch:
        u, v = source[runs], receiver[runs]
        receivers = sorted(set(v.tolist()))
        edges = torch.zeros(len(u), len(graph.sources), len(receivers), device=model.device)
        edges[torch.arange(len(u)), torch.from_numpy(u), [receivers.index(int(r)) for r in v]] = 1
        return Patch(runs=len(u), edges=edges, columns=tuple(receivers))

    def replacement(examples: Tensor) -> Activations:
        return corrupt.activations.map(lambda written: written[examples.to(written.device)])

    rows = sequences_for_patching(model, batch.clean_ids.shape[1])
    patched = run_in_batches(model, batch, replacement, patch_of, len(source), rows=rows)
    return (clean.metric.cpu() - patched).T, clean, corrupt
