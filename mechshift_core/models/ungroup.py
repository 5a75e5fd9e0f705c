"""The same model with one key/value head a query head, so that a circuit can tell the readers of a shared one apart."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mechshift_core.errors import ExecutionError
from mechshift_core.models.architectures import ArchitectureView
from mechshift_core.models.load import Model


def ungrouped(model: Model) -> Model:
    """A model that computes the same with every key/value head repeated for its query heads.

    All weights but the key and value projections are shared with `model`.

    Raises:
        ExecutionError: if the architecture fuses its projections.
    """
    from nnsight import NNsight

    declared, shape = model.view.declaration, model.shape
    group = shape.heads // shape.key_value_heads
    if group == 1:
        return model
    paths = declared.attention_projections
    if len(set(paths.values())) < len(paths):
        raise ExecutionError(f"{model.source}: fused projections of shared key/value heads can't be told apart")
    shared = {id(tensor): tensor for tensor in [*model.module.parameters(), *model.module.buffers()]}
    module = copy.deepcopy(model.module, memo=shared)
    view = ArchitectureView(module)
    for layer in range(shape.layers):
        for path in (paths["k"], paths["v"]):
            parent, name = path.rsplit(".", 1)
            attention: Any = view.module(parent, layer)
            setattr(attention, name, _repeated(view.module(path, layer), group, shape.head_size))
            attention.num_key_value_groups = 1
    config: Any = copy.deepcopy(module.config)
    config.num_key_value_heads = shape.heads
    module.config = config
    module.requires_grad_(False).eval()
    return replace(model, module=module, net=NNsight(module), view=ArchitectureView(module))


def _repeated(projection: nn.Linear, group: int, head_size: int) -> nn.Linear:
    def repeat(tensor: torch.Tensor) -> nn.Parameter:
        heads = tensor.detach().unflatten(0, (-1, head_size)).repeat_interleave(group, dim=0)
        return nn.Parameter(heads.flatten(0, 1), requires_grad=False)

    wide = nn.Linear(projection.in_features, projection.out_features * group, bias=projection.bias is not None)
    wide.weight = repeat(projection.weight)
    if projection.bias is not None:
        wide.bias = repeat(projection.bias)
    return wide
