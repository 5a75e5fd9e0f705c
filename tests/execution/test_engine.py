"""Several worker processes: the same findings, and one that dies takes nothing with it that can be done again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from clusters import Processes, environment_of, soon, started
from distributed import Client
from studies import ATTRIBUTION, EVERY_KIND, write_study
from worker_jobs import do_job, in_memory, who

from mechshift_core import load_spec, run
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution import account as accounts
from mechshift_core.execution import plan as planning
from mechshift_core.execution.clusters import opened
from mechshift_core.execution.engine import Engine
from mechshift_core.execution.jobs import Job, Outcome, Waiting
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.profiles import Profile, is_loopback
from mechshift_core.pipeline import Run, stored_plan

TWO = Profile(workers=2)
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Dask's own, of sockets that it closes late


def shared_out(engine: Engine, folder: Path, jobs: Sequence[Job]) -> dict[str, str | None]:
    """Job -> why it failed."""
    found: dict[str, str | None] = {}

    def ended(job: Job, outcome: Outcome) -> None:
        assert job.key not in found
        found[job.key] = outcome.reason

    engine.share_out(
        jobs,
        partial(do_job, folder),
        begun=lambda _: None,
        ended=ended,
        waiting_for_workers=lambda _: None,
    )
    return found


def jobs_named(*keys: str, needs: dict[str, tuple[str, ...]] | None = None) -> list[Job]:
    return [Job(key, key, (needs or {}).get(key, ()), key, key) for key in keys]


def test_jobs_are_done_and_the_dead_are_replaced(tmp_path: Path) -> None:
    needs = {"after-fail": ("fail",), "after-that": ("after-fail",), "after-well": ("well", "once")}
    keys = ("well", "kill", "fail", "exit", "once", "break", "after-fail", "after-that", "after-well")
    with opened(TWO, most=9) as engine:
        found = shared_out(engine, tmp_path, jobs_named(*keys, needs=needs))
        again = shared_out(engine, tmp_path, jobs_named("more"))  # the workers are whole again
    assert again == {"more": None}
    died = {key: reason for key, reason in found.items() if key in ("kill", "exit")}
    assert all(reason and reason.startswith("its worker process died, 2 times in a row") for reason in died.values())
    lost = {
        "after-fail": "what it needs failed, fail: no luck",
        "after-that": "what it needs failed, fail: no luck",
    }
    others = {key: reason for key, reason in found.items() if key not in died}
    assert others == {
        "well": None, "once": None, "after-well": None, "fail": "no luck",
        "break": "internal error: RuntimeError: broken", **lost,
    }  # fmt: skip
    assert [len(who(tmp_path, key)) for key in ("well", "kill", "exit", "once", "fail")] == [1, 2, 2, 2, 1]
    assert not any(alive(process) for key in ("well", "once", "more") for process in who(tmp_path, key))


def alive(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    from worker_jobs import __file__ as script

    command = [sys.executable, script, str(tmp_path)]
    with subprocess.Popen(command, env=environment_of(), stderr=subprocess.DEVNULL) as parent:
        assert soon((tmp_path / "sleep").exists) and soon(lambda: bool((tmp_path / "sleep").read_text()))
        (worker,) = who(tmp_path, "sleep")
        assert alive(worker)
        parent.send_signal(how)
        assert parent.wait(60) != 0
    assert soon(lambda: not alive(worker))


def naive(waiting: Sequence[Job], done: set[str], holds: str, others: set[str]) -> list[str]:
    """What a slow, obvious choice would allow: any job of the best class."""
    ready = [job for job in waiting if set(job.needs) <= done]
    classes = [
        [job.key for job in ready if job.holds == holds],
        [job.key for job in ready if job.holds not in others],
        [job.key for job in ready],
    ]
    return next((one for one in classes if one), [])


@pytest.mark.parametrize("seed", range(200))
def test_who_is_free_gets_a_job_whose_needs_are_met_of_what_it_holds(seed: int) -> None:
    draw = random.Random(seed)
    jobs: list[Job] = []
    for number in range(draw.randint(1, 12)):
        needs = draw.sample([job.key for job in jobs], draw.randint(0, min(3, len(jobs))))
        jobs.append(Job(f"{number}", draw.choice("xyz"), (*needs, "there already")))
    waiting, open_ = Waiting(jobs), list(jobs)
    done, settled = {"there already"}, set[str]()
    running: list[Job] = []
    while waiting or running:
        holds, others = draw.choice(["", "x", "y", "z"]), set(draw.sample("xyz", draw.randint(0, 3)))
        if running and draw.random() < 0.5:
            job = running.pop(draw.randrange(len(running)))
            what = draw.choice(["done", "done", "failed", "lost"])
            if what == "lost":
                waiting.again(job)
                open_.append(job)
                continue
            settled.add(job.key)
            if what == "done":
                done.add(job.key)
                waiting.done(job.key)
                continue
            lost = {one.key for one in waiting.failed(job.key)}
            expected = {job.key}
            for one in jobs:  # in order, so that what a lost one is needed by is lost too
                if expected & set(one.needs):
                    expected.add(one.key)
            assert lost == expected & {one.key for one in open_}
            open_ = [one for one in open_ if one.key not in lost]
            settled |= lost
            continue
        allowed = naive(open_, done, holds, others)
        taken = waiting.take(holds, others)
        assert (taken is None) == (not allowed)
        if taken is not None:
            assert taken.key in allowed
            open_.remove(taken)
            running.append(taken)
    assert settled == {job.key for job in jobs} and not open_


def execution(path: Path, **settings_: object) -> Path:
    text = path.read_text()
    start = text.index("execution:")
    path.write_text(text[:start] + "execution: " + json.dumps({"device": "cpu", **settings_}) + "\n")
    return path


def same_findings(one: Run, other: Run, *, within: float = 1e-9) -> None:
    assert one.failures == other.failures == ()
    for first, second in zip(one.findings.hypotheses, other.findings.hypotheses, strict=True):
        assert (first.id, first.verdict, first.status) == (second.id, second.verdict, second.status)
        for name in ("estimate", "low", "high", "p", "p_corrected", "se"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), abs=within), name


def events_of(folder: Path, event: str) -> list[dict[str, object]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == event]


def two_stages(folder: Path) -> Path:
    circuits: dict[str, object] = {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [30, 100]}
    return write_study(folder, interventions=[ATTRIBUTION, circuits])


@pytest.mark.long
def test_two_workers_find_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD", 7)
    study = two_stages(tmp_path)
    alone = run(study, out=tmp_path / "alone")
    seen: list[tuple[str, int, int]] = []
    together = run(execution(study, workers=2), out=tmp_path / "out", progress=lambda *said: seen.append(said))
    assert together.computed == alone.computed == 10
    same_findings(together, alone)
    assert [(done, total) for _, done, total in seen if _ == "cells"] == [(10, 10)]
    order = [event["key"] for event in events_of(tmp_path / "out", "cell")]
    cells = {cell.key: cell for cell in stored_plan(tmp_path / "out").cells}
    assert len(order) == len(cells)
    assert all(order.index(need) < order.index(key) for key in order for need in cells[str(key)].needs)
    # Three models on two workers: none loads a model again that it had before.
    assert 3 <= len(events_of(tmp_path / "out", "model loaded")) <= 6
    again = run(study, out=tmp_path / "out")
    assert (again.computed, again.cached) == (0, 10)


@pytest.mark.long
@pytest.mark.parametrize(
    "settings_",
    [
        pytest.param({"workers": 3}, marks=pytest.mark.nightly),
        {"batch_size": 5},
        pytest.param({"order": 1}, marks=pytest.mark.nightly),
    ],
)
def test_workers_batches_and_order_change_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings_: dict[str, int]
) -> None:
    monkeypatch.setattr(planning, "SHARD", 5)
    study = write_study(tmp_path, interventions=EVERY_KIND, diffusion=True)
    first = run(execution(study), out=tmp_path / "first")
    if "order" in settings_:
        make = accounts.Account.__init__

        def shuffled(self: accounts.Account, plan: Plan, *others: object) -> None:
            make(self, plan, *others)  # type: ignore[arg-type]
            random.Random(settings_["order"]).shuffle(self.jobs)

        monkeypatch.setattr(accounts.Account, "__init__", shuffled)
        second = run(study, out=tmp_path / "second")
    else:
        second = run(execution(study, **settings_), out=tmp_path / "second")
    assert second.computed == first.computed
    # Another batch rounds otherwise; processes and order change nothing at all.
    same_findings(second, first, within=1e-6 if "batch_size" in settings_ else 1e-9)


@contextmanager
def external(folder: Path, *, workers: int) -> Iterator[tuple[str, Processes]]:
    """A Dask scheduler and workers, started by hand: its address, and the processes, the scheduler first."""
    environment = environment_of(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="1")
    file, dask = folder / "scheduler.json", (sys.executable, "-m", "dask")
    with ExitStack() as stack:

        def start(name: str, *command: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(started(*dask, *command, log=folder / f"{name}.log", environment=environment))

        where = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        processes = [start("scheduler", "scheduler", *where)]
        assert soon(lambda: file.is_file() and bool(file.read_text()))
        address = json.loads(file.read_text())["address"]
        how = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(folder / "scratch"))
        processes += [start(f"worker{number}", "worker", address, *how) for number in range(workers)]
        yield address, processes


@pytest.mark.nightly
def test_workers_of_a_scheduler_that_runs_compute_a_study_and_may_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SHARD", 2)
    study = two_stages(tmp_path)
    alone = run(study, out=tmp_path / "alone")
    with external(tmp_path, workers=2) as (address, processes):
        killed: list[int] = []

        def kill_one() -> None:
            assert soon(lambda: (tmp_path / "out/cells").is_dir() and len([*(tmp_path / "out/cells").iterdir()]) > 3)
            found = subprocess.run(["pgrep", "-P", str(processes[1].pid)], capture_output=True, text=True, check=True)
            killed.extend(int(line) for line in found.stdout.split())
            for process in killed:
                os.kill(process, signal.SIGKILL)

        killer = threading.Thread(target=kill_one)
        killer.start()
        together = run(study, out=tmp_path / "out", profile=Profile(scheduler=address))
        killer.join()
        with Client(address, set_as_default=False) as client:  # nothing of the run stays in their memory
            assert soon(lambda: set(client.run(in_memory).values()) == {0})
    assert killed
    assert together.computed == alone.computed
    same_findings(together, alone)
    keys = [event["key"] for event in events_of(tmp_path / "out", "cell")]
    assert len(keys) == len(set(keys))


@pytest.mark.nightly
def test_a_run_whose_scheduler_is_killed_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD", 1)
    study = two_stages(tmp_path)
    with external(tmp_path, workers=1) as (address, processes):

        def kill_it() -> None:
            assert soon(lambda: (tmp_path / "out/cells").is_dir() and len([*(tmp_path / "out/cells").iterdir()]) > 3)
            processes[0].kill()

        killer = threading.Thread(target=kill_it)
        killer.start()
        with pytest.raises(ExecutionError, match=r"was lost; .* goes on from there"):
            run(study, out=tmp_path / "out", profile=Profile(scheduler=address))
        killer.join()
    rest = run(study, out=tmp_path / "out")
    assert rest.failures == () and rest.cached > 0 and rest.computed > 0


def test_no_scheduler_and_one_that_is_not_encrypted_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="not encrypted: whoever reaches it can run code as you"),
        opened(Profile(scheduler="tcp://10.1.2.3:8786"), most=1),
    ):
        pass
    missing = {"ca": str(tmp_path / "ca.pem"), "certificate": "c", "key": "k"}
    with (
        pytest.raises(UsageError, match=r"no such file: .*ca\.pem"),
        opened(Profile.model_validate({"scheduler": "tls://10.1.2.3:8786", "tls": missing}), most=1),
    ):
        pass


@pytest.mark.long
def test_a_worker_that_is_unfit_gets_no_more_jobs_and_the_others_do_them(tmp_path: Path) -> None:
    (tmp_path / "unfit").write_text("0")  # the number of the worker
    with opened(TWO, most=9) as engine:
        found = shared_out(engine, tmp_path, jobs_named(*"abcdef"))
        (tmp_path / "unfit").write_text("0 1")
        lost = shared_out(engine, tmp_path, jobs_named(*"ghi"))
    assert set(found.values()) == {None}
    assert {line.split()[1] for key in "abcdef" for line in (tmp_path / key).read_text().splitlines()[-1:]} == {"1"}
    assert set(lost.values()) == {"this worker has other code"}


@pytest.mark.long
def test_what_a_spec_has_become_in_python_is_not_what_workers_read(tmp_path: Path) -> None:
    spec = load_spec(write_study(tmp_path))
    changed = spec.model_copy(update={"seed": spec.seed + 1})
    with pytest.raises(UsageError, match="not that of its file any more"):
        run(changed, out=tmp_path / "out", profile=TWO)
    assert run(changed, out=tmp_path / "alone").failures == ()


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1.example.org:8786", "tcp://localhost.example.org:1", "tcp://10.0.0.1:1"]
)
def test_only_this_machine_is_this_machine(address: str) -> None:
    with pytest.raises(UsageError, match="not encrypted"), opened(Profile(scheduler=address), most=1):
        pass
    assert is_loopback("tcp://127.0.0.1:1") and is_loopback("tcp://localhost:1") and is_loopback("tcp://[::1]:1")


def test_an_encrypted_scheduler_needs_certificates() -> None:
    with (
        pytest.raises(UsageError, match="a profile says with which certificates"),
        opened(Profile(scheduler="tls://127.0.0.1:1"), most=1),
    ):
        pass


@pytest.mark.long
def test_a_manager_that_refuses_jobs_says_why_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    options = {"queue": "gpu", "cores": 1, "memory": "1GB", "interface": "lo", "shared_temp_directory": str(tmp_path)}
    profile = Profile.model_validate({"cluster": "slurm", "workers": 2, "options": options})
    with (
        pytest.raises(ExecutionError, match=r"slurm takes no job: sbatch: error: invalid partition specified: gpu$"),
        opened(profile, most=2) as engine,
    ):
        shared_out(engine, tmp_path, jobs_named("a", "b"))
    assert [path.name for path in tmp_path.iterdir()] == ["sbatch"]
