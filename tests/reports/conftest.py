from __future__ import annotations

import pytest
from synthetic_run import report_data

from reports import ReportData, render


@pytest.fixture(scope="session")
def run() -> ReportData:
    return report_data()


@pytest.fixture(scope="session")
def page(run: ReportData) -> str:
    return render(run)
