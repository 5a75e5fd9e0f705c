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
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import BLOCK_NUMBERS, ROUNDING, Floats, Integers, as_floats, as_members
from stats.options import Count, Seed, checked
from stats.rates import BAND, binomial_rate
from stats.seeding import generator


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Reliability:
    """Confidence against accuracy.

    Attributes:
        confidence: Mean confidence of each bin [B], ascending; `accuracy` its share of right prompts, with the 95 %
            Clopper-Pearson band `low` to `high`, of `count` prompts.
        ece: Expected calibration error, in [0, 1].
        null: Its mean for a perfectly calibrated model; `null_low` to `null_high` holds 95 % of its values.
        squared: Squared calibration error without the bias of small bins; None where a bin has a single prompt.
    """

    confidence: Floats
    accuracy: Floats
    low: Floats
    high: Floats
    count: Integers
    ece: float
    null: float
    null_low: float
    null_high: float
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
    confidence: ArrayLike, right: ArrayLike, *, bins: Count = 10, draws: Count = 1000, seed: Seed = 0
) -> Reliability:
    """The calibration error in bins of equal numbers of prompts, beside that of a perfectly calibrated model.

    Prompts of the same confidence are in one bin, so that their order decides nothing.

    Args:
        confidence: Probability of the most likely token, per prompt [n].
        right: Whether it is an answer [n].
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
    wanted = min(bins, n)
    bin_of = np.floor((scipy_stats.rankdata(p) - 0.5) / n * wanted).astype(np.int64)
    order = np.argsort(bin_of, kind="stable")
    p, hit = p[order], correct[order].astype(np.float64)
    starts = np.flatnonzero(np.diff(bin_of[order], prepend=-1))
    count = np.diff([*starts, n])
    mean = np.add.reduceat(p, starts) / count
    share = np.add.reduceat(hit, starts) / count
    null = _calibrated(p, starts, count, draws, seed)
    low, high = np.quantile(null, [(1 - BAND) / 2, (1 + BAND) / 2])
    bands = [binomial_rate(part > 0) for part in np.split(hit, starts[1:])]
    errors = hit - p - np.repeat(share - mean, count)
    within = np.add.reduceat(errors**2, starts) / np.maximum(count - 1, 1) / count
    return Reliability(
        confidence=mean,
        accuracy=share,
        low=np.array([one.low for one in bands]),
        high=np.array([one.high for one in bands]),
        count=count,
        ece=float(count @ np.abs(share - mean)) / n,
        null=float(null.mean()),
        null_low=float(low),
        null_high=float(high),
        squared=None if count.min() == 1 else float(count @ ((share - mean) ** 2 - within)) / n,
    )


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
