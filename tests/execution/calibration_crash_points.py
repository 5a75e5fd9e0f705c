"""A calibration that is killed at every operation on its files, and goes on: `calibration_crash_points.py RUN`.

Prints how many moments there were.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from crash_points import dies

from mechshift_core.analysis import stretches
from mechshift_core.analysis.calibration import calibrate
from mechshift_core.analysis.kept_series import FOLDER
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import stored_plan

REPETITIONS = 3
NEVER = 10**9


def main(path: Path) -> int:
    """Kill at every moment; what comes of the calibration afterwards is what comes of one that nobody kills."""
    stretches.LENGTH, stretches.SAVE_EVERY = 2, 0.0
    folder, result = RunFolder(path), path / "result"
    plan = stored_plan(path)

    def work() -> None:
        with folder.claim():
            found = calibrate(plan, folder, {}, key="", repetitions=REPETITIONS, seed=3)
        result.write_text(found.to_json())

    def finished() -> str:
        result.unlink(missing_ok=True)
        assert not dies(work, before=NEVER)
        return result.read_text()

    expected, moment = finished(), 0
    while True:
        shutil.rmtree(path / FOLDER)
        if not dies(work, before=moment, within=str(path / FOLDER)):
            return moment
        assert finished() == expected, moment
        assert not list((path / FOLDER).glob(".*.tmp")), moment
        moment += 1


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
