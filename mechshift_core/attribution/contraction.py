"""From activation differences and gradients to scores: one product per layer, as the gradients arrive.

With `r = 1/rms` (or 1/std) of a norm's input, `xh` the normalised input, `w` the norm's weight and `g_h` the gradient
at head h's projection output, the gradient at the residual stream that head h reads is

    r (w W_h g_h - mean_d(w W_h g_h) [LayerNorm only] - xh c_h),   c_h = g_h . (W_h w xh) / d,

and `W_h w xh` is the projection's own output without its bias. Only `r g_h` and `r c_h` differ between the steps of a
path, so gradients are summed over steps before they are projected. Scores are kept apart by position until they are
summed over positions, or over the positions of each token role.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.record import Activations
from mechshift_core.graph import ROLES, Graph
from mechshift_core.models.load import Model
from mechshift_core.models.precision import wide_dtype, widened


def work_dtype(model: Model) -> torch.dtype:
    """Number format of the factors of products: the model's on a GPU, :func:`wide_dtype` on a CPU, as sums on both."""
    dtype = next(model.module.parameters()).dtype
    return dtype if model.device.type == "cuda" else wide_dtype(dtype)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Batched matrix product with sums and values of :func:`wide_dtype`."""
    if left.dtype == wide_dtype(left.dtype):
        return torch.bmm(left, right)
    return torch.bmm(left, right, out_dtype=torch.float32)


def written_differences(model: Model, clean: Activations, corrupt: Activations) -> Tensor:
    """What each source writes on the corrupted minus on the clean run, [sources, examples x positions, hidden]."""
    shape, dtype = model.shape, work_dtype(model)
    tokens = clean.embedding.shape[0] * clean.embedding.shape[1]
    found = torch.empty(shape.sources, tokens, shape.hidden_size, dtype=dtype, device=model.device)
    found[0] = (widened(corrupt.embedding) - widened(clean.embedding)).flatten(0, 1)
    for layer in range(shape.layers):
        first = shape.first_head(layer)
        z = (widened(corrupt.heads[layer]) - widened(clean.heads[layer])).flatten(0, 1).transpose(0, 1)
        weight = model.view.output_weight(layer).to(dtype)
        if dtype == z.dtype:
            torch.bmm(z, weight, out=found[first : first + shape.heads])
        else:
            found[first : first + shape.heads] = product(z.to(dtype), weight)
        found[first + shape.heads] = (widened(corrupt.mlps[layer]) - widened(clean.mlps[layer])).flatten(0, 1)
    return found


class Contraction:
    """Scores of all edges of a batch of examples.

    Args:
        model: The model.
        batch: Examples, on the model's device.
        differences: See :func:`written_differences`.
        roles: Token role of every position, [examples, positions], from 0; None sums over all positions.
        role_count: Number of token roles.

    Attributes:
        scores: [examples, roles, sources, receivers]; float32, of a model in float64 float64.
        sources: (first, stop) of the sources whose edges are scored, all unless set.
    """

    def __init__(
        self, model: Model, batch: CounterfactualBatch, differences: Tensor, roles: Tensor | None, role_count: int = 1
    ) -> None:
        self.model = model
        self.graph = Graph.of(model.shape)
        self.batch = batch
        self.differences = differences
        self.roles = roles
        self.sources = (0, len(self.graph.sources))
        shape = (len(batch), role_count, len(self.graph.sources), len(self.graph.receivers))
        self.scores = torch.zeros(shape, dtype=wide_dtype(differences.dtype), device=model.device)

    def add_layer(self, layer: int, attention: Tensor, mlp: Tensor) -> None:
        """Add a layer's receivers.

        Args:
            layer: The block.
            attention: Gradients at the residual stream that heads read, [receivers, examples x positions, hidden].
            mlp: Gradient at the one that the MLP reads, [examples x positions, hidden].
        """
        gradients = torch.cat([attention, mlp[None]])
        width = self.model.shape.layer_receivers
        receivers = slice(layer * width, (layer + 1) * width)
        before = max(receiver.sources for receiver in self.graph.receivers[receivers])
        sources = slice(self.sources[0], min(self.sources[1], before))
        if sources.start >= sources.stop:
            return
        by_token = product(
            self.differences[sources].transpose(0, 1), gradients.to(self.differences.dtype).permute(1, 2, 0)
        )
        by_position = by_token.unflatten(0, (len(self.batch), -1))
        self._subtract(by_position, sources, receivers)

    def add_logits(self, gradient: Tensor) -> None:
        """Add the receiver `logits`: gradient at the residual stream where the logits are read, [examples, hidden]."""
        position = self.batch.position
        assert isinstance(position, Tensor)
        sources = slice(*self.sources)
        tokens = self.differences[sources].unflatten(1, (len(self.batch), -1))
        read = tokens[:, torch.arange(len(self.batch), device=position.device), position].transpose(0, 1)
        found = product(read, gradient.to(read.dtype)[:, :, None])
        every = torch.zeros(len(self.batch), 1, dtype=torch.long, device=position.device)
        role = every if self.roles is None else self.roles.gather(1, position[:, None])
        self._by_role(found[:, None], role, sources, slice(len(self.graph.receivers) - 1, None))

    def _subtract(self, by_position: Tensor, sources: slice, receivers: slice) -> None:
        if self.roles is None:
            self.scores[:, 0, sources, receivers] -= by_position.sum(1)
        else:
            self._by_role(by_position, self.roles, sources, receivers)

    def _by_role(self, by_position: Tensor, roles: Tensor, sources: slice, receivers: slice) -> None:
        for role in range(self.scores.shape[1]):
            of_role = (roles == role)[:, :, None, None]
            self.scores[:, role, sources, receivers] -= (by_position * of_role).sum(1)

    def edges(self) -> Tensor:
        """Scores by edge, [examples, roles, edges]."""
        source, receiver = self.graph.edge_index
        index = torch.from_numpy(source * len(self.graph.receivers) + receiver).to(self.scores.device)
        return self.scores.flatten(2)[:, :, index]


def head_gradients(
    model: Model,
    layer: int,
    residual: Tensor,
    outputs: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    steps: int,
    *,
    frozen: bool = False,
) -> Tensor:
    """Gradients at the residual stream as each query, key and value reads it, summed over the steps of a path.

    Args:
        model: The model.
        layer: The block.
        residual: Input of the attention norm, [steps x examples, positions, hidden].
        outputs: Output of each projection module, [steps x examples, positions, features].
        gradients: Gradients there, weighted by the step.
        steps: Number of steps.
        frozen: Whether the norm's scale is taken for a constant.

    Returns:
        [receivers, examples x positions, hidden], queries, keys, values, in :func:`wide_dtype`.
    """
    view, declared, dtype = model.view, model.view.declaration, work_dtype(model)
    norm = view.norm(declared.attention_norm, layer)
    normal, scale = norm.normalise(residual)

    def joined(by_module: Mapping[str, Tensor]) -> Tensor:
        by_role = {role: x for path, features in by_module.items() for role, x in view.split(path, features).items()}
        return torch.cat([widened(by_role[role]) for role in ROLES], dim=-2)

    weight, offset = _projections(model, layer)
    reduced = joined(gradients) * scale[..., None]  # r g, [steps x examples, positions, receivers, head_size]
    summed = reduced.unflatten(0, (steps, -1)).sum(0).flatten(0, 1).transpose(0, 1)
    found = product(summed.to(dtype), weight.to(dtype))
    found *= widened(norm.weight)
    if norm.centred:
        found -= found.mean(-1, keepdim=True)
    if frozen:
        return found
    inner = (reduced * (joined(outputs) - offset)).sum(-1) / model.shape.hidden_size  # r c
    by_token = _steps_last(inner, steps)  # [tokens, receivers, steps]
    along = _steps_last(normal, steps).transpose(1, 2)  # [tokens, steps, hidden]
    found -= product(by_token.to(dtype), along.to(dtype)).transpose(0, 1)
    return found


def _steps_last(values: Tensor, steps: int) -> Tensor:
    """[steps x examples, positions, features] as [examples x positions, features, steps]."""
    last: Tensor = values.unflatten(0, (steps, -1)).permute(1, 2, 3, 0).flatten(0, 1)
    return last


def _projections(model: Model, layer: int) -> tuple[Tensor, Tensor]:
    """Weights of all receivers, [receivers, head_size, hidden], and their outputs at a normalised input of 0."""
    norm = model.view.norm(model.view.declaration.attention_norm, layer)
    weights, offsets = [], []
    for role in ROLES:
        weight, bias = model.view.projection(layer, role)
        offset = widened(weight.new_zeros(weight.shape[:2]) if bias is None else bias)
        if norm.bias is not None:
            offset = offset + widened(weight) @ widened(norm.bias)
        weights.append(weight)
        offsets.append(offset)
    return torch.cat(weights), torch.cat(offsets)
