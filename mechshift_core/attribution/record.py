"""One run of a model through nnsight, with what attribution needs: activations, and gradients where receivers read.

Gradients are taken at projection and norm outputs only; the residual stream is never copied, and the weights are
frozen, so nothing is kept for their gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.graph import ROLES, Role
from mechshift_core.models.architectures import Norm
from mechshift_core.models.load import Model


@dataclass(frozen=True, slots=True)
class Activations:
    """What the sources of one run wrote.

    Attributes:
        embedding: Token embeddings, [examples, positions, hidden].
        heads: Per layer, what the output projection reads, [examples, positions, heads, head_size].
        mlps: Per layer, MLP outputs, [examples, positions, hidden].
        metric: The metric of each example, [examples].
        predicted: The most likely token at the position read, [examples].
    """

    embedding: Tensor
    heads: list[Tensor]
    mlps: list[Tensor]
    metric: Tensor
    predicted: Tensor


def record_activations(model: Model, batch: CounterfactualBatch, ids: Tensor) -> Activations:
    """Run `ids` (clean or corrupted) and keep what every source writes."""
    declared, shape = model.view.declaration, model.shape
    net: Any = model.net
    heads: list[Tensor] = []
    mlps: list[Tensor] = []
    with torch.no_grad(), net.trace(input_ids=ids, attention_mask=batch.attention_mask, use_cache=False):
        embedding = nnsight.save(attrgetter(declared.embedding)(net).output)
        for block in attrgetter(declared.blocks)(net):
            heads.append(nnsight.save(attrgetter(declared.attention_output)(block).input))
            mlps.append(nnsight.save(attrgetter(declared.mlp)(block).output))
        logits = attrgetter(declared.head)(net).output
        metric = nnsight.save(batch.measure(logits))
        predicted = nnsight.save(batch.read(logits).argmax(-1))
    split = (*ids.shape, shape.heads, shape.head_size)
    return Activations(embedding, [z.reshape(split) for z in heads], mlps, metric, predicted)


def source_differences(model: Model, clean: Activations, corrupt: Activations) -> Tensor:
    """What each source writes on the corrupted minus on the clean run, [examples, positions, sources, hidden]."""
    parts = [(corrupt.embedding - clean.embedding).float()[:, :, None]]
    for layer in range(model.shape.layers):
        difference = (corrupt.heads[layer] - clean.heads[layer]).float()
        parts.append(torch.einsum("bshe,hed->bshd", difference, model.view.output_weight(layer).float()))
        parts.append((corrupt.mlps[layer] - clean.mlps[layer]).float()[:, :, None])
    return torch.cat(parts, dim=2)


def receiver_gradients(
    model: Model, batch: CounterfactualBatch, clean: Tensor, corrupt: Tensor, path: list[tuple[float, float]]
) -> list[Tensor]:
    """Weighted gradients of the metric at every receiver's input, summed over the steps of a path.

    All steps go through the model as one batch.

    Args:
        model: The model.
        batch: The examples; its metric is differentiated.
        clean: Clean token embeddings, [examples, positions, hidden]; `corrupt` alike.
        path: (alpha, weight) of each step, at the embeddings `corrupt + alpha (clean - corrupt)`.

    Returns:
        Per layer the gradients at its query, key, value and MLP receivers and, last, those at `logits`, in the graph's
        order: each [examples, positions, receivers, hidden].
    """
    declared = model.view.declaration
    net: Any = model.net
    examples, steps = len(batch), len(path)
    alphas = torch.tensor([alpha for alpha, _ in path], device=clean.device, dtype=clean.dtype)[:, None, None, None]
    weights = torch.tensor([weight for _, weight in path], device=clean.device)
    embeddings = (corrupt + alphas * (clean - corrupt)).flatten(0, 1).requires_grad_(True)
    ids = batch.clean_ids.repeat(steps, 1)
    mask = None if batch.attention_mask is None else batch.attention_mask.repeat(steps, 1)
    read: list[Tensor] = []  # inputs of the norms: per layer attention and MLP, then the final norm
    wanted: list[Tensor] = []  # where gradients are taken, in the same order
    modules = list(model.view.role_slices())
    with net.trace(input_ids=ids, attention_mask=mask, use_cache=False):
        attrgetter(declared.embedding)(net).output = embeddings
        for block in attrgetter(declared.blocks)(net):
            read.append(attrgetter(declared.attention_norm)(block).input)
            wanted.extend(attrgetter(path_)(block).output for path_ in modules)
            read.append(attrgetter(declared.mlp_norm)(block).input)
            wanted.append(attrgetter(declared.mlp_norm)(block).output)
        read.append(attrgetter(declared.final_norm)(net).input)
        wanted.append(attrgetter(declared.final_norm)(net).output)
        metric = batch.measure(attrgetter(declared.head)(net).output)
        total = (metric.reshape(steps, examples) * weights[:, None]).sum()
        gradients = nnsight.save(torch.autograd.grad(total, wanted))
        inputs = nnsight.save([x.detach() for x in read])
    return _at_residual_stream(model, inputs, list(gradients), steps)


def _at_residual_stream(model: Model, inputs: list[Tensor], gradients: list[Tensor], steps: int) -> list[Tensor]:
    """Carry gradients from projection and norm outputs back through the norms, and sum them over the steps."""
    declared, slices = model.view.declaration, model.view.role_slices()
    found: list[Tensor] = []
    following = iter(gradients)

    def carry(norm: Any, x: Tensor, gradient: Tensor) -> Tensor:
        residual = Norm.of(norm).vector_jacobian(x[:, :, None], gradient)
        summed: Tensor = residual.unflatten(0, (steps, -1)).sum(0)
        return summed

    for layer in range(model.shape.layers):
        by_role: dict[Role, Tensor] = {}
        for parts in slices.values():
            gradient = next(following)
            for role, part in parts.items():
                weight, _ = model.view.projection(layer, role)
                split = gradient[..., part].unflatten(-1, (-1, model.shape.head_size))
                by_role[role] = torch.einsum("bshe,hed->bshd", split.float(), weight.float())
        attention = torch.cat([by_role[role] for role in ROLES], dim=2)
        norm = model.view.module(declared.attention_norm, layer)
        mlp_norm = model.view.module(declared.mlp_norm, layer)
        found.append(
            torch.cat(
                [
                    carry(norm, inputs[2 * layer], attention),
                    carry(mlp_norm, inputs[2 * layer + 1], next(following)[:, :, None]),
                ],
                dim=2,
            )
        )
    found.append(carry(model.view.module(declared.final_norm), inputs[-1], next(following)[:, :, None]))
    return found
