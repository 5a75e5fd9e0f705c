"""Statistics of circuit comparisons: arrays in, frozen results out; knows no models, no specs and no reports.

The names below are the public interface. They are imported on first use, so that `stats.findings` (the results, plain
dataclasses) can be read without loading the numerical libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stats.alignment import Alignment, output_alignment
    from stats.calibration import Calibration
    from stats.cka import LinearCKA, linear_cka, mean_linear_cka
    from stats.class_selectivity import Selectivity, selectivity
    from stats.component_use import pooled_use
    from stats.concentration import Concentration
    from stats.confidence import Reliability, brier_scores, reliability
    from stats.debiased import debiased_interaction_share, debiased_specialization
    from stats.decision import AnswerPaths, DecisionTimes, answer_paths, decision_times
    from stats.depth import centroid, depth_slope, early_share, layer_shares, scaled_depth
    from stats.discovery import edge_auroc, recovery_at_size
    from stats.distances import cosine_distance, kl_divergence
    from stats.faithfulness import FaithfulnessCurve, RatioEstimate, TransferRatio, faithfulness_curve, transfer_ratio
    from stats.graph_measures import (
        global_efficiency,
        louvain_modules,
        modularity,
        participation_coefficient,
        relative_efficiency,
    )
    from stats.graph_nulls import (
        GraphIndex,
        GraphMeasures,
        efficiency_replicates,
        measure_graph,
        module_replicates,
        random_graph,
    )
    from stats.hypothesis_tests import (
        TestResult,
        difference_test,
        equivalence_test,
        non_inferiority,
        permutation_test,
        tost,
    )
    from stats.inequality import gini, hoyer, inequality_index, largest_share, normalized_entropy, participation_ratio
    from stats.integration import Integration, interaction_ratio, interaction_ratio_replicates, interactions
    from stats.jackknife import Jackknifed
    from stats.layer_shift import centred_log_ratio, shift_frame, slope_frame, two_stage_slope
    from stats.means import MeanIntervals, mean_intervals
    from stats.mixed_contrasts import MarginalContrast, marginal_contrasts
    from stats.mixed_effects import fit_mixed_model
    from stats.mixed_results import FitDiagnostics, MixedModelFit
    from stats.multiplicity import benjamini_hochberg, holm
    from stats.node_sets import EdgeNodes, node_permutation_null
    from stats.overlap import (
        jaccard,
        overlap_replicates,
        rank_overlap,
        stratified_permutation_null,
        top_k,
        weighted_jaccard,
    )
    from stats.percentile_tests import percentile_difference, percentile_non_inferiority, percentile_tost
    from stats.plain_overlap import BetweenOverlap, between_overlap
    from stats.prompt_means import mean_replicates
    from stats.rates import Rate, binomial_rate, clustered_rate, minimal_detectable
    from stats.replicates import Contrast, Replicated, linear_contrast, paired_difference
    from stats.resampling import Interval, bootstrap_interval
    from stats.retention import Retention, retention_index
    from stats.shapley import (
        Interactions,
        OrderShares,
        all_combinations,
        order_share_replicates,
        order_shares,
        shapley_interactions,
    )
    from stats.shapley_sampling import estimated_interactions, sampled_combinations
    from stats.shift_contrasts import SlopeContrast, slope_contrasts
    from stats.similarity import Similarity, score_similarity
    from stats.sized_halves import OverlapAtSize, overlap_by_prompts
    from stats.specialization import Specialization, index_replicates, sign_flip_null, specializations
    from stats.split_half import SplitHalfOverlap, split_half_overlap
    from stats.stability import Stability, selection_stability
    from stats.threshold_free import ThresholdFree, threshold_free_overlap
    from stats.trimmed import Trimmed, trimmed_mean
    from stats.unit_weights import cluster_weights, crossed_weights, nested_weights, resampling_weights
    from stats.verdicts import claim_verdict
    from stats.weight_path import PathBarrier, path_barrier

__all__ = [
    "Alignment",
    "AnswerPaths",
    "BetweenOverlap",
    "Calibration",
    "Concentration",
    "Contrast",
    "DecisionTimes",
    "EdgeNodes",
    "FaithfulnessCurve",
    "FitDiagnostics",
    "GraphIndex",
    "GraphMeasures",
    "Integration",
    "Interactions",
    "Interval",
    "Jackknifed",
    "LinearCKA",
    "MarginalContrast",
    "MeanIntervals",
    "MixedModelFit",
    "OrderShares",
    "OverlapAtSize",
    "PathBarrier",
    "Rate",
    "RatioEstimate",
    "Reliability",
    "Replicated",
    "Retention",
    "Selectivity",
    "Similarity",
    "SlopeContrast",
    "Specialization",
    "SplitHalfOverlap",
    "Stability",
    "TestResult",
    "ThresholdFree",
    "TransferRatio",
    "Trimmed",
    "all_combinations",
    "answer_paths",
    "benjamini_hochberg",
    "between_overlap",
    "binomial_rate",
    "bootstrap_interval",
    "brier_scores",
    "centred_log_ratio",
    "centroid",
    "claim_verdict",
    "cluster_weights",
    "clustered_rate",
    "cosine_distance",
    "crossed_weights",
    "debiased_interaction_share",
    "debiased_specialization",
    "decision_times",
    "depth_slope",
    "difference_test",
    "early_share",
    "edge_auroc",
    "efficiency_replicates",
    "equivalence_test",
    "estimated_interactions",
    "faithfulness_curve",
    "fit_mixed_model",
    "gini",
    "global_efficiency",
    "holm",
    "hoyer",
    "index_replicates",
    "inequality_index",
    "interaction_ratio",
    "interaction_ratio_replicates",
    "interactions",
    "jaccard",
    "kl_divergence",
    "largest_share",
    "layer_shares",
    "linear_cka",
    "linear_contrast",
    "louvain_modules",
    "marginal_contrasts",
    "mean_intervals",
    "mean_linear_cka",
    "mean_replicates",
    "measure_graph",
    "minimal_detectable",
    "modularity",
    "module_replicates",
    "nested_weights",
    "node_permutation_null",
    "non_inferiority",
    "normalized_entropy",
    "order_share_replicates",
    "order_shares",
    "output_alignment",
    "overlap_by_prompts",
    "overlap_replicates",
    "paired_difference",
    "participation_coefficient",
    "participation_ratio",
    "path_barrier",
    "percentile_difference",
    "percentile_non_inferiority",
    "percentile_tost",
    "permutation_test",
    "pooled_use",
    "random_graph",
    "rank_overlap",
    "recovery_at_size",
    "relative_efficiency",
    "reliability",
    "resampling_weights",
    "retention_index",
    "sampled_combinations",
    "scaled_depth",
    "score_similarity",
    "selection_stability",
    "selectivity",
    "shapley_interactions",
    "shift_frame",
    "sign_flip_null",
    "slope_contrasts",
    "slope_frame",
    "specializations",
    "split_half_overlap",
    "stratified_permutation_null",
    "threshold_free_overlap",
    "top_k",
    "tost",
    "transfer_ratio",
    "trimmed_mean",
    "two_stage_slope",
    "weighted_jaccard",
]

_MODULES = {
    "stats.calibration": ("Calibration",),
    "stats.alignment": ("Alignment", "output_alignment"),
    "stats.component_use": ("pooled_use",),
    "stats.concentration": ("Concentration",),
    "stats.debiased": ("debiased_interaction_share", "debiased_specialization"),
    "stats.decision": ("AnswerPaths", "DecisionTimes", "answer_paths", "decision_times"),
    "stats.cka": ("LinearCKA", "linear_cka", "mean_linear_cka"),
    "stats.class_selectivity": ("Selectivity", "selectivity"),
    "stats.depth": ("centroid", "depth_slope", "early_share", "layer_shares", "scaled_depth"),
    "stats.discovery": ("edge_auroc", "recovery_at_size"),
    "stats.distances": ("cosine_distance", "kl_divergence"),
    "stats.faithfulness": (
        "FaithfulnessCurve",
        "RatioEstimate",
        "TransferRatio",
        "faithfulness_curve",
        "transfer_ratio",
    ),
    "stats.graph_measures": (
        "global_efficiency",
        "louvain_modules",
        "modularity",
        "participation_coefficient",
        "relative_efficiency",
    ),
    "stats.graph_nulls": (
        "GraphIndex",
        "GraphMeasures",
        "efficiency_replicates",
        "measure_graph",
        "module_replicates",
        "random_graph",
    ),
    "stats.hypothesis_tests": (
        "TestResult",
        "difference_test",
        "equivalence_test",
        "non_inferiority",
        "permutation_test",
        "tost",
    ),
    "stats.inequality": (
        "gini",
        "hoyer",
        "inequality_index",
        "largest_share",
        "normalized_entropy",
        "participation_ratio",
    ),
    "stats.integration": ("Integration", "interaction_ratio", "interaction_ratio_replicates", "interactions"),
    "stats.jackknife": ("Jackknifed",),
    "stats.layer_shift": ("centred_log_ratio", "shift_frame", "slope_frame", "two_stage_slope"),
    "stats.mixed_contrasts": ("MarginalContrast", "marginal_contrasts"),
    "stats.means": ("MeanIntervals", "mean_intervals"),
    "stats.mixed_effects": ("fit_mixed_model",),
    "stats.mixed_results": ("FitDiagnostics", "MixedModelFit"),
    "stats.multiplicity": ("benjamini_hochberg", "holm"),
    "stats.node_sets": ("EdgeNodes", "node_permutation_null"),
    "stats.overlap": (
        "jaccard",
        "overlap_replicates",
        "rank_overlap",
        "stratified_permutation_null",
        "top_k",
        "weighted_jaccard",
    ),
    "stats.percentile_tests": ("percentile_difference", "percentile_non_inferiority", "percentile_tost"),
    "stats.plain_overlap": ("BetweenOverlap", "between_overlap"),
    "stats.prompt_means": ("mean_replicates",),
    "stats.rates": ("Rate", "binomial_rate", "clustered_rate", "minimal_detectable"),
    "stats.confidence": ("Reliability", "brier_scores", "reliability"),
    "stats.replicates": ("Contrast", "Replicated", "linear_contrast", "paired_difference"),
    "stats.resampling": ("Interval", "bootstrap_interval"),
    "stats.retention": ("Retention", "retention_index"),
    "stats.shapley": (
        "Interactions",
        "OrderShares",
        "all_combinations",
        "order_share_replicates",
        "order_shares",
        "shapley_interactions",
    ),
    "stats.shapley_sampling": ("estimated_interactions", "sampled_combinations"),
    "stats.shift_contrasts": ("SlopeContrast", "slope_contrasts"),
    "stats.similarity": ("Similarity", "score_similarity"),
    "stats.sized_halves": ("OverlapAtSize", "overlap_by_prompts"),
    "stats.specialization": ("Specialization", "index_replicates", "sign_flip_null", "specializations"),
    "stats.split_half": ("SplitHalfOverlap", "split_half_overlap"),
    "stats.stability": ("Stability", "selection_stability"),
    "stats.threshold_free": ("ThresholdFree", "threshold_free_overlap"),
    "stats.trimmed": ("Trimmed", "trimmed_mean"),
    "stats.unit_weights": ("cluster_weights", "crossed_weights", "nested_weights", "resampling_weights"),
    "stats.verdicts": ("claim_verdict",),
    "stats.weight_path": ("PathBarrier", "path_barrier"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'stats' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
