"""Edge and node attribution, patching and circuit evaluation on loaded models."""

from __future__ import annotations

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.circuits import evaluate_circuits
from mechshift_core.attribution.cross_model import cross_patch, moved_names
from mechshift_core.attribution.edges import EdgeScores, attribute_edges, edge_score_blocks
from mechshift_core.attribution.frames import metric_frame
from mechshift_core.attribution.nodes import NodeScores, node_names, node_scores, patch_nodes
from mechshift_core.graph import Graph

__all__ = [
    "CounterfactualBatch",
    "EdgeScores",
    "Graph",
    "NodeScores",
    "attribute_edges",
    "cross_patch",
    "edge_score_blocks",
    "evaluate_circuits",
    "metric_frame",
    "moved_names",
    "node_names",
    "node_scores",
    "patch_nodes",
]
