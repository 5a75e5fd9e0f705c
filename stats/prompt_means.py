"""The location of one value per prompt, mean or trimmed mean, with what contrasts and intervals need of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stats.checks import ROUNDING, Floats, Integers, as_floats, codes, known_labels, varies
from stats.interval_methods import effective_clusters
from stats.minimums import MINIMUM_CLUSTERS
from stats.options import checked
from stats.replicates import Replicated
from stats.strata import Strata
from stats.trimmed import Location, trimmed_mean, trimmed_replicates


@checked
def mean_replicates(
    values: ArrayLike,
    weights: ArrayLike,
    *,
    label: str = "mean",
    examples: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    strata: ArrayLike | None = None,
    location: Location = "mean",
) -> Replicated:
    """The mean of per-prompt values, or their trimmed mean, with its replicates and its analytic standard error.

    Args:
        values: One value per prompt [n], n >= 2.
        weights: How often each example was drawn in each replicate: [R, n], or [R, total] with `examples`.
        label: What it is.
        examples: Example id of each value [n], the column of `weights` that belongs to it.
        cluster: Label of each column's independent unit, e.g. its template, where the weights draw whole clusters. The
            standard error is then cluster-robust.
        strata: Label of each column's stratum, e.g. its template where templates are fixed (:mod:`stats.strata`). The
            number of prompts in each is taken as it is, and the standard error, the degrees of freedom, the skewness
            and the spread of the replicates are those within strata. Replicates take the same draws with strata and
            without, so those of estimates of the same prompts pair up. Where nothing varies within any stratum there
            are none, since means of templates that differ are no evidence of no error. Not with `cluster`.
        location: `mean`, or `trimmed`: the 20 % trimmed mean (:mod:`stats.trimmed`). Of clusters that is the trimmed
            mean of their means, each of which counts as one.

    There is no standard error below 5 prompts, or clusters of them.

    Raises:
        ValueError: if lengths do not match, ids repeat, a value is not finite, or there are strata and clusters.
    """
    given = _Given.of(values, weights, examples, cluster, strata)
    if location == "trimmed":
        return _trimmed(given, label)
    x, code = given.values, given.unit
    mean = float(x.mean())
    if given.units < MINIMUM_CLUSTERS:
        return given.points_only(label, mean)
    within = given.within(x)
    residuals = within if within is not None else x - mean if varies(x) else np.zeros_like(x)
    deviations = given.deviations(residuals)
    sums = np.bincount(code, weights=residuals, minlength=given.clusters)
    if np.abs(sums).max() <= ROUNDING * float(np.abs(residuals).sum()):
        sums = np.zeros_like(sums)
    influence = sums * np.sqrt(given.units / (given.units - 1)) / len(x)
    sizes = np.bincount(code).astype(np.float64)
    return Replicated(
        label=label,
        estimate=mean,
        replicates=mean + deviations,
        se=float(np.linalg.norm(influence)),
        # Clusters of unequal size are worth fewer.
        df=given.df(within) if cluster is None else effective_clusters(sizes) - 1,
        units=given.units,
        influence=influence,
        strata=None if within is None else given.strata_of_units(),
        own=None if cluster is not None else given.at_units((x - mean) / len(x)),
    )


def _trimmed(given: _Given, label: str) -> Replicated:
    _, first, place = np.unique(given.unit, return_index=True, return_inverse=True)
    each = np.bincount(place, weights=given.values) / np.bincount(place) if given.grouped else given.values
    found = trimmed_mean(each)
    if given.units < MINIMUM_CLUSTERS:
        return given.points_only(label, found.estimate)
    if found.influence is None:
        return given.points_only(label, found.estimate, found.message)
    drawn = given.drawn[:, first] if given.grouped else given.drawn
    within = None if found.se == 0 else given.within(found.influence)
    if within is not None:
        replicates = found.estimate + given.deviations(within * len(each))
    else:
        replicates = trimmed_replicates(each, drawn)
    added = found.influence if within is None else within
    influence = np.zeros(given.clusters)
    influence[given.unit[first] if given.grouped else given.unit] = added
    return Replicated(
        label=label,
        estimate=found.estimate,
        replicates=np.where(np.isfinite(replicates), replicates, found.estimate),
        se=float(np.linalg.norm(influence)),
        # Strata cost the share of the degrees of freedom that they cost a mean.
        df=max(1.0, found.df * given.df(within) / (given.units - 1)),
        units=given.units,
        influence=influence,
        strata=None if within is None else given.strata_of_units(),
        caution=found.message,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Given:
    """Checked arguments.

    Attributes:
        values: [n], `unit` the number of each one's unit of `clusters`, `drawn` how often it was drawn [R, n].
        grouped: Whether units are groups of prompts; `units` is how many have a value.
        strata: The strata of the values; None with a single one.
        labels: Number of the given stratum of each value [n]; empty without.
    """

    values: Floats
    unit: Integers
    clusters: int
    drawn: Floats
    grouped: bool
    units: int
    strata: Strata | None
    labels: Integers

    @classmethod
    def of(
        cls,
        values: ArrayLike,
        weights: ArrayLike,
        examples: ArrayLike | None,
        cluster: ArrayLike | None,
        strata: ArrayLike | None,
    ) -> _Given:
        x = as_floats(values, "values", dimensions=1)
        drawn = as_floats(weights, "weights", dimensions=2)
        total = drawn.shape[1]
        ids = np.arange(len(x)) if examples is None else known_labels(examples, "examples")
        if examples is None and total != len(x):
            raise ValueError(f"weights: expected a column for each of {len(x)} values, got shape {drawn.shape}")
        if (
            ids.shape != x.shape
            or ids.dtype.kind not in "iu"
            or len(np.unique(ids)) != len(x)
            or ids.min() < 0
            or ids.max() >= total
        ):
            shown = ids.tolist()[:5]
            raise ValueError(f"examples: expected {len(x)} distinct ids from 0 to {total - 1}, got {shown}...")
        if len(x) < 2:
            raise ValueError("values: expected at least 2 prompts for a standard error, got 1")
        code, clusters = (np.arange(total), total) if cluster is None else codes(cluster, "cluster", length=total)
        units = len(np.unique(code[ids]))
        made, labels = None, np.empty(0, dtype=np.int64)
        if strata is not None:
            if cluster is not None:
                raise ValueError("expected strata or clusters, got both")
            labels = codes(strata, "strata", length=total)[0][ids]
            made = Strata.made(labels)
        several = made if made is not None and made.count > 1 else None
        return cls(x, code[ids], clusters, drawn[:, ids], cluster is not None, units, several, labels)

    def within(self, values: Floats) -> Floats | None:
        """Deviations within strata [n], of which the sum of squares is n (n - 1) times the variance of the mean.

        None without strata, or where nothing varies within them.
        """
        found = None if self.strata is None else self.strata.within(values)
        return None if found is None else np.asarray(found * np.sqrt((self.units - 1) / self.units))

    def df(self, within: Floats | None) -> float:
        """Degrees of freedom of the variance of a mean: within strata, or of all prompts."""
        if within is None or self.strata is None:
            return self.units - 1
        return float(self.strata.df_of(within[:, None])[0])

    def strata_of_units(self) -> Integers:
        """Number of the stratum of each prompt [clusters]; -1 for those without a value."""
        found = np.full(self.clusters, -1, dtype=np.int64)
        found[self.unit] = self.labels
        return found

    def at_units(self, values: Floats) -> Floats:
        """Values [n] at the number of their unit [clusters], where every value is a unit."""
        found = np.zeros(self.clusters)
        found[self.unit] = values
        return found

    def deviations(self, residuals: Floats) -> Floats:
        """Of a mean in every replicate [R], from residuals [n] that sum to 0 in each stratum.

        A replicate in which none of a few prompts was drawn says nothing about them: it keeps the estimate.
        """
        counts = self.drawn.sum(axis=1)
        found: Floats = np.divide(self.drawn @ residuals, counts, out=np.zeros(len(counts)), where=counts > 0)
        return found

    def points_only(self, label: str, estimate: float, message: str = "") -> Replicated:
        """The estimate without a standard error; there are too few units unless a message says otherwise."""
        name = "cluster(s)" if self.grouped else "prompt(s)"
        return Replicated(
            label=label,
            estimate=estimate,
            replicates=None,
            se=None,
            df=self.units - 1,
            units=self.units,
            message=message or f"{self.units} {name}: fewer than {MINIMUM_CLUSTERS}, no interval",
        )
