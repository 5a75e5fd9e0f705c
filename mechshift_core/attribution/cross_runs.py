"""Runs of a model into which another model's activations are put: what is recorded, aligned and replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import work_dtype
from mechshift_core.attribution.record import live_heads
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened

Prompts = Literal["corrupted", "clean"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its kind, its layer, and of a head its number."""

    kind: str
    layer: int
    head: int = -1


@dataclass(frozen=True, slots=True)
class Written:
    """What a donor writes, at the positions of the recipient: [examples, positions, ...].

    Attributes:
        heads: Per layer, what the output projection reads, [..., heads, head_size], in the terms of `weights`.
        weights: Per layer, [heads, head_size, hidden].
        attention: Per layer, what all heads and biases add.
        mlps: Per layer.
        streams: What each block reads; the last is of the position read alone, [examples, 1, hidden].
    """

    heads: list[Tensor]
    weights: list[Tensor]
    attention: list[Tensor]
    mlps: list[Tensor]
    streams: list[Tensor]


class _Recorder(Visitor):
    """Keeps all that can be moved."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.heads: list[Tensor] = []
        self.attention: list[Tensor] = []
        self.mlps: list[Tensor] = []
        self.streams: list[Tensor] = []

    def block(self, layer: int, site: Site) -> None:
        self.streams.append(site.input.detach())

    def attention_output(self, layer: int, site: Site) -> None:
        self.heads.append(live_heads(self.model, layer, site).detach())

    def attention_written(self, layer: int, site: Site) -> None:
        self.attention.append(site.output.detach())

    def mlp_written(self, layer: int, site: Site) -> None:
        self.mlps.append(site.output.detach())

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        self.streams.append(residual.detach())
        return output


def written_by(donor: Model, given: CounterfactualBatch, batch: CounterfactualBatch, matched: Tensor) -> Written:
    """The donor's run on its clean prompts, at the positions of the recipient.

    Its last stream is taken where the recipient is read, wherever the donor itself would be.

    Args:
        donor: The model that is run.
        given: Its prompts, on its device.
        batch: The same examples as the recipient reads them, on its device.
        matched: The donor's column of each position of the recipient, -1 where it has none, [examples, positions].
    """
    columns = matched.to(batch.clean_ids.device)
    read = batch.rows_read(columns)[:, 0].clamp(min=0).to(donor.device)
    at_read = replace(given, position=torch.where(given.present.gather(1, read[:, None])[:, 0], read, given.position))
    recorder = _Recorder(donor)
    with torch.no_grad(), traced(donor, at_read, at_read.clean_ids):
        walk(donor, at_read, recorder)
        found: tuple[list[Tensor], ...] = nnsight.save(
            (recorder.heads, recorder.attention, recorder.mlps, recorder.streams)
        )
    heads, attention, mlps, streams = found
    places = columns.clamp(min=0)
    numbers = torch.arange(len(places), device=places.device)[:, None]

    def moved(values: Tensor) -> Tensor:
        return values.to(places.device)[numbers, places]

    return Written(
        [moved(one) for one in heads],
        [donor.view.output_weight(layer).to(places.device) for layer in range(donor.shape.layers)],
        [moved(one) for one in attention],
        [moved(one) for one in mlps],
        [*(moved(one) for one in streams[:-1]), streams[-1].to(places.device)],
    )


def run_crossed(
    model: Model,
    batch: CounterfactualBatch,
    written: Written,
    moves: Sequence[Sequence[tuple[Node, Node]]],
    mask: Tensor,
    into: Prompts,
) -> Tensor:
    """The metric of some runs of a model, [runs, examples].

    Args:
        model: The model.
        batch: Examples, on its device.
        written: What is put in.
        moves: What each run moves: nodes of the donor and the nodes whose place they take.
        mask: Where, bool, [runs, examples, positions].
        into: The run that is patched.
    """
    ids = batch.corrupt_ids if into == "corrupted" else batch.clean_ids
    patcher = _Patcher(model, batch, written, moves, mask)
    with torch.no_grad(), traced(model, batch, ids.repeat(len(moves), 1)):
        metric = nnsight.save(batch.measure(walk(model, batch, patcher)))
    by_run: Tensor = metric.unflatten(0, (len(moves), -1))
    return by_run


class _Patcher(Visitor):
    """Puts what a donor wrote into a run. Rows are runs x examples."""

    def __init__(
        self,
        model: Model,
        batch: CounterfactualBatch,
        written: Written,
        moves: Sequence[Sequence[tuple[Node, Node]]],
        mask: Tensor,
    ) -> None:
        self.model, self.batch, self.written = model, batch, written
        self.mask = mask  # [runs, examples, positions]
        self.dtype = work_dtype(model)
        self.by_target: dict[tuple[str, int], list[tuple[int, Node, Node]]] = {}
        for run, of_run in enumerate(moves):
            for source, target in of_run:
                self.by_target.setdefault((target.kind, target.layer), []).append((run, source, target))
        self.heads: Tensor | None = None

    def block(self, layer: int, site: Site) -> None:
        found = self.by_target.get(("residual", layer))
        if found:
            site.input = self._replaced(site.input, found, self.written.streams)

    def attention_output(self, layer: int, site: Site) -> None:
        self.heads = live_heads(self.model, layer, site) if ("head", layer) in self.by_target else None

    def attention_written(self, layer: int, site: Site) -> None:
        whole = self.by_target.get(("attention", layer))
        if whole:
            site.output = self._replaced(site.output, whole, self.written.attention)
        single = self.by_target.get(("head", layer))
        if single:
            site.output = site.output + self._exchanged(layer, single).to(site.output.dtype)

    def mlp_written(self, layer: int, site: Site) -> None:
        found = self.by_target.get(("mlp", layer))
        if found:
            site.output = self._replaced(site.output, found, self.written.mlps)

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        found = self.by_target.get(("residual", self.model.shape.layers))
        if not found:
            return output
        where = self.batch.rows_read(self.mask.flatten(0, 1)).unflatten(0, (len(self.mask), -1))
        read = self._replaced(widened(residual), found, self.written.streams, where)
        return self.model.view.norm(self.model.view.declaration.final_norm)(read).to(output.dtype)

    def _replaced(
        self,
        live: Tensor,
        found: Sequence[tuple[int, Node, Node]],
        given: Sequence[Tensor],
        where: Tensor | None = None,
    ) -> Tensor:
        """Live values, [rows, positions, hidden], those of the runs found replaced where the mask says so."""
        mask = self.mask if where is None else where
        by_run: Tensor = live.unflatten(0, (len(mask), -1)).clone()
        for run, source, _ in found:
            value = given[source.layer].to(live.dtype)
            by_run[run] = torch.where(mask[run][..., None], value, by_run[run])
        return by_run.flatten(0, 1)

    def _exchanged(self, layer: int, found: Sequence[tuple[int, Node, Node]]) -> Tensor:
        """What the heads of the donor write minus what those that they replace write, [rows, positions, hidden]."""
        assert self.heads is not None
        live = self.heads.unflatten(0, (len(self.mask), -1))
        own = self.model.view.output_weight(layer)
        runs, examples, positions = self.mask.shape
        total = torch.zeros((runs, examples, positions, own.shape[-1]), dtype=self.dtype, device=self.mask.device)
        for run, source, target in found:
            donated = self.written.heads[source.layer][:, :, source.head].to(self.dtype)
            change = donated @ self.written.weights[source.layer][source.head].to(self.dtype)
            change = change - live[run][:, :, target.head].to(self.dtype) @ own[target.head].to(self.dtype)
            total[run] += change * self.mask[run][..., None]
        return total.flatten(0, 1)
