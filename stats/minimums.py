"""How few are too few: the least numbers of units, replicates and permutations, each in one place with its reason."""

from __future__ import annotations

import math

MINIMUM_CLUSTERS = 5
"""Independent units (prompts, or templates, or training seeds) below which there is no interval and no test.

The one minimum of the package. With four units nominal 95 % intervals cover far less whatever the method, and a sign
test can't reach .05 (its smallest p is 1/8). A measure that compares halves of the prompts needs it in each half."""
MINIMUM_PROMPTS = 2 * MINIMUM_CLUSTERS
"""Prompts below which a measure on halves of them has no interval: `MINIMUM_CLUSTERS` in each half."""
TAIL_REPLICATES = 100
"""Bootstrap replicates below which no test is decided by their quantiles, whatever the level."""


def fewest_replicates(confidence: float) -> int:
    """Bootstrap replicates that an interval at a confidence needs: 2 / (1 - confidence), 40 at .95 and 2000 at .999.

    So many that one of them is expected beyond each end. With fewer the ends are the extreme replicates whatever the
    confidence (Davison & Hinkley 1997, section 5.2.3; R's `boot.ci` warns of extreme order statistics). That is the
    least there can be: a few thousand give ends that hardly depend on the seed.
    """
    return math.ceil(round(2 / (1 - confidence), 6))


def enough_replicates(replicates: int, confidence: float, *, fewest: int = 2, name: str = "replicates") -> int:
    """The replicates, if they are enough for an interval at a confidence.

    Raises:
        ValueError: if not.
    """
    needed = fewest_replicates(confidence)
    if replicates < needed:
        raise ValueError(
            f"{name}: expected at least {needed} for a confidence of {confidence:g} (2 / (1 - confidence)), got "
            f"{replicates}: the ends of an interval would be the extreme replicates whatever the confidence"
        )
    if replicates < fewest:
        raise ValueError(f"{name}: expected at least {fewest}, got {replicates}")
    return int(replicates)


def fewest_permutations(level: float) -> int:
    """Random permutations with which a p-value of (1 + b) / (1 + B) can reach a level, and 2.5 % quantiles exist."""
    return max(fewest_replicates(0.95), math.ceil(round(1 / level, 6)) - 1)


def enough_permutations(permutations: int, *, level: float = 0.05, name: str = "permutations") -> int:
    """The permutations, if a p-value from them can reach a level.

    Raises:
        ValueError: if not.
    """
    needed = fewest_permutations(level)
    if permutations < needed:
        raise ValueError(
            f"{name}: expected at least {needed}, got {permutations}: no p-value could be below "
            f"{1 / (1 + max(0, permutations)):.3g}, and chance would have no 2.5 % quantile"
        )
    return int(permutations)


def smallest_p(replicates: int, *, two_sided: bool = False, family: int = 1) -> float:
    """The smallest p-value that so many replicates or permutations can give, times the number of tests of a family."""
    return min(1.0, (2 if two_sided else 1) * family / (1 + replicates))


FEWEST_FOR_SPREAD = 2
"""Prompts below which there is no spread, and no prompt for each half: nothing is estimated."""
FEWEST_FOR_FOLDS = 4
"""Prompts below which circuits and groups of components are not chosen on one half and run on the other."""
FEWEST_IN_HALF = 4
"""Prompts in a half, and of an answer, below which nothing is said of single neurons."""
