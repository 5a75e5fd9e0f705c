"""A server that is killed, or loses its database while it runs: no run is lost, and none is run twice."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from servers import SECONDS, Server, end_jobs, launch, serving, study, wait_for

from mechshift_core.service.client import Client


def runs(server: Server) -> dict[str, str]:
    return {one["name"]: one["state"] for one in server.http.get("/runs", params={"limit": 1000}).json()["runs"]}


@pytest.mark.long
def test_runs_outlive_a_server_that_is_killed_and_the_next_one_finds_them(tmp_path: Path) -> None:
    (tmp_path / ".mechshift").mkdir()
    (tmp_path / ".mechshift" / "server.yaml").write_text("at_once: 2\nrefresh_seconds: 1\n")
    first = launch(tmp_path)
    names = [first.submit("sleep=4", key=f"k{number}") for number in range(2)]
    names += [first.submit("", key=f"k{number}") for number in range(2, 4)]
    for name in names[:2]:
        first.until(name, "running")
    processes = [first.pid(name) for name in names[:2]]
    half = tmp_path / ".mechshift" / ".new-half"  # what it was at when it was killed
    (half / "inputs").mkdir(parents=True)
    first.kill()
    for process in processes:
        os.kill(process, 0)
    with serving(tmp_path) as second:
        assert not half.exists()
        assert runs(second).keys() == {*names}
        for number, name in enumerate(names):
            again = second.http.post(
                "/runs",
                json={"spec": study("sleep=4" if number < 2 else "")},
                headers={"idempotency-key": f"k{number}"},
            )
            assert (again.status_code, again.json()["name"]) == (200, name)
        for name in names:
            assert second.until(name, "complete", "failed")["state"] == "complete"
            assert second.attempts(name) == 1
        _loses_its_database(second, names)
        second.process.send_signal(signal.SIGTERM)
        second.process.wait(SECONDS)
        assert second.process.stderr is not None and "Traceback" not in second.process.stderr.read()


def _loses_its_database(server: Server, names: list[str]) -> None:
    """The same server, whose database is deleted, scribbled over and truncated, goes on within seconds."""
    database = server.root / ".mechshift" / "index.sqlite"

    def scribble() -> None:
        with database.open("r+b") as handle:
            handle.write(os.urandom(database.stat().st_size))

    def truncate() -> None:
        os.truncate(database, 4096)

    for damage in (database.unlink, scribble, truncate):
        before = database.stat().st_ino
        damage()
        (server.root / ".mechshift" / "index.sqlite-wal").unlink(missing_ok=True)

        def whole(before: int = before) -> bool:
            answer = server.http.get("/runs", params={"limit": 1000})
            assert answer.status_code in (200, 503), answer.text
            there = database.exists() and database.stat().st_ino != before
            return there and answer.status_code == 200 and len(answer.json()["runs"]) == len(names)

        wait_for(whole)
        again = wait_for(lambda: _again(server))
        assert again["name"] == names[0]
    new = server.submit("")
    assert server.until(new, "complete")
    names.append(new)
    wait_for(lambda: httpx.get(f"{server.address}/health").json()["trouble"] == "")


def _again(server: Server) -> dict[str, str] | None:
    """What the first submission is taken for; None while the index is being made anew."""
    answer = server.http.post("/runs", json={"spec": study("sleep=4")}, headers={"idempotency-key": "k0"})
    assert answer.status_code in (200, 503), answer.text
    content: dict[str, str] = answer.json()
    return content if answer.status_code == 200 else None


@pytest.mark.nightly
def test_a_server_that_is_killed_again_and_again_runs_every_submission_once(tmp_path: Path) -> None:
    """Clients submit with keys while the server is killed at random moments, and its runs with it."""
    draw = random.Random(0)
    (tmp_path / ".mechshift").mkdir(parents=True)
    (tmp_path / ".mechshift" / "server.yaml").write_text("at_once: 3\n")
    current = launch(tmp_path)
    port = current.address.rpartition(":")[2]
    current.kill()
    spec = tmp_path / "study.yaml"
    spec.write_text(study("sleep=0.2", name="storm"))
    taken: dict[str, str] = {}

    def submit(number: int) -> None:
        with Client(f"http://127.0.0.1:{port}", patience=300) as client:
            while True:
                try:
                    taken[f"k{number}"] = client.submit(spec, key=f"k{number}").name
                except Exception:
                    time.sleep(0.3)
                else:
                    return

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        current = launch(tmp_path, "--port", port)
        time.sleep(draw.uniform(0.05, 2))
        current.kill()
        for started in tmp_path.glob(".mechshift/jobs/*/attempts/*/started.json"):
            if draw.random() < 0.1 and not (started.parent / "outcome.json").exists():
                with suppress(OSError, ValueError):
                    os.kill(json.loads(started.read_text())["pid"], signal.SIGKILL)
    with serving(tmp_path, "--port", port) as server:
        for thread in threads:
            thread.join(120)
        assert len({*taken.values()}) == 20
        wait_for(lambda: {*runs(server).values()} == {"complete"}, seconds=180)
        assert runs(server).keys() == {*taken.values()}
        done = [*tmp_path.glob(".mechshift/jobs/*/attempts/*/outcome.json")]
        assert len(done) == 20, "one outcome each"
    end_jobs(tmp_path)
