"""What a worker process refuses, and what it keeps in memory: a run that it works on, until that ends."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clusters import soon

from mechshift_core.execution import worker
from mechshift_core.execution.worker import Share, Work, do_cell, release
from mechshift_core.pipeline import Run, stored_plan


@pytest.fixture
def work(finished: Run) -> Iterator[Work]:
    yield Work.of(finished.path, ())
    worker._runs.clear()
    worker._hands.clear()


@pytest.mark.long
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"code": ("0.0.9", "f" * 64)}, r"the run 0\.0\.9 \(ffffffffffff\); install the same on both, or start anew"),
        ({"packages": "f" * 16}, "has other versions of torch"),
        ({"spec": "f" * 64}, "sees another run"),
        ({"folder": "/nowhere"}, "cannot read /nowhere"),
        (
            {"kinds": (("measure mine", "mine (1, code 0123)"),)},
            r"has measure mine from nowhere, the run from mine \(1, code 0123\); install the same on both",
        ),
    ],
)
def test_a_worker_with_something_else_is_unfit(work: Work, other: dict[str, Any], said: str) -> None:
    outcome = do_cell(replace(work, **other), Share(), "key")
    assert outcome.unfit and re.search(said, str(outcome.reason)), outcome.reason


@pytest.mark.long
def test_a_run_is_forgotten_when_it_ends_and_no_other(work: Work, out: Path) -> None:
    cell = stored_plan(out).cells[0]
    (out / "cells" / cell.key / "cell.json").unlink()
    assert do_cell(work, Share(), cell.key).reason is None
    assert worker._hands[work]._model is not None
    release(replace(work, spec="another"))
    forgotten: list[Work] = []
    with worker.BUSY:
        release(work, forgotten.append)
        assert work in worker._hands  # it is done with what it does first
    assert soon(lambda: forgotten == [work], seconds=10)
    assert worker._hands == worker._runs == {}
