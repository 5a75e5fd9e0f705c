"""Compare the circuits of a language model before and after post-training, with statistics that hold.

Everything here is loaded on first use, so that importing the package costs nothing. What is not here is internal, but
for :mod:`mechshift_core.extending`, of which kinds of your own are made.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core import plot
    from mechshift_core.attribution import (
        CounterfactualBatch,
        EdgeScores,
        attribute_edges,
        evaluate_circuits,
        metric_frame,
    )
    from mechshift_core.errors import MechshiftError
    from mechshift_core.loading import load_model
    from mechshift_core.models import Model
    from mechshift_core.opening import open_run
    from mechshift_core.pipeline import Run, analyze, calibrate, report, run
    from mechshift_core.spec import Spec, SpecError, load_spec

__version__ = "0.1.0"

_HOMES = {
    "CounterfactualBatch": "attribution",
    "EdgeScores": "attribution",
    "MechshiftError": "errors",
    "Model": "models",
    "Run": "pipeline",
    "Spec": "spec",
    "SpecError": "spec",
    "analyze": "pipeline",
    "attribute_edges": "attribution",
    "calibrate": "pipeline",
    "evaluate_circuits": "attribution",
    "load_model": "loading",
    "load_spec": "spec",
    "metric_frame": "attribution",
    "open_run": "opening",
    "report": "pipeline",
    "run": "pipeline",
}

__all__ = [
    "CounterfactualBatch",
    "EdgeScores",
    "MechshiftError",
    "Model",
    "Run",
    "Spec",
    "SpecError",
    "__version__",
    "analyze",
    "attribute_edges",
    "calibrate",
    "evaluate_circuits",
    "load_model",
    "load_spec",
    "metric_frame",
    "open_run",
    "plot",
    "report",
    "run",
]


def __getattr__(name: str) -> object:
    if name == "plot":
        return importlib.import_module("mechshift_core.plot")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"mechshift_core.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({"__doc__", "__version__", "plot", *_HOMES})
