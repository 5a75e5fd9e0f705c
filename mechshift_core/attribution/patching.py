"""Patched runs: what a source writes is replaced, for every receiver (a node), for some (edges), or at a block's input.

One mechanism serves all: at each receiver the input is the live residual stream plus, over the sources replaced for it,
the replacement minus the live contribution. Replacing nothing is the clean run; replacing every edge with corrupted
values is the corrupted run. Many patches go through the model as one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nnsight
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mechshift_core.attribution.ablation import Replacement
from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import product, work_dtype
from mechshift_core.attribution.memory import Batching, in_batches
from mechshift_core.attribution.readable import check_finite
from mechshift_core.attribution.record import Activations, live_heads
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.graph import Graph, Role
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What is replaced in each of several runs; 1 where it is, 0 where not (between, a part of the difference).

    Attributes:
        runs: Number of runs.
        edges: [runs, sources, columns]: what the receivers `columns` read from each source.
        columns: Numbers of receivers, ascending.
        nodes: [runs, sources]: all that a source writes.
        residual: [runs, layers + 1]: the residual stream at each block's input and, last, at the final norm's.
        positions: [runs, examples, positions]: where; None at all positions, as it is for edges. (Examples can be 1.)
    """

    runs: int
    edges: Tensor | None = None
    columns: tuple[int, ...] = ()
    nodes: Tensor | None = None
    residual: Tensor | None = None
    positions: Tensor | None = None


def run_patched(model: Model, batch: CounterfactualBatch, replacement: Activations, patch: Patch) -> Tensor:
    """The metric of clean prompts under each patch, [runs, examples]; float32 or, as the model, float64.

    Args:
        model: The model.
        batch: Examples, on the model's device.
        replacement: What replaces; rows are the examples, or one for all.
        patch: What is replaced.
    """
    patcher = _Patcher(model, batch, replacement, patch)
    with torch.no_grad(), traced(model, batch, batch.clean_ids.repeat(patch.runs, 1)):
        metric = nnsight.save(batch.measure(walk(model, batch, patcher)))
    by_run: Tensor = metric.unflatten(0, (patch.runs, -1))
    return by_run


def run_in_batches(
    model: Model,
    batch: CounterfactualBatch,
    replacement: Replacement,
    patch_of: Callable[[slice, Tensor], Patch],
    runs: int,
    *,
    only: Sequence[int] | None = None,
    rows: int,
    halvings: list[int] | None = None,
) -> Tensor:
    """Many patched runs of many examples, as many at once as fit into memory.

    Args:
        model: The model.
        batch: Examples.
        replacement: What replaces the activations of given examples.
        patch_of: The patch of some of the runs, for given examples.
        runs: Number of runs.
        only: Examples to evaluate, by number; all unless given.
        rows: Runs times examples to begin with.
        halvings: Receives the numbers of rows that did not fit into memory.

    Returns:
        [runs, examples evaluated], on the CPU; float32 or, as the model, float64.

    Raises:
        ExecutionError: if a metric is not finite.
    """
    examples = torch.arange(len(batch)) if only is None else torch.tensor(only, dtype=torch.long)
    if runs == 0 or len(examples) == 0:
        return torch.empty(runs, len(examples))
    batching = Batching(rows, [] if halvings is None else halvings)

    def compute(part: slice) -> Tensor:
        chosen = examples[part]
        of_part = batch.rows(chosen).to(model.device)
        instead = replacement(chosen)
        at_once = max(1, batching.size // len(chosen))
        patches = (patch_of(slice(first, min(first + at_once, runs)), chosen) for first in range(0, runs, at_once))
        found = torch.cat([run_patched(model, of_part, instead, patch) for patch in patches]).cpu()
        check_finite(model, "the metric of a patched run", found)
        return found

    return torch.cat(list(in_batches(len(examples), batching, compute)), dim=1)


def _everywhere(rows: Tensor) -> Tensor:
    return rows


class _Patcher(Visitor):
    """The state of a patched run. Shapes: rows are runs x examples."""

    def __init__(self, model: Model, batch: CounterfactualBatch, replacement: Activations, patch: Patch) -> None:
        self.model, self.view = model, model.view
        self.graph = Graph.of(model.shape)
        self.batch = batch
        self.replacement = replacement
        self.patch = patch
        self.dtype = work_dtype(model)
        self.column_of = {receiver: number for number, receiver in enumerate(patch.columns)}
        self.width = model.shape.layer_receivers
        read = max((self.graph.receivers[v].sources for v in patch.columns), default=0)
        examples, positions = batch.clean_ids.shape
        hidden = model.shape.hidden_size
        # What each source would have to change: [runs, sources, examples, positions, hidden].
        self.changes = torch.empty(
            (patch.runs, read, examples, positions, hidden), dtype=self.dtype, device=model.device
        )
        self.total: Tensor | None = None  # the sum of changes, [rows, positions, hidden]
        assert patch.edges is None or patch.positions is None
        # Where sources are replaced by nothing: what no source writes, [rows, positions, hidden]. The stream plus the
        # sum of changes is this but for rounding, of which a norm would make a stream of full size.
        self.empties = (patch.residual is not None or patch.edges is not None) and not replacement.any()
        self.unwritten: Tensor | None = None
        self.live: Tensor | None = None
        self.heads: Tensor | None = None

    def embedding(self, site: Site) -> None:
        site.output = self._wrote(0, site.output, self.replacement.embedding)
        self.unwritten = widened(site.output) if self.empties else None

    def block(self, layer: int, site: Site) -> None:
        if layer == 0 and self.unwritten is not None:
            self.unwritten = widened(site.input) - self.unwritten  # position embeddings
        if self._replaces_residual(layer):
            site.input = self._residual(layer, site.input)

    def attention_norm(self, layer: int, site: Site) -> None:
        first = layer * self.width
        patched = any(first <= column < first + self.width - 1 for column in self.column_of)
        self.live = site.input if patched else None

    def projection(self, layer: int, path: str, site: Site) -> None:
        if self.live is None:
            return
        parts = self.view.split(path, site.output)
        columns = {role: self._columns(layer, role) for role in parts}
        if any(columns.values()):
            patched = {role: self._read(layer, role, columns[role], part) for role, part in parts.items()}
            site.output = self.view.join(path, patched)

    def attention_output(self, layer: int, site: Site) -> None:
        self.heads = live_heads(self.model, layer, site)

    def attention_written(self, layer: int, site: Site) -> None:
        assert self.heads is not None
        bias = self.view.output_bias(layer)
        if self.unwritten is not None and bias is not None:
            self.unwritten = self.unwritten + widened(bias)
        first = self.model.shape.first_head(layer)
        last = first + self.model.shape.heads
        nodes = None if self.patch.nodes is None else self.patch.nodes[:, first:last]
        replaces = nodes is not None and bool(nodes.any())
        if not replaces and not self._is_read(first) and self.patch.residual is None:
            return
        weight = self.view.output_weight(layer).to(self.dtype)
        difference = self.replacement.heads[layer].to(self.dtype) - self._by_run(self.heads.to(self.dtype))
        difference = difference.flatten(0, 1)  # [rows, positions, heads, head_size]
        if replaces:
            assert nodes is not None
            moved = self._at_positions(difference.unflatten(0, (self.patch.runs, -1))).flatten(0, 1)
            moved = moved * self._of_rows(nodes.to(self.dtype))[:, None, :, None]
            site.output = site.output + (moved.flatten(2) @ weight.flatten(0, 1)).to(site.output.dtype)
            difference = difference - moved
        if self._is_read(first):
            by_head = difference.permute(2, 0, 1, 3).flatten(1, 2)  # [heads, rows x positions, head_size]
            written = product(by_head, weight).unflatten(1, (self.patch.runs, len(self.batch), -1))
            self.changes[:, first:last] = self._at_positions(written.transpose(0, 1), dim=2)
        if self.total is not None:
            self.total = self.total + difference.flatten(2) @ weight.flatten(0, 1)

    def mlp_norm(self, layer: int, site: Site) -> None:
        column = self.column_of.get(layer * self.width + self.width - 1)
        if column is not None:
            norm = self.view.norm(self.view.declaration.mlp_norm, layer)
            patched = self._patched([column], site.input)[:, 0]
            site.output = norm(patched).to(site.output.dtype)

    def mlp_written(self, layer: int, site: Site) -> None:
        number = self.model.shape.first_head(layer) + self.model.shape.heads
        written = self._wrote(number, site.output, self.replacement.mlps[layer])
        if written is not site.output:
            site.output = written

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        column = self.column_of.get(len(self.graph.receivers) - 1)
        layers = self.model.shape.layers
        if column is None and not self._replaces_residual(layers):
            return output
        patched = widened(residual)
        if column is not None:
            patched = self._patched([column], patched, self.batch.rows_read)[:, 0]
        if self._replaces_residual(layers):
            patched = self._residual(layers, patched, self.batch.rows_read)
        return self.view.norm(self.view.declaration.final_norm)(patched).to(output.dtype)

    def _wrote(self, number: int, live: Tensor, replacement: Tensor) -> Tensor:
        """Note an embedding or MLP, [rows, positions, hidden]; returns what it writes after all."""
        nodes = None if self.patch.nodes is None else self.patch.nodes[:, number]
        replaces = nodes is not None and bool(nodes.any())
        if not replaces and not self._is_read(number) and self.patch.residual is None:
            return live
        difference = replacement.to(self.dtype) - self._by_run(live.to(self.dtype))
        if replaces:
            assert nodes is not None
            moved = self._at_positions(difference) * nodes.to(self.dtype)[:, None, None, None]
            live = live + moved.flatten(0, 1).to(live.dtype)
            difference = difference - moved
        if self._is_read(number):
            self.changes[:, number] = self._at_positions(difference)
        if self.patch.residual is not None:
            rows = difference.flatten(0, 1)
            self.total = rows if self.total is None else self.total + rows
        return live

    def _is_read(self, source: int) -> bool:
        return source < self.changes.shape[1]

    def _replaces_residual(self, layer: int) -> bool:
        return self.patch.residual is not None and bool(self.patch.residual[:, layer].any())

    def _residual(self, layer: int, live: Tensor, at: Callable[[Tensor], Tensor] = _everywhere) -> Tensor:
        """What takes the place of the residual stream at a block; `at` picks the positions of `live` from a row's."""
        assert self.patch.residual is not None
        share = self.patch.residual[:, layer].to(self.dtype)[:, None, None, None]
        if self.unwritten is not None:
            where = self._at_positions(share.expand(-1, *self.batch.clean_ids.shape, 1)).flatten(0, 1)
            return torch.lerp(widened(live), at(self.unwritten), at(where).to(self.unwritten.dtype)).to(live.dtype)
        assert self.total is not None
        moved = (self._at_positions(self._by_run(self.total)) * share).flatten(0, 1)
        self.total = self.total - moved
        return (widened(live) + at(moved)).to(live.dtype)

    def _columns(self, layer: int, role: Role) -> list[tuple[int, int]]:
        """(head, column) of a role's patched receivers in a layer."""
        shape = self.model.shape
        start = {"q": 0, "k": shape.heads, "v": shape.heads + shape.key_value_heads}[role]
        first = layer * self.width + start
        heads = [(head, self.column_of.get(first + head)) for head in range(self.view.heads(role))]
        return [(head, column) for head, column in heads if column is not None]

    def _patched(self, columns: list[int], live: Tensor, at: Callable[[Tensor], Tensor] = _everywhere) -> Tensor:
        """What some receivers that read as many sources read, [rows, columns, positions, hidden].

        It is the live residual stream, [rows, positions, hidden], and what changes of it. Where most sources are
        replaced by nothing, it is what no source writes and what the kept ones write: there, the difference of two long
        sums would be their rounding. `at` picks the positions of `live` from those of a row.
        """
        assert self.patch.edges is not None
        sources = self.graph.receivers[self.patch.columns[columns[0]]].sources
        chosen = self.patch.edges[:, :sources, columns].transpose(1, 2).to(self.dtype)
        few = chosen.mean(2) > 0.5  # [runs, columns]
        if self.unwritten is not None:
            chosen = chosen - few[..., None].to(self.dtype)  # the change to nothing is what was written, negative
        found = product(chosen, self.changes[:, :sources].flatten(2))
        changes = found.unflatten(2, self.changes.shape[2:]).permute(0, 2, 3, 1, 4).flatten(0, 1)
        before = widened(live)[:, None]
        if self.unwritten is not None:
            before = torch.where(self._of_rows(few)[..., None, None], at(self.unwritten)[:, None], before)
        return before + at(changes).transpose(1, 2)

    def _read(self, layer: int, role: Role, columns: list[tuple[int, int]], output: Tensor) -> Tensor:
        """A role's projection output, [rows, positions, heads, head_size], its patched heads reading other streams."""
        if not columns:
            return output
        assert self.live is not None
        heads = [head for head, _ in columns]
        norm = self.view.norm(self.view.declaration.attention_norm, layer)
        weight, bias = self.view.projection(layer, role)
        read = norm(self._patched([column for _, column in columns], self.live)).to(self.dtype)
        rows, positions = output.shape[:2]
        by_head = read.transpose(0, 1).flatten(1, 2)  # [columns, rows x positions, hidden]
        found = product(by_head, weight[heads].to(self.dtype).transpose(1, 2))
        found = found if bias is None else found + widened(bias[heads])[:, None]
        patched = output.clone()
        patched[:, :, heads] = found.unflatten(1, (rows, positions)).permute(1, 2, 0, 3).to(output.dtype)
        return patched

    def _by_run(self, rows: Tensor) -> Tensor:
        by_run: Tensor = rows.unflatten(0, (self.patch.runs, -1))
        return by_run

    def _of_rows(self, by_run: Tensor) -> Tensor:
        return by_run.repeat_interleave(len(self.batch), dim=0)

    def _at_positions(self, difference: Tensor, *, dim: int = 1) -> Tensor:
        """A difference, zero where the patch leaves positions alone; examples and positions are at `dim` and next."""
        if self.patch.positions is None:
            return difference
        mask = self.patch.positions.to(difference.dtype)  # [runs, examples, positions]
        shape = [mask.shape[0], *[1] * (dim - 1), *mask.shape[1:], *[1] * (difference.ndim - dim - 2)]
        return difference * mask.reshape(shape)


def circuit_patch(graph: Graph, circuits: Sequence[npt.NDArray[np.bool_]], device: torch.device) -> Patch:
    """Replace every edge outside of a circuit; each circuit is a mask [sources, receivers]."""
    outside = np.stack([graph.mask & ~circuit for circuit in circuits])
    columns = np.flatnonzero(outside.any((0, 1)))
    edges = torch.from_numpy(outside[:, :, columns].astype(np.float32)).to(device)
    return Patch(runs=len(circuits), edges=edges, columns=tuple(columns.tolist()))
