"""Jobs that are killed, asked to end, cancelled or pulled from under the server: none is lost, and none run twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import STUB, end_jobs, study, wait_for
from stored_runs import findings, write_run

from mechshift_core.errors import ExecutionError
from mechshift_core.service import keeper as keeping
from mechshift_core.service.deleting import delete, restore, trashed
from mechshift_core.service.jobs import Job, write_json
from mechshift_core.service.root import Root
from mechshift_core.service.service import Service
from mechshift_core.service.settings import Settings
from mechshift_core.service.submissions import RefusedError

COMMAND = (sys.executable, str(Path(STUB[1]).parent / "stub_work.py"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Service]]:
    """Makes servers on one root, whose keepers look when they are asked to."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setattr(keeping, "COMMAND", COMMAND)

    made: list[Service] = []

    def make(**settings: Any) -> Service:
        root = Root(tmp_path / "root")
        root.make()
        service = Service.of(root, Settings(**settings))
        service.index.open()
        service.index.refresh()
        made.append(service)
        return service

    yield make
    end_jobs(tmp_path / "root")
    for service in made:
        for started in service.keeper._started.values():
            started.process.kill()
            started.process.wait(60)


def submit(service: Service, title: str = "", **more: Any) -> Job:
    return Job(service.root.job(service.submissions.submit(study(title), {}, **more).name))


def until(service: Service, job: Job, *states: str) -> str:
    """Have the keeper look until a job is in one of some states."""

    def there() -> bool:
        service.keeper.look()
        return job.state() in states

    wait_for(there)
    return job.state()


def listed(service: Service, job: Job) -> dict[str, Any]:
    return service.run(job.name)


def attempts(job: Job) -> int:
    return len([*(job.folder / "attempts").iterdir()])


def has_progress(job: Job) -> bool:
    attempt = job.attempt()
    return attempt is not None and attempt.progress.exists()


def pid(job: Job) -> int:
    attempt = job.attempt()
    assert attempt is not None
    return int(attempt.started["pid"])


@pytest.mark.long
def test_a_process_that_is_killed_is_started_again(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, "sleep=1 die-once")
    assert until(service, job, "complete", "failed") == "complete"
    assert attempts(job) == 2
    found = listed(service, job)
    assert (found["attempts"], found["supported"], found["message"]) == (2, 2, "")


@pytest.mark.nightly
def test_three_deaths_are_a_failure_with_the_last_words(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, "die")
    assert until(service, job, "complete", "failed") == "failed"
    assert attempts(job) == 3
    message = listed(service, job)["message"]
    assert "3 times without a word" in message and message.endswith("its last words: about to die")
    assert service.resume(job.name, "ada") == "queued"
    assert until(service, job, "failed") == "failed" and attempts(job) == 6, "asked for again, it has three lives again"


@pytest.mark.nightly
@pytest.mark.parametrize("deaths", ["two", None, -1, 10**9, [1]])
def test_a_count_of_deaths_that_is_damaged_counts_as_none(here: Callable[..., Service], deaths: object) -> None:
    service = here()
    job = submit(service)
    attempt = job.attempt()
    assert attempt is not None
    write_json(attempt.folder / "wanted.json", {"by": "x", "at": "", "deaths": deaths})
    assert attempt.deaths == 0
    attempt.start()
    service.keeper.look()
    again = job.attempt()
    assert again is not None and (again.number, again.deaths) == (2, 1)
    assert until(service, job, "complete") == "complete"


def test_a_process_that_can_not_begin_is_a_death_too(here: Callable[..., Service]) -> None:
    service = here()
    service.keeper.command = (sys.executable, "-c", "import sys; sys.exit('no such module')")
    job = submit(service)
    assert until(service, job, "failed") == "failed"
    assert "no such module" in listed(service, job)["message"]


@pytest.mark.nightly
def test_a_process_that_is_asked_to_end_has_not_died(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, "sleep=60")
    for number in range(1, 4):
        until(service, job, "running")
        wait_for(lambda: pid(job) > 1 if (a := job.attempt()) and a.started else None)
        assert attempts(job) == number
        wait_for(lambda: has_progress(job))
        os.kill(pid(job), signal.SIGTERM)
        wait_for(lambda: job.state() == "died")
        service.keeper.look()
    assert job.attempt().wanted["deaths"] == 0  # type: ignore[union-attr]
    service.cancel(job.name, "ada")
    assert until(service, job, "cancelled") == "cancelled"


def test_cancelled_before_it_began(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, "sleep=60")
    service.cancel(job.name, "ada")
    assert job.state() == "cancelled"
    service.keeper.look()
    outcome = job.attempt().outcome()  # type: ignore[union-attr]
    assert outcome is not None and outcome.state == "cancelled" and not job.attempt().started  # type: ignore[union-attr]
    assert listed(service, job)["state"] == "cancelled" and service.index.open_jobs() == []


@pytest.mark.long
def test_cancelled_while_its_process_starts(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, "sleep=60")
    service.keeper.look()
    service.cancel(job.name, "ada")
    assert until(service, job, "cancelled") == "cancelled"
    wait_for(lambda: service.keeper.look() or not service.keeper._started)
    assert attempts(job) == 1


@pytest.mark.long
def test_cancelled_while_it_runs_and_at_its_end(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, "sleep=60")
    until(service, job, "running")
    service.cancel(job.name, "ada")
    assert until(service, job, "cancelled") == "cancelled"
    quick = submit(service)
    until(service, quick, "complete")
    with pytest.raises(ExecutionError, match="has ended"):
        service.cancel(quick.name, "ada")
    assert quick.state() == "complete"


@pytest.mark.long
def test_who_does_not_listen_is_killed(here: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PATIENCE", 0.5)
    service = here()
    job = submit(service, "sleep=60 deaf")
    until(service, job, "running")
    wait_for(lambda: has_progress(job))
    time.sleep(0.3)
    process = pid(job)
    service.cancel(job.name, "ada")
    assert until(service, job, "cancelled") == "cancelled"
    wait_for(lambda: service.keeper.look() or not service.keeper._started)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.long
def test_a_server_that_is_started_again_finds_what_runs_and_what_waits(here: Callable[..., Service]) -> None:
    first = here()
    running, waiting = submit(first, "sleep=2"), submit(first)
    until(first, running, "running")
    again = here()
    for _ in range(3):
        again.keeper.look()
        assert running.state() == "running" and waiting.state() == "queued"
    assert until(again, waiting, "complete") == "complete"
    assert running.state() == "complete" and attempts(running) == attempts(waiting) == 1


@pytest.mark.long
def test_two_processes_on_one_job_do_it_once(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, "sleep=1")
    call = [*COMMAND, str(service.root.folder), job.name]
    both = [subprocess.Popen(call) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert job.state() == "complete" and attempts(job) == 1
    assert job.attempt().log.exists() is False  # type: ignore[union-attr]
    assert subprocess.run(call, check=False).returncode == 0


@pytest.mark.long
def test_whoever_looks_keeps_no_process_from_its_lock(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service)
    process = subprocess.Popen([*COMMAND, str(service.root.folder), job.name])
    while process.poll() is None:
        job.state()
        assert job.state() != "died"
    assert job.state() == "complete"


@pytest.mark.long
def test_a_job_whose_folder_is_deleted_under_it_holds_up_no_other(here: Callable[..., Service]) -> None:
    service = here()
    gone, next_ = submit(service, "sleep=60"), submit(service)
    until(service, gone, "running")
    process = pid(gone)
    gone.folder.rename(service.root.folder.parent / "elsewhere")  # its process still writes there
    assert until(service, next_, "complete") == "complete"
    assert service.index.open_jobs() == []
    os.kill(process, signal.SIGKILL)


@pytest.mark.long
def test_a_job_whose_spec_is_gone_has_failed_and_holds_up_no_other(here: Callable[..., Service]) -> None:
    service = here()
    broken, next_ = submit(service), submit(service)
    shutil.rmtree(broken.inputs)
    assert until(service, next_, "complete") == "complete"
    assert broken.state() == "failed" and "its spec is gone" in listed(service, broken)["message"]


@pytest.mark.long
def test_a_run_whose_folder_is_deleted_under_it_is_still_a_job(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service)
    until(service, job, "complete")
    shutil.rmtree(service.root.run(job.name))
    service.index.refresh()
    found = listed(service, job)
    assert found["state"] == "complete" and found["supported"] == 0 and "holds no run" in found["message"]
    service.resume(job.name, "ada")
    until(service, job, "complete")
    assert listed(service, job)["supported"] == 2 and listed(service, job)["message"] == ""


def test_runs_that_somebody_put_there_are_listed_once_and_left_alone(here: Callable[..., Service]) -> None:
    service = here()
    for name in ("first", "second"):
        write_run(service.root.folder / name, findings(name="by-hand"))
    write_run(service.root.folder / "Unlistable name", findings())
    service.index.refresh()
    service.index.refresh()
    rows = service.index.database.connection().execute("SELECT name, state FROM runs ORDER BY name").fetchall()
    assert [tuple(row) for row in rows] == [("first", "complete"), ("second", "complete")]
    for ask in (service.cancel, service.resume):
        with pytest.raises(Exception, match="was not handed in here"):
            ask("first", "ada")
    delete(service.index, "first")
    (place,) = trashed(service.index)
    assert restore(service.index, place.id) == "first" and service.run("first")["state"] == "complete"


@pytest.mark.long
def test_a_full_disk_takes_nothing_on_and_loses_nothing(
    here: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = here()
    job = submit(service)
    usage = shutil.disk_usage(service.root.folder)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(RefusedError, match="nearly full"):
            submit(service)
        assert "nearly full" in service.trouble() or service.keeper.looked == 0
        for _ in range(3):
            service.keeper.look()
        assert job.state() == "queued" and attempts(job) == 1, "it waits until there is room"
    assert until(service, job, "complete") == "complete"


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounts a small disk")
def test_a_disk_that_fills_while_runs_go_on(
    here: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "root"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)], check=False).returncode:
        pytest.skip("no mounts are allowed here")
    try:
        service = here(free_bytes=0)
        job = submit(service, "sleep=1")
        until(service, job, "running")
        ballast = place / "ballast"
        with ballast.open("wb", buffering=0) as handle:
            while True:
                try:
                    handle.write(b"x" * 4096)
                except OSError:
                    break
        with pytest.raises(Exception, match=r"write it down|disk|full|No space"):
            submit(service, key="full")
        assert not [*service.root.own.glob(".new-*")]
        wait_for(lambda: job.state() in ("died", "failed", "partial"))
        for _ in range(3):
            try:
                service.keeper.look()
            except Exception as error:
                service.keeper.trouble = str(error)
        ballast.unlink()
        second = submit(service, key="full")
        service.index.mend()
        assert until(service, second, "complete") == "complete"
        until(service, job, "complete", "failed")
        assert len([*service.root.jobs.iterdir()]) == 2
    finally:
        end_jobs(place)
        service.index.database.close()
        time.sleep(0.2)
        subprocess.run(["umount", "-l", str(place)], check=False)


def test_what_can_not_be_noted_is_not_taken_on(here: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    service = here()

    def fail(submission: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(service.index, "take", fail)
        with pytest.raises(RefusedError, match="No space left"):
            submit(service, key="k")
    assert [*service.root.jobs.iterdir()] == [] and not [*service.root.own.glob(".new-*")]
    assert submit(service, key="k").exists and len([*service.root.jobs.iterdir()]) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("at", ["1970-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", 5])
def test_times_of_a_clock_that_jumps_decide_nothing(here: Callable[..., Service], at: Any) -> None:
    service = here()
    job = submit(service)
    content = json.loads((job.folder / "job.json").read_text())
    write_json(job.folder / "job.json", {**content, "at": at})
    write_json(job.attempt().folder / "wanted.json", {"by": "x", "at": at, "deaths": 0})  # type: ignore[union-attr]
    assert until(service, job, "complete") == "complete"
    write_json(job.attempt().folder / "started.json", {"pid": 1, "at": at})  # type: ignore[union-attr]
    for name in ("findings.json", "provenance.json"):
        os.utime(service.root.run(job.name) / name, (2**33, 2**40))
    service.index.rebuild()
    assert listed(service, job)["state"] == "complete" and service.keeper.look() is None


@pytest.mark.long
def test_a_token_of_a_job_that_was_copied_belongs_to_the_first(here: Callable[..., Service]) -> None:
    service = here()
    job = submit(service, by="ada", key="k")
    until(service, job, "complete")
    shutil.copytree(job.folder, service.root.job("copied"))
    service.index.rebuild()
    assert service.run("copied")["state"] == "complete" == service.run(job.name)["state"]
    assert service.submissions.submit(study(), {}, by="ada", key="k").new is False
