"""The barrier on the straight line between two models' weights: how far the loss rises above that of the two ends.

At the point p of the path, from 0 (before) to 1 (after), with L the mean loss of a model over prompts,

    excess(p) = L(p) - (1 - p) L(0) - p L(1),        barrier = max over p of excess(p).

This is the linear mode connectivity of Frankle et al. 2020 (arXiv 1912.05671), whose instability is the highest loss
minus the mean of that of the ends; for ends with unequal losses the line between the two takes the place of their mean
(Entezari et al. 2022, arXiv 2110.06296). Excess is 0 at both ends, so that a barrier is never below 0.

A maximum over noisy means is too high. For tests each prompt therefore has its excess at the inner point that is the
highest for the *other half* of the prompts (two-fold cross-fitting): the mean of these has no such bias. It is at most
the barrier but for its error, and may be below 0, where the path lies below the line at all points between.

Where several points may be the highest, the two halves' means are dependent: each is taken at a point that the other's
noise chose. With x_j the mean excess of a half at point j and C_jk = E[x_j 1(k is the highest)], where the points are
truly equal their covariance is sum_jk C_jk C_kj, which is above 0. So the standard error of independent prompts is too
small: of flat paths, tests at .05 rejected in .07 to .11 of simulated data sets. `inflation` is the factor that mends
this. It takes all points as equal that are not clearly below the highest one (by three standard errors of their
difference); it is 1 where only one is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import Floats, as_floats, as_members
from stats.seeding import generator

CLEARLY = 3.0
"""Standard errors below the highest point from which another one is not taken to be as high."""
DRAWS = 2000
"""Draws of the means of a half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathBarrier:
    """How far the loss on a path rises above that of its ends.

    Attributes:
        excess: Of each prompt at each point, [points, n]; exactly 0 at the ends.
        height: Largest mean excess over all points, ends included.
        at: The point where it is reached; the first where there are several.
        held_out: Each prompt's excess at the point chosen by the other half [n].
        chosen: The points chosen by the two halves.
        inflation: Factor of the standard error that the mean of `held_out` has as a mean of independent values.
    """

    excess: Floats
    height: float
    at: float
    held_out: Floats
    chosen: tuple[float, float]
    inflation: float


def path_barrier(losses: ArrayLike, *, points: ArrayLike, half: ArrayLike) -> PathBarrier:
    """The barrier of a path; see the module for the formula.

    Args:
        losses: Loss of each prompt at each point, [points, n].
        points: Where on the path [points], rising from 0 to 1, with at least one between.
        half: Whether a prompt is in the first half [n]; there must be some in both.

    Raises:
        ValueError: if shapes do not match, a loss is not finite, the points do not rise from 0 to 1 with one between,
            or a half has no prompt.
    """
    found, at = as_floats(losses, "losses", dimensions=2), as_floats(points, "points", dimensions=1)
    if len(at) != len(found):
        raise ValueError(f"points: expected one for each of {len(found)} rows of losses, got {len(at)}")
    if len(at) < 3 or at[0] != 0 or at[-1] != 1 or (np.diff(at) <= 0).any():
        raise ValueError(f"points: expected rising numbers from 0 to 1 with one between, got {at.tolist()}")
    first = as_members(half, "half")
    if first.shape != (found.shape[1],):
        raise ValueError(f"half: expected one for each of {found.shape[1]} prompts, got shape {first.shape}")
    if first.all() or not first.any():
        raise ValueError("half: expected prompts in both halves, got all in one")
    share = at[:, None]
    excess = (1 - share) * (found - found[0]) + share * (found - found[-1])
    means = excess.mean(axis=1)
    highest = int(means.argmax())
    held_out = np.empty(found.shape[1])
    chosen = []
    for ranking in (first, ~first):
        point = 1 + int(excess[1:-1, ranking].mean(axis=1).argmax())
        held_out[~ranking] = excess[point, ~ranking]
        chosen.append(float(at[point]))
    return PathBarrier(
        excess=excess,
        height=float(means[highest]),
        at=float(at[highest]),
        held_out=held_out,
        chosen=(chosen[0], chosen[1]),
        inflation=_inflation(excess[1:-1]),
    )


def _inflation(excess: Floats) -> float:
    """Root of 1 + covariance / variance of the means of two halves at the points that each other chose.

    Args:
        excess: At the inner points, [points, n].
    """
    n = excess.shape[1]
    means = excess.mean(axis=1)
    below = excess[int(means.argmax())] - excess
    near = below.mean(axis=1) <= CLEARLY * below.std(axis=1, ddof=1) / np.sqrt(n)
    centred = excess[near] - means[near, None]
    covariance = centred @ centred.T
    if len(covariance) < 2 or not covariance.any():
        return 1.0
    values, vectors = np.linalg.eigh(covariance)
    drawn = generator(0, "means of a half", n).standard_normal((DRAWS, len(values)))
    x = drawn @ (vectors * np.sqrt(np.clip(values, 0.0, None))).T
    highest = np.eye(len(values))[x.argmax(axis=1)]  # [draws, points]
    together = x.T @ highest / DRAWS
    variance = float(highest.mean(axis=0) @ np.diag(covariance))
    return float(np.sqrt(1 + max(0.0, float((together * together.T).sum())) / variance)) if variance > 0 else 1.0
