"""`calibration.json` of a run directory: what it holds, and whether it still belongs to the run."""

from __future__ import annotations

import hashlib
import json

from mechshift_core import __version__
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.files import write_text
from stats.calibration import Calibration

CALIBRATION = "calibration.json"
WORDING = ("name", "title", "execution", "report")
"""Sections of a spec that no statistics depend on."""


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
