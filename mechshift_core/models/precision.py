"""Number formats of what is computed: sums in float32 or wider, and all that a float64 model does in float64.

Transformers computes norms, softmax and rotary tables in float32 whatever the number format of a model is. Float32 is
rounded differently by the instructions of each processor, so that a float64 model would be no more reproducible than a
float32 one. :func:`keep_double` has it compute in float64 wherever float32 is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def widened(values: Tensor) -> Tensor:
    """Values in float32; float64 stays as it is."""
    return values if values.dtype == torch.float64 else values.float()


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """What :func:`widened` makes of a number format."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class Doubled(TorchFunctionMode):
    """While it is entered, whatever asks for float32 is given float64."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of PyTorch, each float32 among its arguments replaced."""
        func = torch.Tensor.double if func is torch.Tensor.float else func
        replaced = {name: _doubled(value) for name, value in (kwargs or {}).items()}
        return func(*map(_doubled, args), **replaced)


def _doubled(argument: Any) -> Any:
    return torch.float64 if argument is torch.float32 else argument


def keep_double(module: nn.Module) -> None:
    """Have a float64 model compute everything in float64, from now on."""
    forward = module.forward

    @wraps(forward)
    def doubled(*args: Any, **options: Any) -> Any:
        with Doubled():
            return forward(*args, **options)

    module.forward = doubled
