"""Architectures, each declared in one place: where a block's norms, projections and outputs are.

Everything that attributes or patches goes through a declaration and :class:`ArchitectureView`, never through the
attribute names of a Transformers class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.graph import ROLES, Role, Shape
from mechshift_core.models.sources import graph_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Module paths of a pre-norm decoder; block paths are relative to a block.

    Attributes:
        embedding: Token embedding; its output is the source `input`.
        attention_projections: Module that projects to queries, keys and values, by role; one module under several
            roles is fused, its output the concatenation of queries, keys and values.
        attention_output: Maps the concatenated head outputs to the residual stream.
        transposed: Whether projections store their weight as [in, out] (GPT-2's Conv1D).
    """

    embedding: str
    blocks: str
    attention_norm: str
    attention_projections: dict[Role, str]
    attention_output: str
    mlp_norm: str
    mlp: str
    final_norm: str
    head: str = "lm_head"
    transposed: bool = False


_LLAMA = Architecture(
    embedding="model.embed_tokens",
    blocks="model.layers",
    attention_norm="input_layernorm",
    attention_projections={"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj"},
    attention_output="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    mlp="mlp",
    final_norm="model.norm",
)

ARCHITECTURES: dict[str, Architecture] = {
    "llama": _LLAMA,
    "qwen2": _LLAMA,
    "gpt2": Architecture(
        embedding="transformer.wte",
        blocks="transformer.h",
        attention_norm="ln_1",
        attention_projections={"q": "attn.c_attn", "k": "attn.c_attn", "v": "attn.c_attn"},
        attention_output="attn.c_proj",
        mlp_norm="ln_2",
        mlp="mlp",
        final_norm="transformer.ln_f",
        transposed=True,
    ),
}
"""By `model_type` of the checkpoint's configuration."""


def declaration_of(model_type: object) -> Architecture:
    """The declaration of a `model_type`.

    Raises:
        ExecutionError: if there is none.
    """
    if model_type not in ARCHITECTURES:
        raise ExecutionError(
            f"architecture {model_type!r} is not supported (supported: {', '.join(sorted(ARCHITECTURES))}); declare "
            "where its norms, projections and outputs are in mechshift_core/models/architectures.py"
        )
    return ARCHITECTURES[str(model_type)]


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
        """The module at a declared path, of one block where `layer` is given."""
        return attrgetter(self.path(path, layer))(self.model)

    def path(self, path: str, layer: int | None = None) -> str:
        """The dotted path of a declared module, as `attrgetter` reads it on a model (or its nnsight wrapper)."""
        return path if layer is None else f"{self.declaration.blocks}.{layer}.{path}"

    @cached_property
    def widths(self) -> dict[Role, int]:
        """Output features of each projection role."""
        shape = self.shape
        narrow = shape.key_value_heads * shape.head_size
        return {"q": shape.heads * shape.head_size, "k": narrow, "v": narrow}

    def role_slices(self) -> dict[str, dict[Role, slice]]:
        """Projection module path -> where each role's features lie in that module's output."""
        found: dict[str, dict[Role, slice]] = {}
        for role in ROLES:
            roles = found.setdefault(self.declaration.attention_projections[role], {})
            start = sum(self.widths[r] for r in roles)
            roles[role] = slice(start, start + self.widths[role])
        return found

    def projection(self, layer: int, role: Role) -> tuple[Tensor, Tensor | None]:
        """Weight [heads, head_size, hidden] and bias [heads, head_size] or None of a role's projection."""
        path = self.declaration.attention_projections[role]
        module, part = self.module(path, layer), self.role_slices()[path][role]
        weight: Tensor = module.weight.detach()
        weight = (weight.T if self.declaration.transposed else weight)[part]
        size = self.shape.head_size
        bias = None if module.bias is None else module.bias.detach()[part].reshape(-1, size)
        return weight.reshape(-1, size, self.shape.hidden_size), bias

    def output_weight(self, layer: int) -> Tensor:
        """W_O as [heads, head_size, hidden]: head h contributes `z_h @ W_O[h]`."""
        weight: Tensor = self.module(self.declaration.attention_output, layer).weight.detach()
        weight = weight if self.declaration.transposed else weight.T
        return weight.reshape(self.shape.heads, self.shape.head_size, self.shape.hidden_size)


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm or RMSNorm as numbers.

    Attributes:
        weight: [hidden], and `bias` alike where there is one.
        epsilon: Added to the variance.
        centred: True for LayerNorm, which subtracts the mean.
    """

    weight: Tensor
    epsilon: float
    centred: bool

    @classmethod
    def of(cls, module: nn.Module) -> Norm:
        """Read a norm module (LayerNorm, or a Transformers RMSNorm)."""
        weight: Any = module.weight
        if isinstance(module, nn.LayerNorm):
            bias: Any = module.bias
            return cls(weight.detach(), module.eps, True, None if bias is None else bias.detach())
        epsilon: Any = getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)
        if not type(module).__name__.endswith("RMSNorm") or epsilon is None:
            raise ExecutionError(f"norm {type(module).__name__} is neither a LayerNorm nor a known RMSNorm")
        return cls(weight.detach(), float(epsilon), False)

    bias: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """The norm's output, computed in float32 like the modules do."""
        normal, _ = self._normalise(x)
        result = normal * self.weight.float()
        return (result if self.bias is None else result + self.bias.float()).to(x.dtype)

    def _normalise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.float()
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        return x * scale, scale

    def vector_jacobian(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Gradient at the norm's input.

        With `r = 1/rms` (or 1/std) and `xh` the normalised input, `r (w g - mean(w g) [LayerNorm] - xh mean(xh w g))`.

        Args:
            x: Input of the norm, [..., hidden].
            gradient: Gradient at the norm's output, broadcastable against `x`.
        """
        normal, scale = self._normalise(x)
        weighted = gradient.float() * self.weight.float()
        result = weighted - normal * (weighted * normal).mean(-1, keepdim=True)
        if self.centred:
            result = result - weighted.mean(-1, keepdim=True)
        return scale * result
