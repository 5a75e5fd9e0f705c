"""Statistics of circuit comparisons: arrays in, frozen results out; knows no models, no specs and no reports.

The names below are the public interface. They are imported on first use, so that `stats.findings` (the results, plain
dataclasses) can be read without loading the numerical libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stats.depth import centroid, depth_slope, early_share, layer_shares, scaled_depth
    from stats.discovery import edge_auroc, recovery_at_size
    from stats.faithfulness import FaithfulnessCurve, RatioEstimate, TransferRatio, faithfulness_curve, transfer_ratio
    from stats.hypothesis_tests import (
        TestResult,
        difference_test,
        equivalence_test,
        non_inferiority,
        permutation_test,
        tost,
    )
    from stats.integration import Integration, interaction_ratio, interaction_ratio_replicates, interactions
    from stats.layer_shift import centred_log_ratio, shift_frame, two_stage_slope
    from stats.means import MeanIntervals, mean_intervals
    from stats.mixed_effects import fit_mixed_model
    from stats.mixed_results import FitDiagnostics, MixedModelFit
    from stats.multiplicity import benjamini_hochberg, holm
    from stats.overlap import jaccard, rank_overlap, stratified_permutation_null, top_k, weighted_jaccard
    from stats.replicates import Contrast, Replicated, linear_contrast, mean_replicates
    from stats.resampling import Interval, bootstrap_interval, resampling_weights
    from stats.retention import Retention, retention_index
    from stats.specialization import Specialization, gini, gini_replicates
    from stats.split_half import SplitHalfOverlap, split_half_overlap
    from stats.verdicts import difference_verdict, equivalence_verdict

__all__ = [
    "Contrast",
    "FaithfulnessCurve",
    "FitDiagnostics",
    "Integration",
    "Interval",
    "MeanIntervals",
    "MixedModelFit",
    "RatioEstimate",
    "Replicated",
    "Retention",
    "Specialization",
    "SplitHalfOverlap",
    "TestResult",
    "TransferRatio",
    "benjamini_hochberg",
    "bootstrap_interval",
    "centred_log_ratio",
    "centroid",
    "depth_slope",
    "difference_test",
    "difference_verdict",
    "early_share",
    "edge_auroc",
    "equivalence_test",
    "equivalence_verdict",
    "faithfulness_curve",
    "fit_mixed_model",
    "gini",
    "gini_replicates",
    "holm",
    "interaction_ratio",
    "interaction_ratio_replicates",
    "interactions",
    "jaccard",
    "layer_shares",
    "linear_contrast",
    "mean_intervals",
    "mean_replicates",
    "non_inferiority",
    "permutation_test",
    "rank_overlap",
    "recovery_at_size",
    "resampling_weights",
    "retention_index",
    "scaled_depth",
    "shift_frame",
    "split_half_overlap",
    "stratified_permutation_null",
    "top_k",
    "tost",
    "transfer_ratio",
    "two_stage_slope",
    "weighted_jaccard",
]

_MODULES = {
    "stats.depth": ("centroid", "depth_slope", "early_share", "layer_shares", "scaled_depth"),
    "stats.discovery": ("edge_auroc", "recovery_at_size"),
    "stats.faithfulness": (
        "FaithfulnessCurve",
        "RatioEstimate",
        "TransferRatio",
        "faithfulness_curve",
        "transfer_ratio",
    ),
    "stats.hypothesis_tests": (
        "TestResult",
        "difference_test",
        "equivalence_test",
        "non_inferiority",
        "permutation_test",
        "tost",
    ),
    "stats.integration": ("Integration", "interaction_ratio", "interaction_ratio_replicates", "interactions"),
    "stats.layer_shift": ("centred_log_ratio", "shift_frame", "two_stage_slope"),
    "stats.means": ("MeanIntervals", "mean_intervals"),
    "stats.mixed_effects": ("fit_mixed_model",),
    "stats.mixed_results": ("FitDiagnostics", "MixedModelFit"),
    "stats.multiplicity": ("benjamini_hochberg", "holm"),
    "stats.overlap": ("jaccard", "rank_overlap", "stratified_permutation_null", "top_k", "weighted_jaccard"),
    "stats.replicates": ("Contrast", "Replicated", "linear_contrast", "mean_replicates"),
    "stats.resampling": ("Interval", "bootstrap_interval", "resampling_weights"),
    "stats.retention": ("Retention", "retention_index"),
    "stats.specialization": ("Specialization", "gini", "gini_replicates"),
    "stats.split_half": ("SplitHalfOverlap", "split_half_overlap"),
    "stats.verdicts": ("difference_verdict", "equivalence_verdict"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'stats' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
