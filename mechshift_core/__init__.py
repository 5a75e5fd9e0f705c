"""Compare the circuits of a language model before and after post-training, with statistics that hold.

The public API is loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.attribution import CounterfactualBatch, attribute_edges, evaluate_circuits
    from mechshift_core.loading import load_model
    from mechshift_core.pipeline import run
    from mechshift_core.spec import load_spec

__version__ = "0.1.0"

__all__ = [
    "CounterfactualBatch",
    "__version__",
    "attribute_edges",
    "evaluate_circuits",
    "load_model",
    "load_spec",
    "run",
]

_HOMES = {
    "CounterfactualBatch": "mechshift_core.attribution",
    "attribute_edges": "mechshift_core.attribution",
    "evaluate_circuits": "mechshift_core.attribution",
    "load_model": "mechshift_core.loading",
    "load_spec": "mechshift_core.spec",
    "run": "mechshift_core.pipeline",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
