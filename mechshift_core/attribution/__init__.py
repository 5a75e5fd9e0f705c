"""Edge attribution and circuit evaluation on loaded models."""

from __future__ import annotations

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.circuits import evaluate_circuits
from mechshift_core.attribution.edges import EdgeScores, attribute_edges
from mechshift_core.graph import Graph

__all__ = ["CounterfactualBatch", "EdgeScores", "Graph", "attribute_edges", "evaluate_circuits"]
