"""Faithfulness of circuits: how much of what a model does on a task remains when everything else is corrupted.

    f(C) = (m(C) - m(empty)) / (m(full) - m(empty)),    m the mean of the metric over examples

The full circuit is the clean run, the empty one the corrupted run. This is a ratio of means and not the mean of the
examples' ratios: the model hardly reacts to the corruption of some examples, their own denominators are close to 0, and
a few of them would decide a mean of ratios, which then need not even have an expectation.

Curve. Over the fraction x of the edges, CPR = integral of f (circuit performance ratio) and CMD = integral of |1 - f|
(circuit-model distance) from 0 to 1, as defined by MIB (Mueller et al. 2025, arXiv 2504.13151). Both are trapezoidal
sums over the measured sizes with f(0) = 0 and f(1) = 1, which hold by definition; MIB's own code sums over the measured
sizes only, .1 % to 100 %, and so leaves out the first trapezoid. Equal faithfulness at all sizes gives a CPR near 1 and
a CMD near 0; CPR grows without bound where circuits overshoot, CMD does not reward that.

Interval. Numerator and denominator come from the same examples. With a and b an example's effects of the circuit and of
the full model, f without it is less by (a - f b) / (sum of b - b): estimate +- t x the standard error of the delete-one
jackknife over clusters, with clusters - 1 degrees of freedom. To first order these are (a - f b) / sum of b, which an
example of large b pulls towards 0: it has drawn f to its own ratio. With effects of spread .8 (log-normal) and 12, 30
and 100 examples tests rejected a true ratio in .072, .063 and .055 of 10,000 data sets by the first order, in .058,
.055 and .051 by the jackknife. In simulations with 8, 20 and 60 examples (normal, widely spread and log-normal effects,
nominal .95) the first order covered .86 or more; Fieller's interval went down to .78, the bootstrap studentized by the
same standard error to .75, the percentile bootstrap to .69. Fieller's theorem says when no interval makes sense: if
that of the denominator contains 0. Then nothing is reported but that. |1 - f| has no derivative at 1, where its
estimate is a little too large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import SAME, Floats, Integers, as_floats, codes
from stats.findings import Status
from stats.options import Share, checked
from stats.resampling import MINIMUM_CLUSTERS

METHOD = "ratio of means; t interval with the jackknife standard error over clusters"


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioEstimate:
    """One estimate that is a ratio of means, or a sum of such.

    Attributes:
        low: Lower end of the interval, None where `status` is not `ok` (`high`: upper end).
        se: Standard error; None with too few clusters.
        status: `ok`; `points only`: the estimate can be used, an interval cannot be formed; `undefined`: neither.
        message: Why, where the status is not `ok`.
        influence: Each cluster's contribution to the error [clusters], in the order of the sorted labels: the sum of
            squares is se^2, the sum of products the covariance of two estimates from the same clusters.
    """

    estimate: float | None
    low: float | None
    high: float | None
    se: float | None
    status: Status
    message: str
    influence: Floats | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaithfulnessCurve:
    """Faithfulness over the size of the circuit.

    Attributes:
        fractions: Sizes as fractions of all edges [sizes].
        faithfulness: f at each size.
        cmd: Circuit-model distance, the integral of |1 - f|; lower is better.
        cpr: Circuit performance ratio, the integral of f.
        effect: m(full) - m(empty), the denominator.
        n: Number of examples, in `clusters` clusters; `df` = clusters - 1.
        status: That of the curve as a whole: `undefined` where the effect does not clear 0.
    """

    fractions: tuple[float, ...]
    faithfulness: tuple[RatioEstimate, ...]
    cmd: RatioEstimate
    cpr: RatioEstimate
    effect: RatioEstimate
    n: int
    clusters: int
    df: int
    confidence: float
    method: str
    status: Status
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRatio:
    """Faithfulness of another model's circuit relative to that of the model's own.

    Attributes:
        ratio: f(other) / f(own).
        own: Faithfulness of the model's own circuit (`other`: of the other model's).
        effect: m(full) - m(empty), the denominator of both.
        n: Number of examples, in `clusters` clusters; `df` = clusters - 1.
    """

    ratio: RatioEstimate
    own: RatioEstimate
    other: RatioEstimate
    effect: RatioEstimate
    n: int
    clusters: int
    df: int
    confidence: float
    method: str


@checked
def faithfulness_curve(
    circuits: ArrayLike,
    *,
    full: ArrayLike,
    empty: ArrayLike,
    fractions: ArrayLike,
    cluster: ArrayLike | None = None,
    confidence: Share = 0.95,
) -> FaithfulnessCurve:
    """Faithfulness at every size, CMD and CPR, with intervals over examples; see the module for the formulas.

    Args:
        circuits: Metric with only a circuit intact, [sizes, examples].
        full: Metric of the clean run [examples].
        empty: Metric of the corrupted run [examples].
        fractions: Size of each circuit as a fraction of all edges [sizes], rising, above 0 and up to 1.
        cluster: Label of each example's independent unit [examples]; None if every example is one.
        confidence: Of the two-sided intervals.

    Raises:
        ValueError: if shapes do not match, a metric is not finite, or the fractions do not rise from above 0 to 1.
    """
    metrics = as_floats(circuits, "circuits", dimensions=2)
    sizes = _rising(fractions, len(metrics))
    examples = ExampleUnits.of(metrics.shape[1], cluster, confidence)
    base = examples.metric(empty, "empty")
    whole = examples.metric(full, "full") - base
    effect = examples.mean(whole)
    rounding = SAME * float(np.abs(base).max())
    reason = examples.not_a_denominator(effect, "the effect of the corruption, m(full) - m(empty),", rounding)
    values, influence = examples.ratios(metrics - base, whole, defined=not reason)
    before, inner, behind = area_weights(sizes)
    distance = np.sign(values - 1)[:, None] * influence
    return FaithfulnessCurve(
        fractions=tuple(sizes.tolist()),
        faithfulness=tuple(
            examples.estimate(value, own, reason) for value, own in zip(values.tolist(), influence, strict=True)
        ),
        cmd=examples.estimate(float(before + inner @ np.abs(1 - values)), inner @ distance, reason),
        cpr=examples.estimate(float(inner @ values + behind), inner @ influence, reason),
        effect=effect,
        n=metrics.shape[1],
        clusters=examples.clusters,
        df=examples.clusters - 1,
        confidence=confidence,
        method=METHOD,
        status="undefined" if reason else "ok" if examples.enough else "points only",
        message=reason or examples.too_few,
    )


@checked
def transfer_ratio(
    own: ArrayLike,
    other: ArrayLike,
    *,
    full: ArrayLike,
    empty: ArrayLike,
    cluster: ArrayLike | None = None,
    confidence: Share = 0.95,
) -> TransferRatio:
    """How much of its own circuit's faithfulness a model has when it runs with another model's circuit.

    f(other) / f(own) = (m(other) - m(empty)) / (m(own) - m(empty)), the full model cancels: 1 is as faithful as its own
    circuit, 0 as unfaithful as the empty one. Undefined unless the intervals of both m(full) - m(empty) and m(own) -
    m(empty) exclude 0.

    Args:
        own: Metric of a model with only its own circuit intact [examples].
        other: Metric of the same model with only the other model's circuit intact [examples].
        full: Metric of its clean run [examples].
        empty: Metric of its corrupted run [examples].
        cluster: Label of each example's independent unit [examples]; None if every example is one.
        confidence: Of the two-sided intervals.

    Raises:
        ValueError: if shapes do not match or a metric is not finite.
    """
    first = as_floats(own, "own", dimensions=1)
    examples = ExampleUnits.of(len(first), cluster, confidence)
    base = examples.metric(empty, "empty")
    whole, kept = examples.metric(full, "full") - base, first - base
    transferred = examples.metric(other, "other") - base
    effect = examples.mean(whole)
    rounding = SAME * float(np.abs(base).max())
    no_effect = examples.not_a_denominator(effect, "the effect of the corruption, m(full) - m(empty),", rounding)
    restored = "what the own circuit restores, m(own) - m(empty),"
    no_circuit = examples.not_a_denominator(examples.mean(kept), restored, rounding)
    reason = "; ".join(filter(None, (no_effect, no_circuit)))
    (f_own, f_other), of_full = examples.ratios(np.stack([kept, transferred]), whole, defined=not no_effect)
    (ratio,), of_own = examples.ratios(transferred[None], kept, defined=not reason)
    return TransferRatio(
        ratio=examples.estimate(float(ratio), of_own[0], reason),
        own=examples.estimate(float(f_own), of_full[0], no_effect),
        other=examples.estimate(float(f_other), of_full[1], no_effect),
        effect=effect,
        n=len(first),
        clusters=examples.clusters,
        df=examples.clusters - 1,
        confidence=confidence,
        method=METHOD,
    )


@dataclass(frozen=True, slots=True)
class ExampleUnits:
    """The independent units that the examples belong to, and what intervals over them need.

    Attributes:
        cluster: Number of each example's unit [examples], of `clusters`.
        confidence: Of the two-sided intervals.
    """

    cluster: Integers
    clusters: int
    confidence: float

    @classmethod
    def of(cls, n: int, cluster: ArrayLike | None, confidence: float) -> ExampleUnits:
        """Those of some examples, given their labels; each its own where there are none."""
        code, clusters = (np.arange(n), n) if cluster is None else codes(cluster, "cluster", length=n)
        return cls(code, clusters, confidence)

    @property
    def enough(self) -> bool:
        """Whether there are enough units for an interval."""
        return self.clusters >= MINIMUM_CLUSTERS

    @property
    def too_few(self) -> str:
        """Why there is no interval; empty where there are enough units."""
        return "" if self.enough else f"{self.clusters} cluster(s): fewer than {MINIMUM_CLUSTERS}, no interval"

    @property
    def quantile(self) -> float:
        """Of the t distribution with units - 1 degrees of freedom."""
        return float(scipy_stats.t.ppf((1 + self.confidence) / 2, self.clusters - 1))

    def summed(self, values: Floats) -> Floats:
        """Values [k, examples] summed by unit, [k, units]."""
        return np.stack([np.bincount(self.cluster, weights=row, minlength=self.clusters) for row in values])

    def centred(self, errors: Floats) -> Floats:
        """What each unit adds to an error [units], such that the sum of squares is the squared standard error."""
        widened: Floats = errors * np.sqrt(self.clusters / max(1, self.clusters - 1))
        return widened

    def metric(self, values: ArrayLike, name: str) -> Floats:
        """Values as a metric of each example [examples]; an error names what is wrong."""
        found = as_floats(values, name, dimensions=1)
        if len(found) != len(self.cluster):
            raise ValueError(f"{name}: expected a metric for each of {len(self.cluster)} examples, got {len(found)}")
        return found

    def ratios(self, numerators: Floats, denominator: Floats, *, defined: bool = True) -> tuple[Floats, Floats]:
        """Ratios of means [k] of numerators [k, n] to one denominator [n], and their influence [k, clusters]."""
        if not defined:
            return np.zeros(len(numerators)), np.zeros((len(numerators), self.clusters))
        total = float(denominator.sum())
        values = numerators.sum(axis=1) / total
        errors = numerators - values[:, None] * denominator
        by_cluster = self.summed(errors)
        # The same ratio in every cluster leaves only rounding.
        size = np.abs(numerators).sum(axis=1) + np.abs(values) * np.abs(denominator).sum()
        by_cluster[np.abs(by_cluster).max(axis=1) <= 1e-12 * size] = 0
        return values, self.left_out(by_cluster, total, self.summed(denominator[None])[0])

    def left_out(self, errors: Floats, total: float, own: Floats) -> Floats:
        """What each unit adds to the error of a ratio, by the delete-one jackknife.

        Args:
            errors: Of each unit [..., units], what it has in the numerator less the ratio times what it has in the
                denominator.
            total: The denominator.
            own: What each unit has in it [units].
        """
        left = 1 - own / total
        if self.clusters < 2 or left.min() <= 0:  # without a unit there is no denominator: to first order
            return self.centred(errors) / total
        changes = errors / (total * left)
        return np.asarray(
            (changes - changes.mean(axis=-1, keepdims=True)) * np.sqrt((self.clusters - 1) / self.clusters)
        )

    def mean(self, values: Floats) -> RatioEstimate:
        """The mean of one value per example [examples]."""
        mean, influence = self.ratios(values[None], np.ones_like(values))
        return self.estimate(float(mean[0]), influence[0])

    def estimate(self, value: float, influence: Floats, undefined: str = "") -> RatioEstimate:
        """An estimate with its interval, from the influence of each unit [units]; or why it is undefined."""
        if undefined:
            return RatioEstimate(
                estimate=None, low=None, high=None, se=None, status="undefined", message=undefined, influence=None
            )
        se = float(np.linalg.norm(influence)) if self.clusters > 1 else None
        message = self.too_few or ("" if se else "constant: every cluster gives the same value")
        half = self.quantile * se if se and not message else None
        return RatioEstimate(
            estimate=value,
            low=None if half is None else value - half,
            high=None if half is None else value + half,
            se=se,
            status="points only" if half is None else "ok",
            message=message,
            influence=influence if self.clusters > 1 else None,
        )

    def not_a_denominator(self, mean: RatioEstimate, name: str, rounding: float) -> str:
        """Why nothing can be divided by a mean; empty if it can. Up to `rounding` it is zero."""
        if mean.estimate is None or abs(mean.estimate) <= rounding:
            return f"{name} is 0"
        if mean.low is not None and mean.high is not None and mean.low <= 0 <= mean.high:
            return f"{name} does not clear 0: {mean.estimate:.3g}, interval {mean.low:.3g} to {mean.high:.3g}"
        return ""


def area_weights(sizes: Floats) -> tuple[float, Floats, float]:
    """Weights of a curve's area from size 0, where f is 0, to 1, where it is 1: of 0, of each size [sizes], of 1.

    The last is 0 where the sizes reach 1 themselves.
    """
    if sizes[-1] == 1:
        weights = _trapezoid_weights(np.concatenate([[0.0], sizes]))
        return float(weights[0]), weights[1:], 0.0
    weights = _trapezoid_weights(np.concatenate([[0.0], sizes, [1.0]]))
    return float(weights[0]), weights[1:-1], float(weights[-1])


def _trapezoid_weights(points: Floats) -> Floats:
    """Weights [points] whose sum of products with values at the points is the trapezoidal integral."""
    width = np.diff(points)
    weights: Floats = (np.append(0.0, width) + np.append(width, 0.0)) / 2
    return weights


def _rising(fractions: ArrayLike, length: int) -> Floats:
    sizes = as_floats(fractions, "fractions", dimensions=1)
    if len(sizes) != length:
        raise ValueError(f"fractions: expected one for each of {length} circuits, got {len(sizes)}")
    if sizes[0] <= 0 or sizes[-1] > 1 or (np.diff(sizes) <= 0).any():
        raise ValueError(f"fractions: expected rising sizes above 0 and up to 1, got {sizes.tolist()}")
    return sizes
