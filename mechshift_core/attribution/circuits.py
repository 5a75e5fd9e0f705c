"""Running a model as a circuit: every edge outside of it carries what its source writes on the corrupted run.

At each receiver the input is the live residual stream plus, over the sources whose edge is not in the circuit, the
corrupted minus the live contribution. The full circuit is the clean run, the empty one the corrupted run. Many circuits
go through the model as one batch; only queries, keys and values need a residual stream per head.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.record import Activations, record_activations
from mechshift_core.graph import ROLES, Graph, Role
from mechshift_core.models.architectures import Norm
from mechshift_core.models.load import Model
from mechshift_core.models.ungroup import ungrouped

DEFAULT_ROWS = 256


def evaluate_circuits(
    model: Model,
    batch: CounterfactualBatch,
    circuits: Sequence[Sequence[str]],
    *,
    rows: int = DEFAULT_ROWS,
) -> Tensor:
    """The metric of each example with everything outside of a circuit patched with its corrupted value.

    Args:
        model: A loaded model.
        batch: Examples.
        circuits: Edge names of each circuit. Where query heads share a key/value head, its readers can also be named
            one by one, `a0.h1<k>` instead of `a0.kv0<k>`.
        rows: Circuits times examples that go through the model at once; the result does not depend on it.

    Returns:
        float32, [circuits, examples], on the CPU.

    Raises:
        ValueError: for a name that is no edge of the model.
    """
    if _reads_shared_heads_apart(model, circuits):
        group = model.shape.heads // model.shape.key_value_heads
        circuits = [_per_query_head(circuit, group) for circuit in circuits]
        model = ungrouped(model)
    graph = Graph.of(model.shape)
    outside = [torch.from_numpy(graph.mask & ~graph.membership(list(circuit))).float() for circuit in circuits]
    per_run = max(1, rows // max(1, min(rows, len(batch))))
    columns = []
    for start in range(0, len(batch), rows):
        part = batch.rows(slice(start, start + rows)).to(model.device)
        corrupt = record_activations(model, part, part.corrupt_ids)
        metrics = [
            _run(model, graph, part, corrupt, torch.stack(outside[first : first + per_run]).to(model.device))
            for first in range(0, len(outside), per_run)
        ]
        columns.append(torch.cat(metrics) if metrics else torch.empty(0, len(part)))
    return torch.cat(columns, dim=1).cpu()


def _reads_shared_heads_apart(model: Model, circuits: Sequence[Sequence[str]]) -> bool:
    shared = model.shape.heads != model.shape.key_value_heads
    return shared and any(re.search(r"\.h\d+<[kv]>$", name) for circuit in circuits for name in circuit)


def _per_query_head(circuit: Sequence[str], group: int) -> list[str]:
    """Edges into `a{l}.kv{j}` as the edges into each of its query heads."""
    names: dict[str, None] = {}
    for name in circuit:
        shared = re.fullmatch(r"(.*->a\d+)\.kv(\d+)(<[kv]>)", name)
        heads = range(int(shared[2]) * group, int(shared[2]) * group + group) if shared else ()
        names |= dict.fromkeys([f"{shared[1]}.h{head}{shared[3]}" for head in heads] if shared else [name])
    return list(names)


class _Patcher:
    """The state of one patched run: what each source would have to change to be corrupted.

    Args:
        outside: 1 where an edge is outside the circuit, [circuits, sources, receivers].
    """

    def __init__(self, model: Model, graph: Graph, corrupt: Activations, outside: Tensor) -> None:
        self.view = model.view
        self.corrupt = corrupt
        self.outside = outside
        self.circuits = len(outside)
        self.changes: list[Tensor] = []  # per group of sources [circuits, examples, positions, sources, hidden]
        self.receivers = {receiver.name: number for number, receiver in enumerate(graph.receivers)}
        self.layers = [
            {role: [n for n, r in enumerate(graph.receivers) if r.layer == layer and r.kind == role] for role in ROLES}
            for layer in range(model.shape.layers)
        ]

    def wrote(self, live: Tensor, corrupt: Tensor) -> None:
        """Note sources: live [circuits x examples, positions, sources, hidden], corrupt [examples, positions, ...]."""
        self.changes.append(corrupt[None] - live.unflatten(0, (self.circuits, -1)))

    def wrote_heads(self, layer: int, live: Tensor) -> None:
        """Note a layer's heads from what its output projection reads."""
        weight = self.view.output_weight(layer)
        split = live.unflatten(-1, (weight.shape[0], weight.shape[1]))
        corrupt = torch.einsum("bshe,hed->bshd", self.corrupt.heads[layer], weight)
        self.wrote(torch.einsum("bshe,hed->bshd", split, weight), corrupt)

    def residual(self, live: Tensor, receivers: list[int]) -> Tensor:
        """The patched residual stream of some receivers, [circuits x examples, positions, receivers, hidden]."""
        changes = torch.cat(self.changes, dim=3)
        chosen = self.outside[:, : changes.shape[3], receivers]
        patch = torch.einsum("cbsud,cur->cbsrd", changes, chosen)
        return live[:, :, None] + patch.flatten(0, 1)

    def projection(self, layer: int, role: Role, live: Tensor) -> Tensor:
        """A role's projection output with each head reading its own patched residual stream."""
        norm = self.view.module(self.view.declaration.attention_norm, layer)
        weight, bias = self.view.projection(layer, role)
        read = Norm.of(norm)(self.residual(live, self.layers[layer][role]))
        projected = torch.einsum("bshd,hed->bshe", read, weight)
        return (projected if bias is None else projected + bias).flatten(2)

    def normed(self, norm: Any, live: Tensor, receiver: str) -> Tensor:
        """A norm's output on one receiver's patched residual stream."""
        return Norm.of(norm)(self.residual(live, [self.receivers[receiver]])[:, :, 0])


def _run(model: Model, graph: Graph, batch: CounterfactualBatch, corrupt: Activations, outside: Tensor) -> Tensor:
    declared, view = model.view.declaration, model.view
    net: Any = model.net
    circuits = len(outside)
    patcher = _Patcher(model, graph, corrupt, outside)
    slices = view.role_slices()
    ids = batch.clean_ids.repeat(circuits, 1)
    mask = None if batch.attention_mask is None else batch.attention_mask.repeat(circuits, 1)
    with torch.no_grad(), net.trace(input_ids=ids, attention_mask=mask, use_cache=False):
        patcher.wrote(attrgetter(declared.embedding)(net).output[:, :, None], corrupt.embedding[:, :, None])
        for layer, block in enumerate(attrgetter(declared.blocks)(net)):
            live = attrgetter(declared.attention_norm)(block).input
            for path, parts in slices.items():
                patched = [patcher.projection(layer, role, live) for role in parts]
                attrgetter(path)(block).output = torch.cat(patched, dim=-1)
            patcher.wrote_heads(layer, attrgetter(declared.attention_output)(block).input)
            live = attrgetter(declared.mlp_norm)(block).input
            norm = view.module(declared.mlp_norm, layer)
            attrgetter(declared.mlp_norm)(block).output = patcher.normed(norm, live, f"m{layer}")
            patcher.wrote(attrgetter(declared.mlp)(block).output[:, :, None], corrupt.mlps[layer][:, :, None])
        live = attrgetter(declared.final_norm)(net).input
        attrgetter(declared.final_norm)(net).output = patcher.normed(view.module(declared.final_norm), live, "logits")
        metric = nnsight.save(batch.measure(attrgetter(declared.head)(net).output))
    by_circuit: Tensor = metric.unflatten(0, (circuits, -1))
    return by_circuit
