"""How well edge scores find a circuit that is known: rank quality over all sizes, and recovery at the true size.

Both rank edges by magnitude, as circuits are selected: an edge off the circuit that is scored strongly counts as an
error whatever its sign. Edge-level ROC against a known circuit follows Conmy et al. 2023 (arXiv 2304.14997).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import Booleans, Scores, as_scores, known_labels
from stats.overlap import top_k


def edge_auroc(scores: ArrayLike, truth: ArrayLike) -> float:
    """Area under the ROC curve of |score| as a detector of membership in the true circuit.

    The probability that a random edge of the circuit has a larger magnitude than a random edge off it, ties counting
    half: the Mann-Whitney U statistic over the number of pairs (Hanley & McNeil 1982, Radiology 143, 29-36). From 0 to
    1; 0.5 is chance, and what constant scores give.

    Args:
        scores: [E], finite.
        truth: Membership [E], with at least one edge on the circuit and one off it.

    Raises:
        ValueError: if shapes do not match, a score is not finite, or all edges or none are on the circuit.
    """
    array, member = _known(scores, truth)
    inside = int(np.count_nonzero(member))
    outside = len(member) - inside
    if not inside or not outside:
        raise ValueError(f"truth: expected edges on the circuit and off it, got {inside} on and {outside} off")
    ranks = scipy_stats.rankdata(np.abs(array))
    above = float(ranks[member].sum()) - inside * (inside + 1) / 2
    return above / (inside * outside)


def recovery_at_size(scores: ArrayLike, truth: ArrayLike) -> float:
    """Share of the true circuit among as many edges of the largest |score| as it has.

    At this size precision and recall are equal. From 0 to 1; chance is the circuit's share of all edges. Of edges of
    equal magnitude at the threshold those that come first are taken, so scores without spread say nothing.

    Args:
        scores: [E], finite.
        truth: Membership [E], with at least one edge on the circuit.

    Raises:
        ValueError: if shapes do not match, a score is not finite, or no edge is on the circuit.
    """
    array, member = _known(scores, truth)
    inside = int(np.count_nonzero(member))
    if not inside:
        raise ValueError("truth: expected at least one edge on the circuit, got none")
    return float(np.count_nonzero(top_k(array, inside) & member) / inside)


def _known(scores: ArrayLike, truth: ArrayLike) -> tuple[Scores, Booleans]:
    array, member = as_scores(scores, "scores", dimensions=1), known_labels(truth, "truth")
    if member.dtype != np.bool_ or member.shape != array.shape:
        raise ValueError(
            f"truth: expected one boolean for each of {len(array)} edges, got {member.dtype} of shape {member.shape}"
        )
    return array, member
