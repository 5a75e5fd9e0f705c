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
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.cross_runs import Node, Prompts, run_crossed, written_by
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_patching
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.graph import Shape
from mechshift_core.models.load import Model
from mechshift_core.options import Count, checked

Move = str | tuple[str, str]
"""A node that takes its own counterpart's place, or (node of the donor, node of the recipient) of the same kind."""
NODE = re.compile(r"(?:a(?P<attention>\d+)(?:\.h(?P<head>\d+))?|m(?P<mlp>\d+)|x(?P<residual>\d+))")
MovedKind = Literal["heads", "attention", "mlps", "residual"]
"""Kinds of nodes that are moved from one model into another."""


@checked
def moved_names(shape: Shape, kinds: Sequence[MovedKind]) -> list[str]:
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
        written = written_by(donor, of_donor, own, matched[part])
        at_once, found = max(1, batching.size // len(own)), []
        for first in range(0, len(runs), at_once):
            chosen = slice(first, min(first + at_once, len(runs)))
            mask = where[chosen][:, part if where.shape[1] > 1 else slice(None)].expand(-1, len(own), -1)
            found.append(run_crossed(recipient, own, written, moves[chosen], mask.to(recipient.device), into))
        metric = torch.cat(found).cpu()
        check_finite(recipient, "the metric of a patched run", metric)
        return metric

    if not runs or not len(batch):
        return torch.empty(len(runs), len(batch))
    return torch.cat(list(in_batches(len(batch), batching, compute)), dim=1)


def _parsed(move: Move, shape: Shape) -> tuple[Node, Node]:
    """(node of the donor, node of the recipient)."""
    source, target = (move, move) if isinstance(move, str) else move
    found = _node(source, shape), _node(target, shape)
    if found[0].kind != found[1].kind:
        raise ValueError(f"{source!r} can't take the place of {target!r}: they are not of one kind")
    if shape.layers in (found[0].layer, found[1].layer) and found[0] != found[1]:
        raise ValueError(f"x{shape.layers} is known at the position read alone: it can only take its own place")
    return found


def _node(name: str, shape: Shape) -> Node:
    match = NODE.fullmatch(name)
    kind = "" if match is None else str(match.lastgroup)
    layer = -1 if match is None else int(next(match[k] for k in ("attention", "mlp", "residual") if match[k]))
    head = int(match["head"]) if match is not None and kind == "head" else -1
    last = shape.layers if kind == "residual" else shape.layers - 1
    if not kind or layer > last or head >= shape.heads:
        raise ValueError(f"{name!r} is no node of this model; its nodes are a0.h0 ..., a0 ..., m0 ..., x0 ...")
    return Node(kind, layer, head)


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
