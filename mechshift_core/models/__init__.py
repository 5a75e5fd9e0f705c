"""Models: loading, what is proven of them, and one description per architecture.

Loaded on first use: finding and hashing a checkpoint (`sources`) needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.models.load import Model, load_model

__all__ = ["Model", "load_model"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mechshift_core.models import load

    return getattr(load, name)
