from __future__ import annotations

import pytest
from synthetic_interventions import with_interventions
from synthetic_run import report_data

from reports import ReportData, render


@pytest.fixture(scope="session")
def run() -> ReportData:
    return with_interventions(report_data())


@pytest.fixture(scope="session")
def page(run: ReportData) -> str:
    return render(run)
