"""Whether two tensors agree up to rounding, and who is to blame where a model does not do what is declared of it."""

from __future__ import annotations

import torch
from torch import Tensor

from mechshift_core.errors import ExecutionError
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest error, relative to the values that are compared."""
ROUNDINGS = 16
"""Units in the last place by which a residual stream of many layers can be off."""


def compare(
    model: Model,
    found: Tensor,
    expected: Tensor,
    what: str,
    *,
    subtracted: Tensor | float = 0.0,
    strict: bool = False,
) -> None:
    """Refuse a model where two tensors differ by more than rounding.

    In float32 and float64 every value must agree; in half precision, where the rounding of every layer adds up, the
    typical one, unless `strict`.

    Args:
        model: The model.
        found: What came.
        expected: What should have come.
        what: What is wrong if they differ.
        subtracted: Magnitude of the values of which `found` is a difference: their rounding is in it.
        strict: Whether every value must agree in half precision too: where no rounding of earlier layers is in it.

    Raises:
        ExecutionError: with `what`, and how far it is off.
    """
    found, expected = widened(found), widened(expected)
    dtype = next(model.module.parameters()).dtype
    rounding = ROUNDINGS * torch.finfo(dtype).eps * torch.as_tensor(subtracted)
    error, scale = ((found - expected).abs() - rounding).clamp(min=0), expected.abs()
    every = strict or dtype in (torch.float64, torch.float32) or expected.ndim == 1
    reduced = torch.max if every else torch.median
    off, reached = float(reduced(error)), float(reduced(scale))
    if not off <= TOLERANCE[dtype] * max(reached, 1e-6):
        raise ExecutionError(f"{blame(model)}: {what} (off by {off:.2g} where values reach {reached:.2g})")


def blame(model: Model) -> str:
    """Begins a message about a declaration that does not hold."""
    return (
        f"{model.source}: the declaration of {type(model.module).__name__} in mechshift_core/models/architectures.py "
        "does not fit this version of it"
    )
