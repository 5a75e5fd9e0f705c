"""Several worker processes: the same findings, and a process that dies takes only its cell with it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from studies import ATTRIBUTION, EVERY_KIND, write_study
from worker_jobs import start_jobs

from mechshift_core import run
from mechshift_core.execution import plan as planning
from mechshift_core.execution import runner, schedule
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.workers import Workers, threads_each
from mechshift_core.pipeline import Run, stored_plan


def test_workers_do_their_jobs_and_the_dead_are_replaced(tmp_path: Path) -> None:
    outcomes: dict[int, tuple[str | None, bool]] = {}
    jobs = [1, 13, 2, 14, 4, 6]
    with Workers(2, start_jobs, tmp_path) as workers:
        while jobs or workers.busy:
            for number in workers.idle[: len(jobs)]:
                workers.give(number, jobs.pop(0))
            for outcome in workers.finished():
                outcomes[outcome.job] = (outcome.reason, outcome.died)
        assert workers.idle == [0, 1]
    killed = "its worker process was killed (SIGKILL); the machine may have run out of memory"
    assert outcomes.pop(13) == (killed, True)
    assert outcomes.pop(14) == ("its worker process ended with exit code 5", True)
    assert outcomes == {1: ("odd", False), 2: (None, False), 4: (None, False), 6: (None, False)}
    processes = {path.read_text() for path in tmp_path.iterdir()}
    assert {text.split()[0] for text in processes} == {"0", "1"}
    assert not any(alive(int(text.split()[1])) for text in processes)


def alive(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def soon(condition: Callable[[], bool], *, seconds: float = 60) -> bool:
    """Whether something becomes true in time."""
    stop = time.monotonic() + seconds
    while not condition() and time.monotonic() < stop:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    from worker_jobs import __file__ as script

    command = [sys.executable, script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as parent:
        assert soon((tmp_path / "15").exists) and soon(lambda: bool((tmp_path / "15").read_text()))
        worker = int((tmp_path / "15").read_text().split()[1])
        assert alive(worker)
        parent.send_signal(how)
        assert parent.wait(60) != 0
    assert soon(lambda: not alive(worker))


def test_workers_share_the_processors() -> None:
    processors = len(os.sched_getaffinity(0))
    assert threads_each(1) == processors
    assert threads_each(processors) == threads_each(10 * processors) == 1


def cell(name: str, model: str, *needs: str) -> tuple[int, Cell]:
    return ord(name), Cell(model, "task", "what", 0, 1, name, needs=needs)


@pytest.mark.parametrize(
    ("running", "holds", "expected"),
    [
        ([], {}, "a"),
        ([], {0: "y", 1: "x"}, "c"),  # the model that this worker holds
        ([("a", "x")], {1: "x"}, "c"),  # no other worker holds it
        ([("a", "x"), ("c", "y")], {1: "x", 2: "y"}, "b"),  # better a model twice in memory than nothing to do
        ([("a", "x"), ("b", "x"), ("c", "y")], {}, None),  # what is left needs these
        ([("e", "y"), ("a", "x"), ("b", "x"), ("c", "y")], {}, None),
    ],
)
def test_a_worker_gets_a_cell_whose_needs_are_met(
    running: Sequence[tuple[str, str]], holds: dict[int, str], expected: str | None
) -> None:
    cells = [cell("a", "x"), cell("b", "x"), cell("c", "y"), cell("d", "y", "a", "c"), cell("e", "x", "z", "b")]
    taken = {name for name, _ in running}
    waiting = [own for own in cells if own[1].key not in taken]
    chosen = schedule._next_cell(waiting, [cell(name, model)[1] for name, model in running], holds, 0)
    assert (None if chosen is None else chosen[1].key) == expected


def execution(path: Path, **settings: object) -> Path:
    text = path.read_text()
    start = text.index("execution:")
    path.write_text(text[:start] + "execution: " + json.dumps({"device": "cpu", **settings}) + "\n")
    return path


def same_findings(one: Run, other: Run) -> None:
    assert one.failures == other.failures == ()
    for first, second in zip(one.findings.hypotheses, other.findings.hypotheses, strict=True):
        assert (first.id, first.verdict, first.status) == (second.id, second.verdict, second.status)
        for name in ("estimate", "low", "high", "p", "p_corrected", "se"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-6), name


@pytest.mark.long
def test_two_workers_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD", 7)
    circuits: dict[str, object] = {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [30, 100]}
    study = write_study(tmp_path, interventions=[ATTRIBUTION, circuits])
    alone = run(study, out=tmp_path / "alone")
    seen: list[tuple[str, int, int]] = []
    together = run(execution(study, workers=2), out=tmp_path / "out", progress=lambda *said: seen.append(said))
    assert together.computed == alone.computed == 10
    same_findings(together, alone)
    assert [(done, total) for _, done, total in seen if _ == "cells"] == [(10, 10)]
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    order = [event["key"] for event in events if event["event"] == "cell"]
    cells = {cell.key: cell for cell in stored_plan(tmp_path / "out").cells}
    assert len(order) == len(cells)
    assert all(order.index(need) < order.index(key) for key in order for need in cells[key].needs)
    again = run(study, out=tmp_path / "out")
    assert (again.computed, again.cached) == (0, 10)


@pytest.mark.long
@pytest.mark.parametrize("settings", [{"workers": 3}, {"batch_size": 1}, {"batch_size": 5}, {"order": 1}, {"order": 2}])
def test_workers_batches_and_order_change_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, int]
) -> None:
    monkeypatch.setattr(planning, "SHARD", 5)
    study = write_study(tmp_path, interventions=EVERY_KIND, diffusion=True)
    first = run(execution(study), out=tmp_path / "first")
    if "order" in settings:
        in_order = runner.in_order

        def shuffled(plan: Plan, cells: Sequence[tuple[Plan, Cell]]) -> list[tuple[Plan, Cell]]:
            found = in_order(plan, cells)
            random.Random(settings["order"]).shuffle(found)
            return sorted(found, key=lambda own: bool(own[1].needs))

        monkeypatch.setattr(runner, "in_order", shuffled)
        second = run(study, out=tmp_path / "second")
    else:
        second = run(execution(study, **settings), out=tmp_path / "second")
    assert second.computed == first.computed
    same_findings(second, first)


class _Killing(RunFolder):
    """A run directory that kills the process that wants to write a cell of the model `after`."""

    def new_cell(self, key, description, layout):  # type: ignore[no-untyped-def]
        if description["model"] == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().new_cell(key, description, layout)


@pytest.mark.long
def test_a_killed_worker_fails_its_cell_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = write_study(tmp_path)
    alone = run(study, out=tmp_path / "alone")
    execution(study, workers=2)
    with monkeypatch.context() as patched:
        patched.setattr("mechshift_core.pipeline.RunFolder", _Killing)
        partial = run(study, out=tmp_path / "out")
    assert (partial.computed, partial.cached) == (2, 0)
    assert [line.split(":")[0] for line in partial.failures] == ["circuit of after on mine, examples 0-12"]
    assert "its worker process was killed (SIGKILL)" in partial.failures[0]
    assert "was killed (SIGKILL)" in (tmp_path / "out" / "report.html").read_text()
    mended = run(study, out=tmp_path / "out")
    assert (mended.computed, mended.cached) == (1, 2)
    same_findings(mended, alone)
