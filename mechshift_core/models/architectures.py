"""A model's weights and modules in the terms of the attribution, read as its architecture is declared.

Everything that attributes or patches goes through a declaration (:mod:`mechshift_core.models.declared`) and
:class:`ArchitectureView`, never through the attribute names of a Transformers class.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.graph import ROLES, Role, Shape
from mechshift_core.models.declared import ARCHITECTURES, Architecture
from mechshift_core.models.norms import Norm
from mechshift_core.models.precision import widened
from mechshift_core.models.sources import graph_shape


def declaration_of(model_type: object) -> Architecture:
    """The declaration of a `model_type`.

    Raises:
        ExecutionError: if there is none.
    """
    if model_type not in ARCHITECTURES:
        raise ExecutionError(
            f"architecture {model_type!r} is not supported (supported: {', '.join(sorted(ARCHITECTURES))}); declare "
            "where its embedding, blocks, norms, query/key/value projections, attention output, MLP and head are in an "
            "ArchitectureKind (docs/how-to/add-an-architecture.md); the declaration is proven when a model is loaded"
        )
    return ARCHITECTURES[str(model_type)].declaration


class ArchitectureView:
    """A model's weights and modules in the terms of the attribution: heads, norms, projections.

    Args:
        model: A Transformers causal language model.

    Raises:
        ExecutionError: for a `model_type` that has no declaration.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        config: Any = model.config
        self.declaration = declaration_of(config.model_type)
        self.shape: Shape = graph_shape(config.to_dict(), source=f"a {config.model_type} model")

    def module(self, path: str, layer: int | None = None) -> Any:
        """The module at a declared path, of one block where `layer` is given.

        Raises:
            ExecutionError: if the model has no such module.
        """
        dotted = path if layer is None else f"{self.declaration.blocks}.{layer}.{path}"
        try:
            return attrgetter(dotted)(self.model)
        except AttributeError as error:
            raise ExecutionError(
                f"{type(self.model).__name__} has no module {dotted!r}, which its declaration in "
                "mechshift_core/models/declared.py or an extension names"
            ) from error

    def norm(self, path: str, layer: int | None = None) -> Norm:
        """The norm at a declared path."""
        return Norm.of(self.module(path, layer))

    def split(self, path: str, features: Tensor) -> dict[Role, Tensor]:
        """A projection module's features, [..., features], by role: each [..., heads, head_size], a view."""
        roles = self._roles(path)
        if len(roles) > 1 and self.declaration.fusion == "interleaved":
            by_head = features.unflatten(-1, (-1, len(roles), self.shape.head_size))
            return {role: by_head[..., number, :] for number, role in enumerate(roles)}
        heads = [self.heads(role) for role in roles]
        parts = features.unflatten(-1, (-1, self.shape.head_size)).split(heads, dim=-2)
        return dict(zip(roles, parts, strict=True))

    def join(self, path: str, parts: Mapping[Role, Tensor]) -> Tensor:
        """The features of a projection module, [..., features], from those of its roles: the inverse of `split`."""
        roles = self._roles(path)
        if len(roles) > 1 and self.declaration.fusion == "interleaved":
            return torch.stack([parts[role] for role in roles], dim=-2).flatten(-3)
        return torch.cat([parts[role] for role in roles], dim=-2).flatten(-2)

    def heads(self, role: Role) -> int:
        """Number of query heads, or of key/value heads."""
        return self.shape.heads if role == "q" else self.shape.key_value_heads

    def projection(self, layer: int, role: Role) -> tuple[Tensor, Tensor | None]:
        """Weight [heads, head_size, hidden] and bias [heads, head_size] or None of a role's projection."""
        path = self.declaration.attention_projections[role]
        module = self.module(path, layer)
        weight: Tensor = module.weight.detach()
        weight = weight if self.declaration.transposed else weight.T  # [hidden, features]
        bias = None if module.bias is None else self.split(path, module.bias.detach())[role]
        return self.split(path, weight)[role].permute(1, 2, 0), bias

    def output_weight(self, layer: int) -> Tensor:
        """W_O as [heads, head_size, hidden]: head h contributes `z_h @ W_O[h]`.

        Where a norm follows the attention output, its weight is part of W_O, and `z` is to be scaled by
        :meth:`head_scale`.
        """
        declared, shape = self.declaration, self.shape
        weight: Tensor = self.module(declared.attention_output, layer).weight.detach()
        weight = weight if declared.transposed else weight.T
        weight = weight.reshape(shape.heads, shape.head_size, shape.hidden_size)
        if declared.attention_post_norm is None:
            return weight
        return (widened(weight) * widened(self.norm(declared.attention_post_norm, layer).weight)).to(weight.dtype)

    def output_bias(self, layer: int) -> Tensor | None:
        """Bias of an attention output, [hidden], which no head writes; None where there is none."""
        bias: Tensor | None = self.module(self.declaration.attention_output, layer).bias
        return None if bias is None else bias.detach()

    def head_scale(self, layer: int, output: Tensor) -> Tensor | None:
        """What the norm behind an attention output divides it by, inverted, [..., 1]; None without such a norm.

        A norm of a sum of heads is not a sum over heads, but at the scale that the whole output gives it is.

        Args:
            layer: The block.
            output: The attention output before the norm, [..., hidden].
        """
        path = self.declaration.attention_post_norm
        return None if path is None else self.norm(path, layer).scale(output)

    def _roles(self, path: str) -> list[Role]:
        return [role for role in ROLES if self.declaration.attention_projections[role] == path]
