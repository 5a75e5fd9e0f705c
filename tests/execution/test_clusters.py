"""A study on real clusters: two hosts with a scheduler and workers started by hand, and Slurm; workers are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from clusters import environment_of, needed, slurm, soon, started, two_hosts
from studies import ATTRIBUTION, write_study

from mechshift_core import run
from mechshift_core.execution import plan as planning
from mechshift_core.execution.profiles import Profile
from stats.findings import Findings

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def study(folder: Path) -> Path:
    """In float64: workers have other numbers of threads, and those round otherwise."""
    circuits: dict[str, object] = {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [30, 100]}
    path = write_study(folder, interventions=[ATTRIBUTION, circuits], examples=40)
    path.write_text(path.read_text().replace("device: cpu", "device: cpu\n  dtype: float64"))
    return path


def same(one: Findings, other: Findings) -> None:
    for first, second in zip(one.hypotheses, other.hypotheses, strict=True):
        assert (first.id, first.verdict, first.status) == (second.id, second.verdict, second.status)
        for name in ("estimate", "low", "high", "p", "se"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-9), name


def cells(folder: Path) -> int:
    return len([*(folder / "cells").iterdir()]) if (folder / "cells").is_dir() else 0


def keys(folder: Path) -> list[str]:
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [event["key"] for event in events if event["event"] == "cell"]


def test_two_hosts_find_what_one_process_does_though_one_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scheduler and one worker on one host, one worker on the other, encrypted; the latter is killed on the way."""
    needed("ip", "openssl")
    monkeypatch.setattr(planning, "SHARD", 2)
    spec = study(tmp_path)
    alone = run(spec, out=tmp_path / "alone")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True,
    )  # fmt: skip
    tls = ["--tls-ca-file", str(certificate), "--tls-cert", str(certificate), "--tls-key", str(key)]
    address = "tls://10.213.7.1:8786"
    (tmp_path / "hosts.yaml").write_text(
        f"scheduler: {address}\ntls: {{ca: {certificate}, certificate: {certificate}, key: {key}}}\n"
    )
    with ExitStack() as stack:
        first, second = stack.enter_context(two_hosts())
        dask = [sys.executable, "-m", "dask"]
        scheduler = [
            *dask,
            "scheduler",
            "--host",
            "10.213.7.1",
            "--port",
            "8786",
            "--protocol",
            "tls",
            "--no-dashboard",
        ]
        stack.enter_context(started("ip", "netns", "exec", first, *scheduler, *tls, log=tmp_path / "scheduler.log"))
        workers = []
        for number, host in enumerate((first, second), start=1):
            worker = [*dask, "worker", address, "--host", f"10.213.7.{number}", "--nthreads", "1", "--no-dashboard"]
            worker += ["--local-directory", str(tmp_path / f"scratch{number}"), *tls]
            log = tmp_path / f"worker{number}.log"
            workers.append(stack.enter_context(started("ip", "netns", "exec", host, *worker, log=log)))
        shard = f"import mechshift_core.execution.plan as p; p.SHARD = {planning.SHARD}"
        command = f"{shard}; from mechshift_core.cli.main import main; raise SystemExit(main())"
        arguments = ["run", str(spec), "--out", str(tmp_path / "out"), "--profile", str(tmp_path / "hosts.yaml")]
        client = stack.enter_context(
            started(
                "ip", "netns", "exec", first, sys.executable, "-c", command, *arguments, log=tmp_path / "client.log"
            )
        )
        assert soon(lambda: cells(tmp_path / "out") > 5 or client.poll() is not None)
        os.killpg(workers[1].pid, signal.SIGKILL)
        assert client.wait(300) == 0, (tmp_path / "client.log").read_text()
    found = Findings.from_json((tmp_path / "out" / "findings.json").read_text())
    same(found, alone.findings)
    assert len(keys(tmp_path / "out")) == len(set(keys(tmp_path / "out"))) == alone.computed


def test_slurm_finds_what_one_process_does_though_a_job_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "SHARD", 2)
    spec = study(tmp_path)
    alone = run(spec, out=tmp_path / "alone")
    (tmp_path / "slurm").mkdir()
    profile = Profile.model_validate(
        {
            "cluster": "slurm",
            "workers": 2,
            "options": {
                "cores": 1,
                "memory": "1GB",
                "walltime": "00:20:00",
                "interface": "lo",
                "log_directory": str(tmp_path / "logs"),
                "local_directory": str(tmp_path / "scratch"),
                "shared_temp_directory": str(tmp_path),
                "job_script_prologue": [f"export PYTHONPATH={environment_of()['PYTHONPATH']}"],
            },
            "lifetime": "15 minutes",
            "patience": 120,
        }
    )
    cancelled: list[str] = []
    with slurm(tmp_path / "slurm"):

        def cancel_one() -> None:
            assert soon(lambda: cells(tmp_path / "out") > 5)
            shown = subprocess.run(["squeue", "-h", "-o", "%i", "-t", "R"], capture_output=True, text=True, check=True)
            cancelled.append(shown.stdout.split()[0])
            subprocess.run(["scancel", "--signal=KILL", "--full", cancelled[0]], check=True)

        canceller = threading.Thread(target=cancel_one)
        canceller.start()
        made = run(spec, out=tmp_path / "out", profile=profile)
        canceller.join()
        left = subprocess.run(["squeue", "-h", "-o", "%i %T"], capture_output=True, text=True, check=True).stdout
        assert soon(lambda: not [line for line in left.splitlines() if "RUNNING" in line]) or left == ""
    assert cancelled and made.failures == ()
    same(made.findings, alone.findings)
    assert len(keys(tmp_path / "out")) == len(set(keys(tmp_path / "out"))) == alone.computed
