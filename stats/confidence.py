"""How far a model's probabilities can be believed: Brier scores, and confidence against accuracy in bins.

The **Brier score** of a prompt (Brier 1950, Monthly Weather Review 78, 1-3) is the squared distance of the predicted
distribution from what is the case, 0 to 2. Where several tokens are answers they are one outcome, whose probability is
the sum of theirs. It is lowest on average for the true probabilities, and it needs no bins.

**Calibration**: of the prompts on which the most likely token has probability p, a share p should be right. The
expected calibration error (ECE; Naeini et al. 2015; with bins of equal numbers, Nixon et al. 2019, arXiv 1904.01685)
is the mean over bins of |accuracy - confidence|. It is above 0 even for a perfectly calibrated model, the more so the
fewer prompts a bin has. Two things say what it is worth:

- its null: the same with the outcome of each prompt drawn anew with the probability that the model gave it (consistency
  resampling; Bröcker & Smith 2007, Weather and Forecasting 22, 651-661);
- the squared error, from which each bin's sampling variance is taken, so that it is 0 on average for a calibrated model
  and may be negative (after Kumar et al. 2019, arXiv 1909.10155; the variance is that of right minus confidence, since
  prompts of a bin differ in confidence: that of right alone would take too much).

Where templates are the independent units, the prompts of one are right or wrong together: a bin of 20 prompts of two
templates says about as much as one of two prompts. Bands are then those of the effective number of prompts (Korn &
Graubard 1998, :func:`.clustered_rate`), variances those over templates, and the null flips the signs of all deviations
of a template at once, of right from confidence (a wild cluster bootstrap with the null imposed: Cameron, Gelbach &
Miller 2008, Review of Economics and Statistics 90, 414-427): drawn prompt by prompt it would be too small. It needs
five templates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import BLOCK_NUMBERS, ROUNDING, Floats, Integers, as_floats, as_members, codes
from stats.minimums import MINIMUM_CLUSTERS
from stats.options import Count, Seed, checked
from stats.rates import BAND, binomial_rate, clustered_rate
from stats.seeding import generator


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Reliability:
    """Confidence against accuracy.

    Attributes:
        confidence: Mean confidence of each bin [B], ascending; `accuracy` its share of right prompts, with the 95 %
            Clopper-Pearson band `low` to `high`, of `count` prompts.
        ece: Expected calibration error, in [0, 1].
        null: Its mean for a perfectly calibrated model; `null_low` to `null_high` holds 95 % of its values. None with
            fewer than five clusters.
        squared: Squared calibration error without the bias of small bins; None where a bin has a single prompt (or
            cluster).
    """

    confidence: Floats
    accuracy: Floats
    low: Floats
    high: Floats
    count: Integers
    ece: float
    null: float | None
    null_low: float | None
    null_high: float | None
    squared: float | None


def brier_scores(answer: ArrayLike, others: ArrayLike) -> Floats:
    """Brier score of each prompt, [n].

    Args:
        answer: Probability of the answers of each prompt together [n].
        others: Sum of the squared probabilities of all other tokens [n].

    Raises:
        ValueError: if lengths do not match, or numbers are not in [0, 1].
    """
    p, rest = _probabilities(answer, "answer"), _probabilities(others, "others")
    if p.shape != rest.shape:
        raise ValueError(f"others: expected {len(p)} numbers, one for each answer, got {len(rest)}")
    return (1 - p) ** 2 + rest


@checked
def reliability(
    confidence: ArrayLike,
    right: ArrayLike,
    *,
    cluster: ArrayLike | None = None,
    bins: Count = 10,
    draws: Count = 1000,
    seed: Seed = 0,
) -> Reliability:
    """The calibration error in bins of equal numbers of prompts, beside that of a perfectly calibrated model.

    Prompts of the same confidence are in one bin, so that their order decides nothing.

    Args:
        confidence: Probability of the most likely token, per prompt [n].
        right: Whether it is an answer [n].
        cluster: Label of each prompt's independent unit [n], e.g. its template; None if every prompt is one.
        bins: Most bins; no more than there are prompts.
        draws: Draws of a calibrated model.
        seed: Seed of the draws.

    Raises:
        ValueError: if lengths do not match, there are no prompts, or a confidence is not in [0, 1].
    """
    p, correct = _probabilities(confidence, "confidence"), as_members(right, "right")
    if p.shape != correct.shape:
        raise ValueError(f"right: expected {len(p)} outcomes, one for each confidence, got shape {correct.shape}")
    n = len(p)
    unit = np.arange(n) if cluster is None else codes(cluster, "cluster", length=n)[0]
    wanted = min(bins, n)
    bin_of = np.floor((scipy_stats.rankdata(p) - 0.5) / n * wanted).astype(np.int64)
    order = np.argsort(bin_of, kind="stable")
    p, hit, unit = p[order], correct[order].astype(np.float64), unit[order]
    starts = np.flatnonzero(np.diff(bin_of[order], prepend=-1))
    count = np.diff([*starts, n])
    mean = np.add.reduceat(p, starts) / count
    share = np.add.reduceat(hit, starts) / count
    errors = hit - p - np.repeat(share - mean, count)
    sums = _by_unit(errors, unit, len(starts), count)
    units = (_by_unit(np.ones(n), unit, len(starts), count) > 0).sum(axis=1)
    within = (sums**2).sum(axis=1) * units / np.maximum(units - 1, 1) / count**2
    if cluster is None:
        null: Floats | None = _calibrated(p, starts, count, draws, seed)
    else:
        null = _flipped(_by_unit(hit - p, unit, len(starts), count), n, draws, seed)
    low, high = (None, None) if null is None else np.quantile(null, [(1 - BAND) / 2, (1 + BAND) / 2]).tolist()
    bands = [
        binomial_rate(part)
        if cluster is None
        else clustered_rate([part[own == one].tolist() for one in np.unique(own)])
        for part, own in zip(np.split(hit > 0, starts[1:]), np.split(unit, starts[1:]), strict=True)
    ]
    return Reliability(
        confidence=mean,
        accuracy=share,
        low=np.array([one.low for one in bands]),
        high=np.array([one.high for one in bands]),
        count=count,
        ece=float(count @ np.abs(share - mean)) / n,
        null=None if null is None else float(null.mean()),
        null_low=low,
        null_high=high,
        squared=None if units.min() == 1 else float(count @ ((share - mean) ** 2 - within)) / n,
    )


def _by_unit(values: Floats, unit: Integers, bins: int, count: Integers) -> Floats:
    """Sums of values [n], sorted by bin, over the prompts of each bin and unit, [bins, units]."""
    units = int(unit.max()) + 1
    place = np.repeat(np.arange(bins), count) * units + unit
    return np.asarray(np.bincount(place, weights=values, minlength=bins * units), dtype=np.float64).reshape(bins, units)


def _flipped(sums: Floats, n: int, draws: int, seed: int) -> Floats | None:
    """The calibration error [draws] of deviations that are of either sign, all those of a unit together.

    Args:
        sums: Deviations of right from confidence, summed over the prompts of each bin and unit, [bins, units].
        n: Number of prompts.
    """
    units = sums.shape[1]
    if units < MINIMUM_CLUSTERS:
        return None
    rng = generator(seed, "calibrated clusters")
    found = np.empty(draws)
    block = max(1, BLOCK_NUMBERS // sums.size)
    for start in range(0, draws, block):
        part = found[start : start + block]
        signs = rng.integers(0, 2, (len(part), units)) * 2.0 - 1
        part[:] = np.abs(signs @ sums.T).sum(axis=1) / n
    return found


def _calibrated(p: Floats, starts: Integers, count: Integers, draws: int, seed: int) -> Floats:
    """The calibration error [draws] of outcomes that have these probabilities, sorted by bin."""
    rng = generator(seed, "calibrated outcomes")
    found = np.empty(draws)
    block = max(1, BLOCK_NUMBERS // len(p))
    for start in range(0, draws, block):
        part = found[start : start + block]
        drawn = rng.random((len(part), len(p))) < p
        part[:] = np.abs(np.add.reduceat(drawn - p, starts, axis=1)).sum(axis=1) / count.sum()
    return found


def _probabilities(values: ArrayLike, name: str) -> Floats:
    """Numbers in [0, 1], but for rounding."""
    found = as_floats(values, name, dimensions=1)
    if found.min() < 0 or found.max() > 1 + 1e6 * ROUNDING:
        raise ValueError(f"{name}: expected probabilities, got {found.min():.6g} to {found.max():.6g}")
    return np.minimum(found, 1.0)
