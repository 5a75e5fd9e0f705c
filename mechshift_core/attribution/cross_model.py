"""Cross-model activation patching: what components of one model write takes the place of those of another model's run.

After Prakash et al. 2024 (arXiv 2402.14811), who patch a fine-tuned model's activations into its base model (CMAP).
What is moved is what a component adds to the residual stream, which the two models share: a head's output through its
own model's output matrix, not the values that this matrix reads. So a basis within a head, which every model may choose
for itself, makes no difference.

Nodes are heads `a{l}.h{h}`, whole attention layers `a{l}` (all heads together, with biases), MLPs `m{l}`, and residual
streams `x{l}`: the one that block l reads, or, with L layers, for `x{L}` the one that the final norm reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import work_dtype
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_patching
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.record import live_heads
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.graph import Shape
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened
from mechshift_core.options import Count, checked

Prompts = Literal["corrupted", "clean"]
Move = str | tuple[str, str]
"""A node that takes its own counterpart's place, or (node of the donor, node of the recipient) of the same kind."""
NODE = re.compile(r"(?:a(?P<attention>\d+)(?:\.h(?P<head>\d+))?|m(?P<mlp>\d+)|x(?P<residual>\d+))")


def moved_names(shape: Shape, kinds: Sequence[str]) -> list[str]:
    """Names of the nodes of some kinds (heads, attention, mlps, residual), kind by kind, layer by layer."""
    layers = range(shape.layers)
    names = {
        "heads": [f"a{layer}.h{head}" for layer in layers for head in range(shape.heads)],
        "attention": [f"a{layer}" for layer in layers],
        "mlps": [f"m{layer}" for layer in layers],
        "residual": [*shape.residual_streams],
    }
    return [name for kind, found in names.items() if kind in kinds for name in found]


@checked
def cross_patch(
    recipient: Model,
    donor: Model,
    batch: CounterfactualBatch,
    runs: Sequence[Sequence[Move]],
    *,
    donor_batch: CounterfactualBatch | None = None,
    columns: Tensor | None = None,
    given: Prompts = "clean",
    into: Prompts = "corrupted",
    positions: Tensor | None = None,
    rows: Count | None = None,
    halvings: list[int] | None = None,
) -> Tensor:
    """The recipient's metric with what the donor's components write on the same prompts in the place of its own.

    Args:
        recipient: The model that is run and read.
        donor: The model whose run is moved; the recipient itself for patching within a model.
        batch: Examples as the recipient reads them.
        runs: What each run moves.
        donor_batch: The same examples as the donor reads them; as the recipient does unless given.
        columns: [examples, positions]: the donor's column of every position of the recipient, -1 where it has none,
            which is then left as it is. The same columns unless given.
        given: The prompts of the donor's run. What is moved from the corrupted prompts shows what the replacement does
            by itself, whatever is said: the own output is gone, too.
        into: The recipient's run on the corrupted prompts (what is restored?), or on the clean ones (what is lost?).
        positions: Where, bool, [runs, positions] or [runs, examples, positions]; everywhere unless given.
        rows: Runs times examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Returns:
        [runs, examples], on the CPU; float32 or, as the recipient, float64. Runs that move nothing give the metric of
        the run that is patched.

    Raises:
        ValueError: for models of different shapes, a name that is no node, a move between kinds, tensors of other
            shapes, or a batch that a model can't read.
        ExecutionError: if a metric is not finite.
    """
    if recipient.shape != donor.shape:
        raise ValueError(
            f"{recipient.source} and {donor.source} have different graphs ({recipient.shape} and {donor.shape}): what "
            "one writes has no place in the other"
        )
    other = batch if donor_batch is None else donor_batch
    if len(other) != len(batch):
        raise ValueError(f"donor_batch must have the {len(batch)} examples of batch; it has {len(other)}")
    check_readable(recipient, batch)
    check_readable(donor, other)
    if given == "corrupted":
        other = replace(other, clean_ids=other.corrupt_ids)
    matched = _columns(columns, batch, other)
    moves = [[_parsed(move, recipient.shape) for move in run] for run in runs]
    where = _positions(positions, len(runs), batch) & (matched >= 0)
    rows = rows or sequences_for_patching(recipient, max(batch.clean_ids.shape[1], other.clean_ids.shape[1]))
    batching = Batching(rows, [] if halvings is None else halvings)

    def compute(part: slice) -> Tensor:
        own, of_donor = batch.rows(part).to(recipient.device), other.rows(part).to(donor.device)
        written = _written(donor, of_donor, own, matched[part])
        at_once, found = max(1, batching.size // len(own)), []
        for first in range(0, len(runs), at_once):
            chosen = slice(first, min(first + at_once, len(runs)))
            mask = where[chosen][:, part if where.shape[1] > 1 else slice(None)].expand(-1, len(own), -1)
            found.append(_run(recipient, own, written, moves[chosen], mask.to(recipient.device), into))
        metric = torch.cat(found).cpu()
        check_finite(recipient, "the metric of a patched run", metric)
        return metric

    if not runs or not len(batch):
        return torch.empty(len(runs), len(batch))
    return torch.cat(list(in_batches(len(batch), batching, compute)), dim=1)


@dataclass(frozen=True, slots=True)
class _Node:
    """A node: its kind, its layer, and of a head its number."""

    kind: str
    layer: int
    head: int = -1


@dataclass(frozen=True, slots=True)
class _Written:
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


def _parsed(move: Move, shape: Shape) -> tuple[_Node, _Node]:
    """(node of the donor, node of the recipient)."""
    source, target = (move, move) if isinstance(move, str) else move
    found = _node(source, shape), _node(target, shape)
    if found[0].kind != found[1].kind:
        raise ValueError(f"{source!r} can't take the place of {target!r}: they are not of one kind")
    if shape.layers in (found[0].layer, found[1].layer) and found[0] != found[1]:
        raise ValueError(f"x{shape.layers} is known at the position read alone: it can only take its own place")
    return found


def _node(name: str, shape: Shape) -> _Node:
    match = NODE.fullmatch(name)
    kind = "" if match is None else str(match.lastgroup)
    layer = -1 if match is None else int(next(match[k] for k in ("attention", "mlp", "residual") if match[k]))
    head = int(match["head"]) if match is not None and kind == "head" else -1
    last = shape.layers if kind == "residual" else shape.layers - 1
    if not kind or layer > last or head >= shape.heads:
        raise ValueError(f"{name!r} is no node of this model; its nodes are a0.h0 ..., a0 ..., m0 ..., x0 ...")
    return _Node(kind, layer, head)


def _columns(columns: Tensor | None, batch: CounterfactualBatch, given: CounterfactualBatch) -> Tensor:
    """[examples, positions]: the donor's column, -1 where it has no token."""
    examples, length = batch.clean_ids.shape
    matched = torch.arange(length).expand(examples, -1) if columns is None else torch.as_tensor(columns).cpu().long()
    if matched.shape != (examples, length):
        raise ValueError(f"columns must be [{examples}, {length}]; it is {list(matched.shape)}")
    last = given.clean_ids.shape[1] - 1
    known = given.present.cpu().gather(1, matched.clamp(0, last)) & (matched >= 0) & (matched <= last)
    return torch.where(known & batch.present.cpu(), matched, -1)


def _positions(positions: Tensor | None, runs: int, batch: CounterfactualBatch) -> Tensor:
    examples, length = batch.clean_ids.shape
    if positions is None:
        return torch.ones(runs, 1, length, dtype=torch.bool)
    mask = torch.as_tensor(positions).cpu() != 0
    mask = mask[:, None] if mask.ndim == 2 else mask
    if mask.shape not in ((runs, 1, length), (runs, examples, length)):
        shapes = f"[{runs}, {length}] or [{runs}, {examples}, {length}]"
        raise ValueError(f"positions must be {shapes}; they are {list(mask.shape)}")
    return mask


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


def _written(donor: Model, given: CounterfactualBatch, batch: CounterfactualBatch, matched: Tensor) -> _Written:
    """The donor's run on its clean prompts, at the positions of the recipient.

    Its last stream is taken where the recipient is read, wherever the donor itself would be.
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

    return _Written(
        [moved(one) for one in heads],
        [donor.view.output_weight(layer).to(places.device) for layer in range(donor.shape.layers)],
        [moved(one) for one in attention],
        [moved(one) for one in mlps],
        [*(moved(one) for one in streams[:-1]), streams[-1].to(places.device)],
    )


def _run(
    model: Model,
    batch: CounterfactualBatch,
    written: _Written,
    moves: Sequence[Sequence[tuple[_Node, _Node]]],
    mask: Tensor,
    into: Prompts,
) -> Tensor:
    """The metric of some runs, [runs, examples]."""
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
        written: _Written,
        moves: Sequence[Sequence[tuple[_Node, _Node]]],
        mask: Tensor,
    ) -> None:
        self.model, self.batch, self.written = model, batch, written
        self.mask = mask  # [runs, examples, positions]
        self.dtype = work_dtype(model)
        self.by_target: dict[tuple[str, int], list[tuple[int, _Node, _Node]]] = {}
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
        found: Sequence[tuple[int, _Node, _Node]],
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

    def _exchanged(self, layer: int, found: Sequence[tuple[int, _Node, _Node]]) -> Tensor:
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
