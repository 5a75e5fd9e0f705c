"""What `mechshift calibrate` prints, on a terminal and elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mechshift_core.calibration_file import check_replaced, write_calibration
from mechshift_core.cli.calibrate_command import _show
from mechshift_core.cli.console import Console
from mechshift_core.errors import UsageError
from mechshift_core.execution.store import RunFolder
from stats.calibration import Calibration, HalvesUsed, HypothesisCalibration, MeasureCoverage, Planted
from stats.rates import binomial_rate

WRONG = binomial_rate([True] * 20 + [False] * 80, nominal=0.05)
RIGHT = binomial_rate([True] * 96 + [False] * 4, nominal=0.95)
NULL = Planted(value=0.0, shift=0.0, distance=0.0, rate=WRONG, corrected=WRONG)
NAMED = {"measure": "depth_slope", "test": "difference", "alternative": "less", "truth": 0.0, "tested": 100}
MADE = Calibration(
    name="study",
    key="",
    seed=0,
    repetitions=200,
    replicates=500,
    level=0.05,
    confidence=0.95,
    correction="holm",
    halves=(HalvesUsed(pair="p", task="t", model="m", prompts=30),),
    hypotheses=(
        HypothesisCalibration(
            id="[early]", **NAMED, false_positives=(NULL,), coverage=RIGHT, power=(NULL,), detectable=0.125
        ),
        HypothesisCalibration(id="lost", **NAMED, status="refused", message="no A/A data"),
    ),
    measures=(MeasureCoverage(measure="depth_slope", truth=0.0, rate=RIGHT),),
    family=WRONG,
)


def test_elsewhere_tables_are_aligned_columns(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Console(), MADE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "200 A/A repetitions, 500 bootstrap replicates each; nominal level 0.05, coverage 0.95"
    assert lines[1] == "  p on t: m, 30 + 30 of its prompts"
    heading, early, lost = lines[2:5]
    assert early.startswith("[early]") and "0.200 [0.127, 0.292] too high" in early
    assert early.index("0.125") == heading.index("detectable") and "> 0" in early
    assert "refused" in lost and "lost: refused: no A/A data" in lines
    assert "any false positive, corrected (holm): 0.200 [0.127, 0.292] too high" in lines
    assert "with 30 prompts a side" in lines[-1]


def test_on_a_terminal_tables_are_drawn(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    _show(Console(), MADE)
    shown = capsys.readouterr().out
    assert "┏" in shown and "[early]" in shown


def test_bands_over_few_repetitions_are_called_uninformative(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Console(), replace(MADE, repetitions=1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("uninformative: with 1 repetition a test that errs twice as often as its level of 0.05")


def test_a_larger_calibration_is_replaced_on_request_only(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    check_replaced(folder, 1)
    write_calibration(folder, MADE)
    for enough in (200, 500):
        check_replaced(folder, enough)
    with pytest.raises(UsageError, match=r"holds a calibration with 200 repetitions, which one with 1 would replace"):
        check_replaced(folder, 1)
