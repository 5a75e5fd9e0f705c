"""Specs: the grammar of a study, read from YAML with every problem at its line and column.

What is here is loaded on first use: the kinds that a grammar is made of import parts of this package themselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechshift_core.kinds.section import Intervention
    from mechshift_core.spec.hypotheses import Contrast, Filter, Hypothesis, HypothesisTest
    from mechshift_core.spec.load import load_model_file, load_spec, load_stored_spec
    from mechshift_core.spec.measures import Measures
    from mechshift_core.spec.models import ModelSpec
    from mechshift_core.spec.pairs import PairSpec
    from mechshift_core.spec.problems import Problem, SpecError
    from mechshift_core.spec.schema import Spec, json_schema
    from mechshift_core.spec.statistics import Statistics
    from mechshift_core.spec.tasks import TaskSpec

__all__ = [
    "Contrast",
    "Filter",
    "Hypothesis",
    "HypothesisTest",
    "Intervention",
    "Measures",
    "ModelSpec",
    "PairSpec",
    "Problem",
    "Spec",
    "SpecError",
    "Statistics",
    "TaskSpec",
    "json_schema",
    "load_model_file",
    "load_spec",
    "load_stored_spec",
]

_HOMES = {
    "kinds.section": ("Intervention",),
    "spec.hypotheses": ("Contrast", "Filter", "Hypothesis", "HypothesisTest"),
    "spec.load": ("load_model_file", "load_spec", "load_stored_spec"),
    "spec.measures": ("Measures",),
    "spec.problems": ("Problem", "SpecError"),
    "spec.pairs": ("PairSpec",),
    "spec.models": ("ModelSpec",),
    "spec.schema": ("Spec", "json_schema"),
    "spec.statistics": ("Statistics",),
    "spec.tasks": ("TaskSpec",),
}


def __getattr__(name: str) -> object:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"mechshift_core.{home}"), name)
