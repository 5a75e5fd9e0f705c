"""`calibration.json` of a run directory: whether it still belongs to the run, and what the report shows of it."""

from __future__ import annotations

import hashlib
import json

import polars as pl

from mechshift_core import __version__
from mechshift_core.errors import UsageError
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.files import write_text
from reports import CalibrationFacts, ScenarioFacts
from stats.calibration import Calibration, Scenario
from stats.rates import Rate, uninformative

CALIBRATION = "calibration.json"
WORDING = ("name", "title", "execution", "report")
"""Sections of a spec that no statistics depend on."""
_RATES = {
    "kind": pl.String,
    "name": pl.String,
    "value": pl.Float64,
    "rate": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "nominal": pl.Float64,
    "n": pl.Int64,
    "flag": pl.String,
}
_POWER = dict.fromkeys(("hypothesis", "measure"), pl.String) | dict.fromkeys(
    ("distance", "value", "power", "low", "high", "corrected"), pl.Float64
)
_HYPOTHESES = {
    "hypothesis": pl.String,
    "status": pl.String,
    "tested": pl.Int64,
    **dict.fromkeys(("se", "sd", "detectable", "corrected"), pl.Float64),
    "message": pl.String,
}


def calibration_key(plan: Plan, failures: int) -> str:
    """Hash of all that a calibration depends on: cells, data, failed cells, statistics, hypotheses, version."""
    declared = plan.spec.model_dump(mode="json", exclude=set(WORDING))
    for hypothesis in declared["hypotheses"]:
        del hypothesis["claim"]
    content = [__version__, declared, dict(plan.dataset_keys), [cell.key for cell in plan.cells], failures]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_calibration(folder: RunFolder, calibration: Calibration) -> None:
    """Write it whole or not at all."""
    write_text(folder.path / CALIBRATION, calibration.to_json())


def read_calibration(folder: RunFolder) -> Calibration | None:
    """The calibration of a run; None if there is none that can be read: it is made again, not trusted in part."""
    try:
        return Calibration.from_json((folder.path / CALIBRATION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def check_replaced(folder: RunFolder, repetitions: int) -> None:
    """Refuse to write a calibration over one with more repetitions.

    Raises:
        UsageError: if the run directory holds one.
    """
    there = read_calibration(folder)
    if there is not None and there.repetitions > repetitions:
        raise UsageError(
            f"{folder.path} holds a calibration with {there.repetitions} repetitions, which one with {repetitions} "
            "would replace; add --replace if it may, or choose another --out"
        )


def calibration_facts(calibration: Calibration, *, key: str) -> CalibrationFacts:
    """What the report shows of it.

    Args:
        calibration: The calibration of a run.
        key: What its key would be if it were made now.
    """
    prompts = [half.prompts for half in calibration.halves]
    power = [
        {
            "hypothesis": one.id,
            "measure": one.measure,
            "distance": at.distance,
            "value": at.value,
            "power": at.rate.value,
            "low": at.rate.low,
            "high": at.rate.high,
            "corrected": at.corrected.value,
        }
        for one in calibration.hypotheses
        for at in one.power
    ]
    hypotheses = [
        {
            "hypothesis": one.id,
            "status": one.status,
            "tested": one.tested,
            "se": one.se,
            "sd": one.sd,
            "detectable": one.detectable,
            "corrected": one.detectable_corrected,
            "message": one.message,
        }
        for one in calibration.hypotheses
    ]
    return CalibrationFacts(
        repetitions=calibration.repetitions,
        replicates=calibration.replicates,
        level=calibration.level,
        uninformative=uninformative(calibration.repetitions, calibration.level),
        confidence=calibration.confidence,
        correction=calibration.correction,
        prompts=(min(prompts, default=0), max(prompts, default=0)),
        models=list(dict.fromkeys(f"{half.pair}: {half.model}" for half in calibration.halves)),
        stale=calibration.key != key,
        rates=_rates(calibration),
        power=pl.DataFrame(power, schema=_POWER),
        hypotheses=pl.DataFrame(hypotheses, schema=_HYPOTHESES),
        scenarios=[
            ScenarioFacts(name=one.name, description=one.description, rates=_rates(one))
            for one in calibration.scenarios
        ],
        unseen=calibration.unseen,
    )


def _rates(of: Calibration | Scenario) -> pl.DataFrame:
    rows = [
        *(
            _row("false positives", _at(one.id, at.value, len(one.false_positives)), at.value, at.rate)
            for one in of.hypotheses
            for at in one.false_positives
        ),
        *([_row("any false positive", "any, corrected", None, of.family)] if of.family else []),
        *(_row("coverage", one.id, one.truth, one.coverage) for one in of.hypotheses if one.coverage),
        *(_row("coverage", f"each {one.measure}", one.truth, one.rate) for one in of.measures),
    ]
    return pl.DataFrame(rows, schema=_RATES)


def _row(kind: str, name: str, value: float | None, rate: Rate) -> dict[str, object]:
    numbers = {"rate": rate.value, "low": rate.low, "high": rate.high, "nominal": rate.nominal, "n": rate.n}
    return {"kind": kind, "name": name, "value": value, **numbers, "flag": rate.flag}


def _at(hypothesis: str, value: float, nulls: int) -> str:
    sign = "\N{MINUS SIGN}" if value < 0 else "+"
    return hypothesis if nulls == 1 else f"{hypothesis} at {sign}{abs(value):g}"
