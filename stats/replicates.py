"""Estimates that carry their resampling replicates, and contrasts between them.

Two estimates from the same prompts (two pairs on one task) are dependent, two from different tasks are not. Replicates
keyed by task and example carry the dependence: a contrast is combined replicate by replicate within a task, and
variances add over tasks.

Where the estimates are of models of several training seeds, and seeds are random too, prompts and seeds are crossed:
:mod:`stats.over_seeds` has the variance over seeds, :mod:`stats.two_way` puts it together with that over prompts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stats.checks import ROUNDING, Floats, Integers, is_missing
from stats.concentration import Concentration, concentration
from stats.degrees_of_freedom import satterthwaite
from stats.joint_errors import Errors, analytic_errors, stacked
from stats.options import checked
from stats.over_seeds import Crossed, counted_from, few_seeds, fewest_seeds, with_shared_models
from stats.skewness import SHARE, skewness_of_curved
from stats.two_way import two_way_variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """An estimate with what is needed to combine it with others.

    Attributes:
        label: What it is, for messages.
        estimate: Point estimate.
        replicates: [R], of which the standard deviation is the standard error; None if it has none.
        se: Standard error, with `df` degrees of freedom.
        units: Number of independent units (prompts, or templates).
        influence: For a mean of per-prompt values, each example's (or cluster's) contribution to its error, zero for
            those that are not in it: the sum of squares is se^2, the sum of products the covariance of two means.
        message: Why there is no standard error, where there is none.
        linearised: Whether `influence` is that of a ratio to first order. Tests then leave its skewness
            uncorrected, since what the linearisation leaves out is of the same order.
        strata: Number of the stratum of each example, where the error is that within strata; -1 for those that are not
            in it.
        caution: Why its standard error is not to be trusted, in a clause; empty where nothing speaks against it.
        own: Each example's (or cluster's) value, as a deviation from the mean over n whatever the strata, where values
            that are the same for many are to be noticed (:mod:`stats.concentration`).
        counted: Whether each example's value is one of few from -1 to 1: -1, 0 or 1 where an answer was lost before and
            is not after. Values of mean 0 are then taken as symmetric, and a sample in which all are 0 says little of
            how rare the others are.
        bounded: Whether each example's value has bounds, and most are the same or nearly, as changes of a score are
            that is 0 on most prompts: the skewness of a sample is then as often chance as not. Tests have to hold with
            the correction for it and without.
        curvature: How its standard error depends on the estimate (:func:`stats.skewness.skewness_of_curved`), which
            `bounded` tests of linearised estimates correct for; 0 where it does not.
        references: The estimates of other pairs that it is counted from. Its replicates have their error over prompts;
            that over their training seeds is the same for all that are counted from them.
    """

    label: str
    estimate: float
    replicates: Floats | None
    se: float | None
    df: float
    units: int
    influence: Floats | None = None
    message: str = ""
    linearised: bool = False
    strata: Integers | None = None
    own: Floats | None = None
    caution: str = ""
    counted: bool = False
    bounded: bool = False
    curvature: float = 0.0
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Reference:
    """An estimate of another pair that an estimate is counted from.

    Attributes:
        part: It, with replicates of the same draws.
        slope: Derivative of the estimate with respect to it.
        seed: Training seed of the other pair.
        level: What it is a replication of over the seeds, where an estimate is counted from several levels.
        models: The models of the other pair. Those that share one are not independent.
    """

    part: Replicated
    slope: float
    seed: Hashable
    level: Hashable = ""
    models: frozenset[Hashable] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A weighted sum of estimates.

    Attributes:
        estimate: The weighted sum.
        se: Its standard error; None if it can't be estimated, `message` says why.
        df: Degrees of freedom (Satterthwaite).
        replicates: [R], the weighted sums replicate by replicate; None if a part has none, or training seeds are random
            units: replicates are over prompts alone, and tests by their quantiles would take the seeds as fixed.
        units: Number of independent units in each group, by its smallest part.
        seeds: Number of training seeds, where they are random units, by the cell with the fewest; None where fixed.
        skewness: Of the estimate, for tests to correct for; 0 where not all parts are means of per-prompt values (or
            have a curvature), or training seeds are random units.
        concentration: How the variance is spread over the prompts (or templates) of all groups; None where not all
            parts are means of per-prompt values, training seeds are random units, or there is no variance.
        caution: What speaks against the standard errors of the parts, in a clause; empty where nothing does.
        counted: Whether all parts are of values -1, 0 and 1, so that a test against 0 is of symmetric values.
        bounded: Whether a part is of bounded values, so that tests have to hold with and without the skewness.
    """

    estimate: float
    se: float | None
    df: float | None
    replicates: Floats | None
    units: tuple[int, ...]
    message: str = ""
    seeds: int | None = None
    skewness: float = 0.0
    concentration: Concentration | None = None
    caution: str = ""
    counted: bool = False
    bounded: bool = False

    def skewness_at(self, null: float) -> float:
        """What a difference from a null value is corrected for: nothing where that makes the values symmetric.

        Of values -1, 0 and 1, of which few are not 0, the skewness of the sample is chance: with it, tests of no
        difference rejected in up to .10 of data sets at .05, without it in .053 at most (both counted exactly).
        """
        return 0.0 if self.counted and null == 0 else self.skewness


@checked
def linear_contrast(
    parts: Sequence[Replicated],
    weights: Sequence[float],
    groups: Sequence[Hashable],
    *,
    seeds: Sequence[Hashable] | None = None,
    cells: Sequence[Hashable] | None = None,
) -> Contrast:
    """The weighted sum of estimates, with a standard error that knows which of them share prompts.

    Within a group (a task) the variance is that of the combined replicates, or, if all parts of the contrast are means
    of per-prompt values, the sum of squares of the combined influence: for a difference of two means over the same
    prompts exactly the variance of the paired t-test. Variances (and third cumulants) add over groups; degrees of
    freedom are Satterthwaite's, (sum_g v_g)^2 / sum_g (v_g^2 / df_g) with df_g the smallest df in the group.

    With `seeds` the variance is over training seeds too, and the degrees of freedom are those of both: S - 1 where all
    cells come from the same S seeds, Welch's where they come from different ones; below 5 seeds there is no standard
    error, nor where what the estimates are counted from has fewer.
    In simulations of an A/A contrast (two roles, two tasks, 16 or 100 prompts, 5 seeds) the error rate at nominal .05
    was .04 to .06 with seeds that differ, .02 to .04 with seeds that do not; that over prompts alone was .07 to .31
    with seeds that differ.

    Args:
        parts: The estimates. In a group they have the same number of replicates, of the same draws.
        weights: Weight of each part.
        groups: Group of each part; groups are independent of each other.
        seeds: Training seed of each part, where seeds are random; parts of the same seed vary together.
        cells: What each part is a replication of over the seeds, e.g. its role; its group unless given.

    Raises:
        ValueError: if there are no parts, lengths differ, a weight is not finite, or replicates do not pair.
    """
    if not parts or not len(parts) == len(weights) == len(groups):
        raise ValueError(
            f"expected as many weights and groups as parts, got {len(parts)}, {len(weights)}, {len(groups)}"
        )
    for name, labels in (("groups", groups), ("seeds", seeds), ("cells", cells)):
        if labels is not None and len(labels) != len(parts):
            raise ValueError(f"{name}: expected one for each of {len(parts)} parts, got {len(labels)}")
        missing = sum(map(is_missing, labels or ()))
        if missing:
            raise ValueError(f"{name}: expected a label for each part, got {missing} missing of {len(parts)}")
    if not np.isfinite(weights).all():
        raise ValueError(f"weights: expected finite numbers, got {list(weights)}")
    names = list(dict.fromkeys(groups))
    members = [np.array([i for i, group in enumerate(groups) if group == name]) for name in names]
    w = np.asarray(weights, dtype=np.float64)
    estimates = np.array([part.estimate for part in parts])
    units = tuple(min(parts[i].units for i in group) for group in members)
    lacking = _lacking(parts)
    labels = [*zip(groups, groups if cells is None else cells, strict=True)]
    count = None if seeds is None else fewest_seeds(labels, seeds)
    found = Contrast(estimate=float(w @ estimates), se=None, df=None, replicates=None, units=units, seeds=count)
    level = counted_from(parts, w, groups) if seeds is not None else []
    few = few_seeds(count, level)
    if few:
        return replace(found, message="; ".join(filter(None, (few, lacking))))
    if lacking:
        return replace(found, message=lacking)
    errors = [Errors.of([parts[i] for i in group], analytic=analytic_errors(parts)) for group in members]
    variances = np.array([error.variance(w[group]) for error, group in zip(errors, members, strict=True)])
    dfs = np.array(
        [error.df(w[group], [parts[i].df for i in group]) for error, group in zip(errors, members, strict=True)]
    )
    total = float(variances.sum())
    # Never above the sum over groups, but for rounding.
    each = [*zip(variances.tolist(), dfs.tolist(), strict=True)]
    df = min(float(dfs.sum()), satterthwaite(total, each)) if total > 0 else float(dfs.min())
    skewness = _skewness(parts, w, members, errors, total) if total > 0 and count is None else 0.0
    if count is not None and seeds is not None:
        level, fewer = with_shared_models(level)
        every = Crossed(
            fewer=fewer,
            parts=(*parts, *(one.part for one in level)),
            weights=np.concatenate([w, [one.weight for one in level]]),
            groups=(*groups, *(one.group for one in level)),
            cells=(*labels, *(one.cell for one in level)),
            seeds=(*seeds, *(one.seed for one in level)),
        )
        over_seeds, df_seeds, both = every.over_seeds()
        total, df = two_way_variance(total, over_seeds, both, df_first=df, df_second=df_seeds)
    if total == 0 and any(part.counted for part in parts):
        return replace(found, message=_never_seen(min(units)))
    spread = None
    if count is None and analytic_errors(parts) and not any(p.linearised for p in parts):
        added = [
            error.by_unit(w[group], max(parts[i].units for i in group))
            for error, group in zip(errors, members, strict=True)
        ]
        spread = concentration(np.concatenate([both[0] for both in added]), values=[both[1] for both in added])
    return replace(
        found,
        se=float(np.sqrt(total)),
        df=df,
        replicates=_replicates(parts, w) if count is None else None,
        skewness=skewness,
        concentration=spread if total > 0 else None,
        caution="; ".join(dict.fromkeys(part.caution for part in parts if part.caution)),
        counted=all(part.counted for part in parts),
        bounded=any(part.bounded for part in parts),
    )


def _skewness(
    parts: Sequence[Replicated], w: Floats, members: Sequence[Integers], errors: Sequence[Errors], variance: float
) -> float:
    """What tests of the weighted sum correct for; of linearised estimates the dependence of their error on them."""
    if not any(part.linearised for part in parts):
        cumulant = sum(error.third_cumulant(w[group]) for error, group in zip(errors, members, strict=True))
    elif analytic_errors(parts) and any(part.curvature for part in parts):
        cumulant = sum(
            skewness_of_curved(w[group].tolist(), [parts[i].curvature for i in group], error.shared(w[group]))
            for error, group in zip(errors, members, strict=True)
        )
    else:
        return 0.0
    return float(cumulant / variance**1.5)


def _never_seen(units: int) -> str:
    """That what all units have in common is no evidence of no error, where values are counts."""
    most = 1 - 0.05 ** (1 / units)
    return (
        f"all {units} prompts (or templates) have the same value, so there is no standard error: what happened in none "
        f"of {units} may still happen in up to {most:.0%} (95 % bound)"
    )


def paired_difference(first: Replicated, second: Replicated) -> Replicated:
    """An estimate minus another of the same examples, as one estimate: the first in another state, say.

    A contrast of it is the contrast of the two with weights 1 and -1 in one group.

    Raises:
        ValueError: if replicates or contributions do not pair.
    """
    return combined([first, second], [1.0, -1.0], label=f"{first.label} minus {second.label}")


def combined(parts: Sequence[Replicated], weights: Sequence[float], *, label: str) -> Replicated:
    """The weighted sum of estimates of the same examples, as one estimate.

    A contrast of it is the contrast of its parts in one group. Over seeds it is one observation: the trend of a
    trajectory, whose parts weigh more or less by where its models stand.

    Raises:
        ValueError: if replicates or contributions do not pair.
    """
    w = np.asarray(weights, dtype=np.float64)

    def summed(arrays: Sequence[Floats | None], what: str) -> Floats | None:
        if any(one is None for one in arrays):
            return None
        rows = stacked(arrays, what)
        found: Floats = w @ rows
        # What cancels leaves rounding, which is no variance.
        rounding = ROUNDING * float(np.abs(w) @ np.abs(rows).max(axis=1))
        return found if np.abs(found).max(initial=0.0) > rounding else np.zeros_like(found)

    estimates = np.array([part.estimate for part in parts])
    estimate = float(w @ estimates)
    influence = summed([part.influence for part in parts], "examples")
    replicates = summed([part.replicates for part in parts], "replicates")
    se = None
    if influence is not None:
        se = float(np.sqrt(influence @ influence))
    elif replicates is not None and len(replicates) > 1:
        se = float(replicates.std(ddof=1))
    strata = [part.strata for part in parts]
    curvature = 0.0
    if influence is not None and influence.any() and any(part.curvature for part in parts):
        shared = stacked([part.influence for part in parts], "examples") @ influence
        cumulant = skewness_of_curved(w.tolist(), [part.curvature for part in parts], shared)
        curvature = -SHARE / 3 * cumulant / float(influence @ influence) ** 2
    return Replicated(
        label=label,
        estimate=estimate if abs(estimate) > ROUNDING * float(np.abs(w) @ np.abs(estimates)) else 0.0,
        replicates=replicates,
        se=se,
        df=min(part.df for part in parts),
        units=min(part.units for part in parts),
        influence=influence,
        message="; ".join(dict.fromkeys(part.message for part in parts if part.message)),
        linearised=any(part.linearised for part in parts),
        strata=None if any(one is None for one in strata) else stacked(strata, "strata").max(axis=0),
        own=summed([part.own for part in parts], "examples"),
        caution="; ".join(dict.fromkeys(part.caution for part in parts if part.caution)),
        counted=all(part.counted for part in parts),
        bounded=any(part.bounded for part in parts),
        curvature=curvature,
        references=tuple(
            replace(one, slope=weight * one.slope, level=(number, one.level))
            for number, (part, weight) in enumerate(zip(parts, weights, strict=True))
            for one in part.references
        ),
    )


def _lacking(parts: Sequence[Replicated]) -> str:
    """Which parts have no standard error, and why; empty where all have."""
    if analytic_errors(parts):
        return ""
    without = [part for part in parts if part.replicates is None or len(part.replicates) < 2]
    if any(part.message for part in without):
        return "; ".join(f"{part.label}: {part.message or 'no replicates'}" for part in without)
    return f"no replicates: {', '.join(part.label for part in without)}" if without else ""


def _replicates(parts: Sequence[Replicated], weights: Floats) -> Floats | None:
    present = [part.replicates for part in parts if part.replicates is not None]
    return stacked(present, "replicates").T @ weights if len(present) == len(parts) else None
