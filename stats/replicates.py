"""Estimates that carry their resampling replicates, and contrasts between them.

Two estimates from the same prompts (two pairs on one task) are dependent, two from different tasks are not. Replicates
keyed by task and example carry the dependence: a contrast is combined replicate by replicate within a task, and
variances add over tasks.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats
from stats.skewness import skewness_of_estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """An estimate with what is needed to combine it with others.

    Attributes:
        label: What it is, for messages.
        estimate: Point estimate.
        replicates: [R], of which the standard deviation is the standard error; None if it has none.
        se: Standard error, with `df` degrees of freedom.
        units: Number of independent units (prompts).
        influence: For a mean of per-prompt values, each example's contribution to its error [total], zero for examples
            that are not in it: the sum of squares is se^2, the sum of products the covariance of two means.
    """

    label: str
    estimate: float
    replicates: Floats | None
    se: float | None
    df: float
    units: int
    influence: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A weighted sum of estimates.

    Attributes:
        estimate: The weighted sum.
        se: Its standard error; None if it can't be estimated, `message` says why.
        df: Degrees of freedom (Satterthwaite).
        replicates: [R], the weighted sums replicate by replicate; None if a part has none.
        units: Number of independent units in each group, by its smallest part.
        skewness: Of the estimate, for tests to correct for; 0 where not all parts are means of per-prompt values.
    """

    estimate: float
    se: float | None
    df: float | None
    replicates: Floats | None
    units: tuple[int, ...]
    message: str = ""
    skewness: float = 0.0


def mean_replicates(
    values: ArrayLike, weights: ArrayLike, *, label: str = "mean", examples: ArrayLike | None = None
) -> Replicated:
    """The mean of per-prompt values with its replicates and its analytic standard error.

    Args:
        values: One value per prompt [n], n >= 2.
        weights: How often each example was drawn in each replicate: [R, n], or [R, total] with `examples`.
        label: What it is.
        examples: Example id of each value [n], the column of `weights` that belongs to it.

    Raises:
        ValueError: if lengths do not match, ids repeat, or a value is not finite.
    """
    x = as_floats(values, "values", dimensions=1)
    drawn = as_floats(weights, "weights", dimensions=2)
    total = drawn.shape[1]
    ids = np.arange(len(x)) if examples is None else np.asarray(examples)
    if examples is None and total != len(x):
        raise ValueError(f"weights: expected a column for each of {len(x)} values, got shape {drawn.shape}")
    if ids.shape != x.shape or len(np.unique(ids)) != len(x) or ids.min() < 0 or ids.max() >= total:
        raise ValueError(f"examples: expected {len(x)} distinct ids from 0 to {total - 1}, got {ids.tolist()[:5]}...")
    if len(x) < 2:
        raise ValueError("values: expected at least 2 prompts for a standard error, got 1")
    mean = float(x.mean())
    residuals = x - mean if np.ptp(x) > 0 else np.zeros_like(x)
    kept = drawn[:, ids]
    counts = kept.sum(axis=1)
    # A replicate in which none of a few prompts was drawn says nothing about them: it keeps the estimate.
    deviations = np.divide(kept @ residuals, counts, out=np.zeros(len(kept)), where=counts > 0)
    influence = np.zeros(total)
    influence[ids] = residuals / np.sqrt(len(x) * (len(x) - 1))
    return Replicated(
        label=label,
        estimate=mean,
        replicates=mean + deviations,
        se=float(np.linalg.norm(influence)),
        df=len(x) - 1,
        units=len(x),
        influence=influence,
    )


def linear_contrast(parts: Sequence[Replicated], weights: Sequence[float], groups: Sequence[Hashable]) -> Contrast:
    """The weighted sum of estimates, with a standard error that knows which of them share prompts.

    Within a group (a task) the variance is that of the combined replicates, or, if all parts of the contrast are means
    of per-prompt values, the sum of squares of the combined influence: for a difference of two means over the same
    prompts exactly the variance of the paired t-test. Variances (and third cumulants) add over groups; degrees of
    freedom are Satterthwaite's, (sum_g v_g)^2 / sum_g (v_g^2 / df_g) with df_g the smallest df in the group.

    Args:
        parts: The estimates. In a group they have the same number of replicates, of the same draws.
        weights: Weight of each part.
        groups: Group of each part; groups are independent of each other.

    Raises:
        ValueError: if there are no parts, lengths differ, a weight is not finite, or replicates do not pair.
    """
    if not parts or not len(parts) == len(weights) == len(groups):
        raise ValueError(
            f"expected as many weights and groups as parts, got {len(parts)}, {len(weights)}, {len(groups)}"
        )
    if not np.isfinite(weights).all():
        raise ValueError(f"weights: expected finite numbers, got {list(weights)}")
    names = list(dict.fromkeys(groups))
    members = [[i for i, group in enumerate(groups) if group == name] for name in names]
    estimate = float(sum(w * part.estimate for w, part in zip(weights, parts, strict=True)))
    units = tuple(min(parts[i].units for i in group) for group in members)
    replicates = _combine([part.replicates for part in parts], weights, "replicates")
    analytic = all(part.influence is not None for part in parts)
    variances, third = np.zeros(len(members)), 0.0
    for g, group in enumerate(members):
        chosen = [weights[i] for i in group]
        if analytic:
            influence = _combine([parts[i].influence for i in group], chosen, "examples")
            assert influence is not None
            variances[g] = influence @ influence
            third += skewness_of_estimate(influence) * float(variances[g]) ** 1.5
        else:
            combined = _combine([parts[i].replicates for i in group], chosen, "replicates")
            if combined is None or len(combined) < 2:
                bare = [parts[i].label for i in group if parts[i].replicates is None and parts[i].influence is None]
                lacking = ", ".join(bare or [parts[i].label for i in group])
                return Contrast(
                    estimate=estimate,
                    se=None,
                    df=None,
                    replicates=None,
                    units=units,
                    message=f"no replicates: {lacking}",
                )
            variances[g] = combined.var(ddof=1) if np.ptp(combined) > 0 else 0.0
    dfs = np.array([min(parts[i].df for i in group) for group in members], dtype=np.float64)
    total = float(variances.sum())
    # Never above the sum over groups, but for rounding.
    df = min(float(dfs.sum()), total**2 / float((variances**2 / dfs).sum())) if total > 0 else float(dfs.min())
    return Contrast(
        estimate=estimate,
        se=float(np.sqrt(total)),
        df=df,
        replicates=replicates,
        units=units,
        skewness=third / total**1.5 if total > 0 else 0.0,
    )


def _combine(arrays: Sequence[Floats | None], weights: Sequence[float], what: str) -> Floats | None:
    present = [array for array in arrays if array is not None]
    if len(present) < len(arrays):
        return None
    if len({len(array) for array in present}) > 1:
        raise ValueError(f"{what}: expected the same number in every part, got {[len(array) for array in present]}")
    return np.asarray(np.asarray(weights, dtype=np.float64) @ np.stack(present))
