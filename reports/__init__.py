"""The report of a run: one self-contained HTML page, from findings and tables to bytes.

`render` is a pure function of :class:`ReportData`: it reads no file and no clock, so the same data give the same bytes.
"""

from reports.data import (
    CalibrationFacts,
    CircuitFacts,
    KindFacts,
    MeasureFacts,
    MethodsFacts,
    PairFacts,
    ReadingFacts,
    ReportData,
    ScenarioFacts,
    TaskCount,
    Words,
)
from reports.page import render

__all__ = [
    "CalibrationFacts",
    "CircuitFacts",
    "KindFacts",
    "MeasureFacts",
    "MethodsFacts",
    "PairFacts",
    "ReadingFacts",
    "ReportData",
    "ScenarioFacts",
    "TaskCount",
    "Words",
    "render",
]
