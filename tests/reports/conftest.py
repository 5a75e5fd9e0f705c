from __future__ import annotations

from collections.abc import Iterator

import pytest
from synthetic_interventions import with_interventions
from synthetic_run import WORDS, report_data

from reports import ReportData, render
from reports.prose import vocabulary


@pytest.fixture(autouse=True)
def words() -> Iterator[None]:
    """Sections and sentences that a test makes by themselves speak as those of a page."""
    with vocabulary(WORDS):
        yield


@pytest.fixture(scope="session")
def run() -> ReportData:
    return with_interventions(report_data())


@pytest.fixture(scope="session")
def page(run: ReportData) -> str:
    return render(run)
