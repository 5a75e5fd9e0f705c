"""How a hypothesis is decided where the value of its estimate is known: on A/A data, and with a shift added to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mechshift_core.analysis.hypotheses import CORRECTIONS, apply_test, null_value
from mechshift_core.kinds import TESTS
from mechshift_core.spec import Hypothesis, Spec
from stats.calibration import HypothesisCalibration, Planted
from stats.findings import Finding
from stats.rates import Rate, binomial_rate, minimal_detectable
from stats.replicates import Contrast

STEPS = tuple(step / 2 for step in range(13))
"""Distances from the null at which power is computed, in median standard errors, unless others are asked for."""
P = list[float | None]


@dataclass(frozen=True, slots=True)
class Known:
    """A hypothesis and what is known of it on A/A data.

    Attributes:
        truth: Value of the estimate.
        nulls: Where the null holds and a rejection is most likely: the value that is tested against, or both margins.
        direction: From the first of these towards the claim, 1 or -1 (upwards for a two-sided claim).
        refused: Why no A/A data has the value of the null; otherwise empty.
    """

    hypothesis: Hypothesis
    truth: float
    nulls: tuple[float, ...]
    direction: int
    refused: str

    @classmethod
    def of(cls, hypothesis: Hypothesis, of_measure: float | None) -> Known:
        """What is known, from the A/A value of the measure for a pair and task; None where that is not known."""
        test, null = hypothesis.test, null_value(hypothesis)
        # Groups that are subtracted take away what the measure is on A/A data.
        signs = sum(sign for sign, _ in hypothesis.groups())
        truth = (of_measure or 0.0) * signs - hypothesis.ceiling
        refused = ""
        if of_measure is None and signs:
            refused = (
                f"what {hypothesis.measure} is on A/A data is not known: no A/A data tells how often the test errs; "
                "subtract a group (contrast, to)"
            )
        elif truth and not TESTS[test.kind].required.keys() >= {"bound"}:
            refused = (
                f"{hypothesis.measure} is about {truth:g} where nothing differs, and the test takes it to be {null:g}: "
                "no A/A data tells how often it errs; subtract a group (contrast, to), or test against a bound"
            )
        return replace(cls.at(hypothesis, truth), refused=refused)

    @classmethod
    def at(cls, hypothesis: Hypothesis, truth: float) -> Known:
        """What is known where the estimate has a value that was planted."""
        test = hypothesis.test
        nulls = TESTS[test.kind].nulls(test)
        return cls(hypothesis, truth, nulls, -1 if len(nulls) > 1 or test.alternative == "less" else 1, "")


@dataclass(frozen=True, slots=True)
class Decisions:
    """All A/A repetitions of a family of hypotheses.

    Attributes:
        known: The hypotheses.
        findings: Their findings in each repetition, [repetitions][hypotheses].
        contrasts: What these were decided on, in the same order: one contrast, or one for each part of a claim on
            every task or regime; None where there was nothing.
        power: Whether to compute it.
    """

    spec: Spec
    known: Sequence[Known]
    findings: Sequence[Sequence[Finding]]
    contrasts: Sequence[Sequence[tuple[Contrast, ...] | None]]
    power: bool = True

    @property
    def level(self) -> float:
        """Nominal level of a test."""
        return round(1 - self.spec.statistics.confidence, 12)

    def calibrated(self, distances: Sequence[float]) -> tuple[tuple[HypothesisCalibration, ...], Rate | None]:
        """Every hypothesis calibrated, and the rate of any rejection in the family, all being at their nulls.

        Args:
            distances: From the null, in units of the measure; none for multiples of each standard error.
        """
        columns = [
            self._p(which, one.nulls[0] - one.truth) if not one.refused else self._never(which)
            for which, one in enumerate(self.known)
        ]
        at_null = [list(row) for row in zip(*columns, strict=True)]
        found = tuple(self._calibrate(which, at_null, distances) for which in range(len(self.known)))
        family = [any(map(self._rejected, self._correct(row))) for row in at_null if any(p is not None for p in row)]
        if not family or all(one.refused for one in self.known):
            return found, None
        # No correction, no level that the family is held to.
        nominal = None if self.spec.statistics.correction == "none" else self.level
        return found, binomial_rate(family, nominal=nominal)

    def _p(self, which: int, shift: float) -> P:
        """p of a hypothesis in every repetition with a shift added to its estimate; None where it is not tested."""
        hypothesis, statistics = self.known[which].hypothesis, self.spec.statistics
        return [
            max(apply_test(hypothesis, _moved(one, shift), statistics).p or 0.0 for one in contrasts)
            if contrasts is not None and found.p is not None
            else None
            for found, contrasts in (
                (row[which], of_row[which]) for row, of_row in zip(self.findings, self.contrasts, strict=True)
            )
        ]

    def _never(self, which: int) -> P:
        """p of a hypothesis that counts in the family and is never rejected."""
        return [None if row[which].p is None else 1.0 for row in self.findings]

    def _correct(self, p: P) -> P:
        return CORRECTIONS[self.spec.statistics.correction](p)

    def _rejected(self, p: float | None) -> bool:
        return p is not None and p < self.level

    def _calibrate(self, which: int, at_null: list[P], distances: Sequence[float]) -> HypothesisCalibration:
        known = self.known[which]
        rows = [row[which] for row in self.findings]
        tested = [found for found in rows if found.p is not None]
        spread = [found.estimate for found in tested if found.estimate is not None]
        se = float(np.median([found.se for found in tested])) if tested else None
        covered = [f.low <= known.truth <= f.high for f in rows if f.low is not None and f.high is not None]
        result = HypothesisCalibration(
            id=known.hypothesis.id,
            measure=known.hypothesis.measure,
            test=known.hypothesis.test.kind,
            alternative=rows[0].alternative,
            truth=known.truth,
            tested=len(tested),
            se=se,
            sd=float(np.std(spread, ddof=1)) if len(spread) > 1 else None,
            coverage=binomial_rate(covered, nominal=self.spec.statistics.confidence) if covered else None,
        )
        if not se:  # none, or zero: nothing varies, so there is nothing to calibrate
            return replace(result, status="undefined", message=rows[0].message)
        if known.refused:
            return replace(result, status="refused", message=known.refused)
        reasons = [found.message for found in rows if found.p is None]
        result = replace(
            result,
            false_positives=tuple(self._planted(which, at_null, null, 0.0, self.level) for null in known.nulls),
            message=f"not tested in {len(reasons)} of {len(rows)} repetitions: {reasons[0]}" if reasons else "",
        )
        if not self.power:
            return result
        power = [self._planted(which, at_null, known.nulls[0], d) for d in _grid(known, se, distances)]
        at = [point.distance for point in power]
        return replace(
            result,
            power=tuple(power),
            detectable=minimal_detectable(at, [point.rate.value for point in power]),
            detectable_corrected=minimal_detectable(at, [point.corrected.value for point in power]),
        )

    def _planted(
        self, which: int, at_null: list[P], null: float, distance: float, nominal: float | None = None
    ) -> Planted:
        known = self.known[which]
        value = null + known.direction * distance
        drawn = self._p(which, value - known.truth)
        corrected = [
            self._correct([*row[:which], p, *row[which + 1 :]])[which] for row, p in zip(at_null, drawn, strict=True)
        ]
        return Planted(
            value=value,
            shift=value - known.truth,
            distance=distance,
            rate=binomial_rate([self._rejected(p) for p in drawn if p is not None], nominal=nominal),
            corrected=binomial_rate([self._rejected(p) for p in corrected if p is not None]),
        )


def _moved(contrast: Contrast, shift: float) -> Contrast:
    drawn = None if contrast.replicates is None else contrast.replicates + shift
    return replace(contrast, estimate=contrast.estimate + shift, replicates=drawn)


def _grid(known: Known, se: float, distances: Sequence[float]) -> list[float]:
    """Distances from the first null towards the claim: 0, those asked for, and the A/A data as they are."""
    asked = {0.0, *(distances or [step * se for step in STEPS])}
    unshifted = (known.truth - known.nulls[0]) * known.direction
    if unshifted > 0:
        asked.add(unshifted)
    # Beyond the middle between two margins the claim becomes less true again.
    limit = known.nulls[0] if len(known.nulls) > 1 else np.inf
    return sorted(distance for distance in asked if distance <= limit)
