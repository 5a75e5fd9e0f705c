"""Real servers in processes of their own, and what is handed in to them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

SECONDS = 60.0
"""Longest time that a test waits for something: machines are busy."""
STUB = [sys.executable, str(Path(__file__).parent / "stub_server.py")]
HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}
"""So that the processes run this source, whatever is installed."""
REAL = [sys.executable, "-m", "mechshift_core.cli.main"]
SPEC = """\
schema: mechshift/v1
name: {name}
title: "{title}"
models:
  arm: {{source: "bundled:tiny-s0/arm", paradigm: autoregressive}}
  mdm: {{source: "bundled:tiny-s0/mdm", paradigm: masked_diffusion}}
pairs:
  - {{name: diffusion, before: arm, after: mdm, role: treatment}}
tasks:
  - {{name: ioi, examples: 20}}
interventions:
  - {{name: circuit, kind: edge_attribution}}
hypotheses:
  - {{id: lower, measure: retention, test: {{kind: bound, bound: 0.1, alternative: greater}}}}
"""


def study(title: str = "", *, name: str = "tiny") -> str:
    """A spec whose run does what its title says; see `stub_work`."""
    return SPEC.format(name=name, title=title)


def wait_for(what: Callable[[], Any], *, seconds: float = SECONDS) -> Any:
    """What a function gives once it gives something."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


class Server:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], record: dict[str, Any]) -> None:
        self.process = process
        self.address: str = record["address"]
        self.root = Path(record["root"])
        self.http = httpx.Client(base_url=f"{self.address}/api/v1", timeout=SECONDS)

    def submit(self, title: str = "", *, name: str = "tiny", key: str = "", **more: Any) -> str:
        """The name of a run that was taken on."""
        answer = self.http.post(
            "/runs", json={"spec": study(title, name=name), **more}, headers={"idempotency-key": key} if key else {}
        )
        assert answer.status_code in (200, 202), answer.text
        return str(answer.json()["name"])

    def run(self, name: str) -> dict[str, Any]:
        answer = self.http.get(f"/runs/{name}")
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def until(self, name: str, *states: str) -> dict[str, Any]:
        """A run, once it is in one of some states."""

        def there() -> Any:
            found = self.run(name)
            return found if found["state"] in states else None

        found: dict[str, Any] = wait_for(there)
        return found

    def pid(self, name: str) -> int:
        """The process that runs a job, once it has begun."""
        attempts = self.root / ".mechshift" / "jobs" / name / "attempts"
        number = max(int(path.name) for path in attempts.iterdir())
        started = attempts / str(number) / "started.json"
        wait_for(started.is_file)
        return int(json.loads(started.read_text())["pid"])

    def attempts(self, name: str) -> int:
        return len([*(self.root / ".mechshift" / "jobs" / name / "attempts").iterdir()])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self.close()

    def close(self) -> None:
        self.http.close()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(SECONDS)


def launch(root: Path, *options: str, command: list[str] | None = None, env: dict[str, str] | None = None) -> Server:
    """Start a server on a free port; it is up when this returns."""
    call = [
        *(command or STUB),
        "serve",
        "--root",
        str(root),
        *(() if "--port" in options else ("--port", "0")),
        "--json",
        *options,
    ]
    process = subprocess.Popen(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **HERE, **(env or {})}
    )
    assert process.stdout is not None and process.stderr is not None
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    line = process.stdout.readline() if ready else ""
    if not line:
        process.kill()
        with process:
            raise AssertionError(process.stderr.read())
    return Server(process, json.loads(line))


@contextmanager
def serving(root: Path, *options: str, settings: str = "", **more: Any) -> Iterator[Server]:
    """A server, ended at the end; its processes end, too, since their jobs are cancelled."""
    if settings:
        (root / ".mechshift").mkdir(parents=True, exist_ok=True)
        (root / ".mechshift" / "server.yaml").write_text(settings)
    server = launch(root, *options, **more)
    try:
        yield server
    finally:
        server.kill()
        end_jobs(root)


def end_jobs(root: Path) -> None:
    """Kill what a test has left running."""
    for started in root.glob(".mechshift/jobs/*/attempts/*/started.json"):
        if not (started.parent / "outcome.json").exists():
            try:
                pid = int(json.loads(started.read_text())["pid"])
                if b"stub_work" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
            except (OSError, ValueError):
                pass


def message(answer: httpx.Response) -> str:
    """What an answer that is no success says."""
    return str(answer.json()["error"]["message"])
