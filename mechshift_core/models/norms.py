"""LayerNorm and RMSNorm as numbers: their output, their scale, their gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.models.precision import widened


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm or RMSNorm as numbers.

    Attributes:
        weight: What the normalised input is multiplied by, [hidden] (for Gemma that is one plus the stored weight);
            `bias` alike where there is one.
        epsilon: Added to the variance.
        centred: True for LayerNorm, which subtracts the mean.
    """

    weight: Tensor
    epsilon: float
    centred: bool
    bias: Tensor | None = None

    @classmethod
    def of(cls, module: nn.Module) -> Norm:
        """Read a norm module (LayerNorm, or a Transformers RMSNorm).

        Raises:
            ExecutionError: for a module that is neither.
        """
        weight: Any = module.weight
        if isinstance(module, nn.LayerNorm):
            bias: Any = module.bias
            return cls(weight.detach(), module.eps, True, None if bias is None else bias.detach())
        name = type(module).__name__
        epsilon: Any = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if not name.endswith("RMSNorm") or epsilon is None:
            raise ExecutionError(f"norm {name} is neither a LayerNorm nor a known RMSNorm")
        multiplier = 1 + widened(weight.detach()) if name.startswith("Gemma") else weight.detach()
        return cls(multiplier, float(epsilon), False)

    def __call__(self, x: Tensor) -> Tensor:
        """The norm's output, computed in float32 like the modules do, of float64 values in float64."""
        normal = self.normalise(x)[0] * widened(self.weight)
        return (normal if self.bias is None else normal + widened(self.bias)).to(x.dtype)

    def normalise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised input, [..., hidden], and what it was multiplied by, 1/std or 1/rms, [..., 1]."""
        x = widened(x)
        if self.centred:
            x = x - x.mean(-1, keepdim=True)
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        return x * scale, scale

    def scale(self, x: Tensor) -> Tensor:
        """1/std or 1/rms of an input, [..., 1]."""
        return self.normalise(x)[1]

    def linear(self, x: Tensor, output: Tensor) -> Tensor:
        """The norm's output, differentiable as if what it multiplies by, 1/std or 1/rms, were a constant.

        Args:
            x: Input of the norm, [..., hidden].
            output: Its output, whose values are kept.
        """
        wide = widened(x)
        if self.centred:
            wide = wide - wide.mean(-1, keepdim=True)
        moving = (wide * self.scale(x).detach() * widened(self.weight)).to(output.dtype)
        return output.detach() + (moving - moving.detach())

    def vector_jacobian(self, x: Tensor, gradient: Tensor, *, frozen: bool = False) -> Tensor:
        """Gradient at the norm's input.

        With `r = 1/rms` (or 1/std) and `xh` the normalised input, `r (w g - mean(w g) [LayerNorm] - xh mean(xh w g))`.

        Args:
            x: Input of the norm, [..., hidden].
            gradient: Gradient at the norm's output, broadcastable against `x`.
            frozen: Whether `r` is taken for a constant, which drops the last term.
        """
        normal, scale = self.normalise(x)
        weighted = widened(gradient) * widened(self.weight)
        result = weighted if frozen else weighted - normal * (weighted * normal).mean(-1, keepdim=True)
        if self.centred:
            result = result - weighted.mean(-1, keepdim=True)
        return scale * result
