"""Specs: the grammar of a study, read from YAML with every problem at its line and column."""

from __future__ import annotations

from mechshift_core.spec.hypotheses import Contrast, Filter, Hypothesis, HypothesisTest
from mechshift_core.spec.interventions import EdgeAttribution, Intervention
from mechshift_core.spec.load import load_model_file, load_spec
from mechshift_core.spec.measures import Depth, Measures, Overlap, Specialization
from mechshift_core.spec.problems import Problem, SpecError
from mechshift_core.spec.schema import ModelSpec, PairSpec, Spec, Statistics, TaskSpec, json_schema

__all__ = [
    "Contrast",
    "Depth",
    "EdgeAttribution",
    "Filter",
    "Hypothesis",
    "HypothesisTest",
    "Intervention",
    "Measures",
    "ModelSpec",
    "Overlap",
    "PairSpec",
    "Problem",
    "Spec",
    "SpecError",
    "Specialization",
    "Statistics",
    "TaskSpec",
    "json_schema",
    "load_model_file",
    "load_spec",
]
