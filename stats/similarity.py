"""Similarity of two models: the cosine of their true mean score vectors, corrected for the noise of both.

    similarity = P_AB / sqrt(P_AA P_BB),   P_XY = sum over i != j of x_i . y_j / (n (n - 1))

with x_i the scores of prompt i over all edges. A product of *different* prompts holds no prompt's noise twice, so P_XY
is an unbiased estimate of mu_X . mu_Y, between models (whose errors on one prompt are related) as within one. The ratio
is Spearman's (1904) correction for attenuation, averaged over all pairs of prompts instead of over random halves. It is
a property of the two models and the population of prompts: neither the number of prompts nor the noise of either moves
it. 1: the same mean scores but for a factor; 0: nothing in common; the estimate is not cut off at 1.

Estimate and interval. s is a function of U-statistics, whose delete-one and delete-two values s_i and s_ij follow from
the products in closed form. The estimate is the jackknife's, n s - (n - 1) mean(s_i), without the bias of order 1/n
that prompts of unequal weight bring about. Where the models agree the linear part of s vanishes and what is left is
quadratic in the noise, which a plain jackknife counts twice; so both parts are estimated (Efron & Stein 1981, Annals of
Statistics 9, 586-596):

    variance = 4 z1 / n + 2 z2 / (n (n - 1))

z2 is the mean square of the interactions n s - (n - 1)(s_i + s_j) + (n - 2) s_ij, (n - 1) / 2 times, centred without
bias (U-centring; Szekely & Rizzo 2014, Annals of Statistics 42, 2382-2412); z1 is the variance of the delete-one values
of the estimate, (n - 1) / 2 times, less z2 / (n - 2), and not further below 0 than half of its standard deviation where
it is 0. Fixed templates are strata: z1 is then that within templates. The interval is estimate +- t x SE, with as many
degrees of freedom as z1 has, and SE^2 a further n / (n - 2) times, since variances of few prompts came out a little too
small in simulations.

Simulated coverage of nominal .95 intervals is in the documentation (`docs/statistics.md`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from stats.checks import ROUNDING, Floats, Integers
from stats.findings import Status
from stats.half_draws import Units, counted_units, drawn_examples
from stats.mean_products import MeanProducts, neighbours
from stats.minimums import enough_replicates
from stats.options import Count, Seed, Share, checked
from stats.score_blocks import BLOCK_BYTES, ScoreBlocks, edges_with_scores
from stats.split_half import Prompts, paired_scores, prompts
from stats.strata import joined

CLEARANCE = 3.0
"""Standard errors by which a within-model product has to clear 0; nearer to it the ratio is not a normal one."""
LEAST = 0.1
"""Share of a within-model product that delete-one and delete-two values of it are not let below."""
ONE_UNIT = "similarity is made of products of different {units}, and all prompts are of one"
NO_SIGNAL = "the mean scores of the model {side} do not clear their noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity:
    """Noise-corrected similarity of two models.

    Attributes:
        estimate: The cosine of the two mean vectors; can lie above 1 by chance; None where undefined.
        se: Standard error over prompts or templates, with `df` degrees of freedom.
        low: Lower end of the interval at `confidence` (`high`: upper end).
        status: `ok`, `points only` (too few prompts for an interval) or `undefined` (a model's mean scores do not clear
            their noise by three standard errors).
        plain: The cosine of the two averages over all prompts, noise included; None without scores.
        reliability_before: Share of the squared length of the model's average over all prompts that is no noise;
            `reliability_after` of the other's.
        noise_ratio: Noise of one prompt's scores relative to the mean, model after over model before (of standard
            deviations); None where undefined.
        n: Number of prompts.
        units: Number of what is drawn: of prompts, or of their templates.
        replicates: [R], centred at the estimate and scaled to `se`: replicate r belongs to the same resampled examples
            in every call with the same seed and `total`, so differences of replicates are paired.
    """

    estimate: float | None
    se: float | None
    df: float
    low: float | None
    high: float | None
    confidence: float
    status: Status
    message: str
    method: str
    plain: float | None
    reliability_before: float | None
    reliability_after: float | None
    noise_ratio: float | None
    n: int
    units: int
    replicates: Floats | None


@checked
def score_similarity(
    before: ArrayLike | ScoreBlocks,
    after: ArrayLike | ScoreBlocks,
    *,
    templates: ArrayLike | None = None,
    replicates: Count = 1000,
    confidence: Share = 0.95,
    seed: Seed = 0,
    examples: ArrayLike | None = None,
    total: Count | None = None,
    units: Units = "prompts",
    block_bytes: Count = BLOCK_BYTES,
) -> Similarity:
    """Noise-corrected cosine of two models' mean scores; see the module for the formula.

    Args:
        before: Scores of the model before [n, E], one row per prompt: an array, or read a block of edges at a time.
        after: Scores of the model after [n, E], of the same prompts in the same order, or of other prompts (A/A).
        templates: Template of every example [total]: strata of the variance where prompts are drawn, units where
            templates are; None for one.
        replicates: Replicates, for contrasts with other estimates of the same examples.
        confidence: Of the two-sided interval.
        seed: Seed of the draws. Calls with the same seed and `total` share resampled examples.
        examples: Example id of each row [n]; 0..n-1 by default.
        total: Number of examples of which the rows are a selection, for which all draws are made.
        units: What is random: prompts, or whole templates, of which an interval needs 5.
        block_bytes: Memory of one block of scores, approximately.

    Raises:
        ValueError: if shapes do not match, scores are not finite, or there are fewer than two prompts.
    """
    a, b = paired_scores(before, after)
    n = a.shape[0]
    chosen = prompts(n, examples=examples, total=total, templates=templates)
    enough_replicates(replicates, confidence)
    for scores, name in ((a, "before"), (b, "after")):
        edges_with_scores(scores, name, block_bytes=block_bytes)
    count, few = counted_units(chosen, units)
    design = _Design.of(chosen, units)
    products = MeanProducts.of(a, b, design.unit, block_bytes=block_bytes)
    jackknife = _Jackknife.of(products)
    described = _described(products, jackknife)
    lacking = ONE_UNIT.format(units=units) if count < 2 else jackknife.lacking()
    found = None if lacking else jackknife.estimated(design.strata, few=few)
    estimate, se, df = (None, None, max(1.0, count - 1.0)) if found is None else (found.estimate, found.se, found.df)
    low = high = drawn = None
    if found is not None and se is not None:
        reach = float(scipy_stats.t.ppf((1 + confidence) / 2, df)) * se
        low, high = found.estimate - reach, found.estimate + reach
        drawn = found.replicates(design.multipliers(drawn_examples(chosen, replicates, seed, units)[:, chosen.rows]))
    message = lacking or few
    if not message and se == 0:
        message = "every prompt gives the same value: the models' scores are the same but for a factor"
    return Similarity(
        estimate=estimate,
        se=se,
        df=df,
        low=low,
        high=high,
        confidence=confidence,
        status="undefined" if lacking else "points only" if few else "ok",
        message=message,
        method=f"products of different {units}; jackknife over {units}, quadratic part corrected; t interval",
        n=n,
        units=count,
        replicates=drawn,
        **described,
    )


@dataclass(frozen=True, slots=True)
class _Design:
    """What the rows are units of.

    Attributes:
        unit: Number of each row's unit [n]; None where every row is one.
        strata: Stratum of each unit [units].
    """

    unit: Integers | None
    strata: Integers

    @classmethod
    def of(cls, chosen: Prompts, units: Units) -> _Design:
        template = np.unique(chosen.templates[chosen.rows], return_inverse=True)[1].astype(np.int64)
        if units == "templates":
            return cls(template, np.zeros(int(template.max()) + 1, dtype=np.int64))
        unit = neighbours(template)
        strata = template if unit is None else template[np.unique(unit, return_index=True)[1]]
        return cls(unit, joined(strata))

    def multipliers(self, drawn: Integers) -> Floats:
        """Deviations of the units' weights from one [R, units], from how often each row was drawn [R, n]."""
        deviations: Floats = drawn - np.float64(1.0)
        if self.unit is None:
            return deviations
        sums = np.zeros((len(drawn), int(self.unit.max()) + 1))
        np.add.at(sums.T, self.unit, deviations.T)
        return np.asarray(sums / np.sqrt(np.bincount(self.unit)))


@dataclass(frozen=True, slots=True)
class _Jackknife:
    """The three products of different units, and without one and without two of them; between, before, after.

    Attributes:
        full: Products [3]; NaN of a single unit.
        one: Without one unit [3, units]; None with fewer than three.
        two: Without two [3, units, units], the diagonal meaningless; None with fewer than five.
        errors: Relative standard errors of the three products [3]; None with fewer than five units.
    """

    units: int
    full: Floats
    one: Floats | None
    two: Floats | None
    errors: Floats | None

    @classmethod
    def of(cls, products: MeanProducts) -> _Jackknife:
        between = (products.between + products.between.T) / 2
        stacked = np.stack([between, products.before, products.after])
        n = stacked.shape[1]
        place = np.arange(n)
        # Units' own products are left out; what cancels up to rounding is zero.
        scale = np.abs(stacked).sum(axis=(1, 2))
        stacked[:, place, place] = 0.0
        rows = stacked.sum(axis=2)
        sums = rows.sum(axis=1)
        if n < 2:
            return cls(n, np.full(3, np.nan), None, None, None)
        full = np.where(np.abs(sums) > ROUNDING * scale, sums, 0.0) / (n * (n - 1))
        if n < 3:
            return cls(n, full, None, None, None)
        one = (sums[:, None] - 2 * rows) / ((n - 1) * (n - 2))
        if n < 5:
            return cls(n, full, one, None, None)
        two = sums[:, None, None] - 2 * (rows[:, :, None] + rows[:, None, :]) + 2 * stacked
        two /= (n - 2) * (n - 3)
        with np.errstate(divide="ignore", invalid="ignore"):
            linear = (rows / (n - 1) - full[:, None]) * (n - 1) / (n - 2)
            quadratic = np.array([_mean_square(_centred(one_product)) for one_product in stacked])
            variance = 4 / n * np.maximum((linear**2).sum(axis=1) / (n - 1) - quadratic / (n - 2), 0.0)
            errors = np.sqrt(variance + 2 * quadratic / (n * (n - 1))) / np.abs(full)
        return cls(n, full, one, two, errors)

    def lacking(self) -> str:
        """Why the similarity is undefined; empty where it is not."""
        faults = []
        for place, side in ((1, "before"), (2, "after")):
            unclear = self.errors is not None and not self.errors[place] * CLEARANCE < 1
            if self.full[place] <= 0 or unclear:
                faults.append(NO_SIGNAL.format(side=side))
        return "; ".join(faults)

    def ratio(self, products: Floats) -> Floats:
        """The similarity from products [3, ...]."""
        before, after = (np.maximum(products[place], LEAST * self.full[place]) for place in (1, 2))
        # Equal scores give exactly 1, whatever the rounding of a square root.
        same = (products[0] == before) & (before == after)
        return np.asarray(np.where(same, 1.0, products[0] / np.sqrt(before * after)))

    def estimated(self, strata: Integers, *, few: str) -> _Estimated:
        """The estimate, with its standard error unless there are too few units."""
        n = self.units
        s = float(self.ratio(self.full))
        if self.one is None:
            return _Estimated(s, None, n - 1, np.zeros(n), np.zeros((n, n)))
        one = self.ratio(self.one)
        estimate = s if _same(one, s) else n * s - (n - 1) * float(one.mean())
        if few or self.two is None:
            return _Estimated(estimate, None, n - 1, np.zeros(n), np.zeros((n, n)))
        two = self.ratio(self.two)
        np.fill_diagonal(two, 0.0)
        # Delete-one values of the estimate, which is itself a jackknife.
        again = (n - 1) * one - (n - 2) * two.sum(axis=1) / (n - 1)
        linear = -(n - 1) / 2 * (again - again.mean())
        interactions = n * s - (n - 1) * (one[:, None] + one[None]) + (n - 2) * two
        kernel = _centred(interactions) * (n - 1) / 2
        quadratic = _mean_square(kernel)
        sizes = np.bincount(strata)
        present = sizes > 0
        means = np.bincount(strata, weights=linear)[strata] / sizes[strata]
        linear = linear - means
        spread = np.bincount(strata, weights=linear**2)[present] / (sizes[present] - 1)
        within = float(sizes[present] @ spread) / n
        # By chance the first part comes out below 0 where there is none; cut at 0 it would be too large on average.
        least = -np.sqrt(2 / n) / 2 * quadratic / n
        variance = 4 / n * max(within - quadratic / (n - 2), least) + 2 * quadratic / (n * (n - 1))
        variance *= n / (n - 2)
        # What is left of equal scores is rounding.
        se = float(np.sqrt(variance)) if variance > (1e-9 * max(1.0, abs(s))) ** 2 else 0.0
        return _Estimated(estimate, se, float(n - np.count_nonzero(present)), linear, kernel)


@dataclass(frozen=True, slots=True)
class _Estimated:
    """The estimate and what each unit [units], and each two [units, units], contribute to its error."""

    estimate: float
    se: float | None
    df: float
    linear: Floats
    quadratic: Floats

    def replicates(self, multipliers: Floats) -> Floats:
        """[R], from deviations of the units' weights [R, units]; mean and standard deviation are estimate and se."""
        n = len(self.linear)
        assert self.se is not None
        raw = 2 / n * (multipliers @ self.linear)
        raw += ((multipliers @ self.quadratic) * multipliers).sum(axis=1) / (n * (n - 1))
        sd = float(raw.std(ddof=1))
        if self.se == 0 or sd == 0:
            return np.full(len(raw), self.estimate)
        return np.asarray(self.estimate + (raw - raw.mean()) * (self.se / sd))


def _same(values: Floats, value: float) -> bool:
    return bool(np.abs(values - value).max() <= ROUNDING * max(1.0, abs(value)))


def _centred(matrix: Floats) -> Floats:
    """Off-diagonal values without their row, column and overall means, without bias; the diagonal is zero."""
    n = len(matrix)
    off = matrix - np.diag(np.diag(matrix))
    rows = off.sum(axis=1) / (n - 2)
    found = off - rows[:, None] - rows[None] + off.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


def _mean_square(centred: Floats) -> float:
    """Unbiased mean square of a matrix that :func:`_centred` made."""
    n = len(centred)
    return float((centred**2).sum()) / (n * (n - 3))


def _described(products: MeanProducts, jackknife: _Jackknife) -> dict[str, float | None]:
    """The plain cosine, and how much of each model's average is noise."""
    n = jackknife.units
    lengths = [float(x.sum()) for x in (products.before, products.after)]
    signal = [float(x) for x in jackknife.full[1:]]
    if min(lengths) <= 0:
        return dict.fromkeys(("plain", "reliability_before", "reliability_after", "noise_ratio"))
    plain = float(products.between.sum()) / float(np.sqrt(lengths[0] * lengths[1]))
    shares = [None if n < 2 else n * n * of / length for of, length in zip(signal, lengths, strict=True)]
    ratio = None
    if min(signal) > 0:
        noises = [
            max(float(np.trace(x)) / n - of, 0.0) / of
            for x, of in zip((products.before, products.after), signal, strict=True)
        ]
        ratio = float(np.sqrt(noises[1] / noises[0])) if noises[0] > 0 else None
    return {
        "plain": min(1.0, max(-1.0, plain)),
        "reliability_before": shares[0],
        "reliability_after": shares[1],
        "noise_ratio": ratio,
    }
