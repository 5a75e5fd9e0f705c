"""Calibration of an analysis: how often it is wrong on data whose truth is known, as frozen results.

On A/A data nothing differs, so that a test that rejects is wrong, and an interval should cover the known value. A shift
that is added to the estimate gives the power, and moves a test whose null is not the A/A value to its null. That takes
the noise to be the same whatever the shift: exact for a shift of every prompt by the same amount, an approximation for
an index that is bounded or whose noise grows with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from stats.rates import Rate

CALIBRATION_SCHEMA = "mechshift-calibration/v1"

CalibrationStatus = Literal["ok", "undefined", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """Rejections where the quantity that is tested has a known value.

    Attributes:
        value: The known value.
        shift: What was added to the A/A estimates to have it; 0 for the A/A data as they are.
        distance: From the null, towards the claim; 0 at the null.
        rate: Share of repetitions with p below the level, uncorrected.
        corrected: The same after the correction, all other hypotheses of the family being at their null.
    """

    value: float
    shift: float
    distance: float
    rate: Rate
    corrected: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisCalibration:
    """How one hypothesis is decided on data whose truth is known; numbers that can't be had are None or empty.

    Attributes:
        id: The hypothesis, `measure`, `test` and `alternative` as in its finding.
        truth: Value of the estimate on A/A data.
        tested: Repetitions in which it could be tested.
        se: Median standard error of the estimate over repetitions; `sd` is how much the estimates vary over them.
        false_positives: Rejections where the null holds: one entry, two for an equivalence (at either margin).
        coverage: Share of the intervals that cover `truth`.
        power: Rejections by the distance from the null, ascending, the first at the null.
        detectable: Minimal detectable effect: the distance from the null at which the power is .8, uncorrected.
        detectable_corrected: The same at the corrected level.
        status: `ok`; `undefined`: never tested; `refused`: no A/A data has the value of the null. `message` says why.
    """

    id: str
    measure: str
    test: str
    alternative: str
    truth: float
    tested: int
    se: float | None = None
    sd: float | None = None
    false_positives: tuple[Planted, ...] = ()
    coverage: Rate | None = None
    power: tuple[Planted, ...] = ()
    detectable: float | None = None
    detectable_corrected: float | None = None
    status: CalibrationStatus = "ok"
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureCoverage:
    """How often the interval of a measure for a pair and task covers its A/A value, over all pairs and tasks."""

    measure: str
    truth: float
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The same analysis on data sets that look like the study's own and whose truth is planted.

    Attributes:
        name: Short name, `description` in a sentence.
        hypotheses: Those that it concerns, at their nulls; without power.
        measures: Coverage of intervals for a pair and task, by what was planted.
        family: As in :class:`Calibration`, of these hypotheses.
    """

    name: str
    description: str
    hypotheses: tuple[HypothesisCalibration, ...]
    measures: tuple[MeasureCoverage, ...]
    family: Rate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvesUsed:
    """The A/A data of a pair and task: which model is read, and on how many prompts a side (the median)."""

    pair: str
    task: str
    model: str
    prompts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What `mechshift calibrate` finds; serialised as `calibration.json`.

    Attributes:
        name: Name of the study.
        key: Identifies the statistics and the data that were calibrated.
        seed: Seed of the repetitions.
        repetitions: Number of A/A repetitions, with `replicates` bootstrap replicates each.
        level: Nominal level of every test.
        confidence: Nominal coverage of every interval.
        correction: Correction within the family.
        halves: What the repetitions were made of.
        family: Share of repetitions with any rejection after the correction, every hypothesis being at its null; None
            if none could be tested.
        scenarios: Data sets other than halves of one model.
        unseen: What neither these nor the halves can show, a sentence each.
    """

    name: str
    key: str
    seed: int
    repetitions: int
    replicates: int
    level: float
    confidence: float
    correction: str
    halves: tuple[HalvesUsed, ...]
    hypotheses: tuple[HypothesisCalibration, ...]
    measures: tuple[MeasureCoverage, ...]
    family: Rate | None
    scenarios: tuple[Scenario, ...] = ()
    unseen: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Deterministic JSON with a schema version."""
        content = {"schema": CALIBRATION_SCHEMA, **asdict(self)}
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: if the text is no calibration of a known schema version.
        """
        try:
            content = json.loads(text)
            schema = content.pop("schema")
            if schema != CALIBRATION_SCHEMA:
                raise ValueError(f"calibration of schema {schema!r}, expected {CALIBRATION_SCHEMA!r}")
            parts: dict[str, Any] = {
                "halves": tuple(HalvesUsed(**row) for row in content["halves"]),
                **_results(content),
                "scenarios": tuple(Scenario(**{**row, **_results(row)}) for row in content.get("scenarios", ())),
                "unseen": tuple(content.get("unseen", ())),
            }
            return cls(**{**content, **parts})
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a calibration: {error!r}") from error


def _results(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a calibration and a scenario of it have in common."""
    return {
        "hypotheses": tuple(_hypothesis(row) for row in content["hypotheses"]),
        "measures": tuple(MeasureCoverage(**{**row, "rate": Rate(**row["rate"])}) for row in content["measures"]),
        "family": _maybe(content["family"]),
    }


def _maybe(row: Mapping[str, Any] | None) -> Rate | None:
    return None if row is None else Rate(**row)


def _planted(rows: Sequence[Mapping[str, Any]]) -> tuple[Planted, ...]:
    return tuple(Planted(**{**row, "rate": Rate(**row["rate"]), "corrected": Rate(**row["corrected"])}) for row in rows)


def _hypothesis(row: Mapping[str, Any]) -> HypothesisCalibration:
    read = {name: _planted(row[name]) for name in ("false_positives", "power")}
    return HypothesisCalibration(**{**row, **read, "coverage": _maybe(row["coverage"])})
