"""Studies on real clusters: processes, two hosts with a scheduler and workers started by hand, Slurm; some die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from clusters import environment_of, needed, slurm, soon, started, two_hosts
from ruamel.yaml import YAML
from studies import ATTRIBUTION, write_study

from mechshift_core import run
from mechshift_core.execution import plan as planning
from mechshift_core.execution.profiles import Profile
from mechshift_core.pipeline import Run
from stats.findings import Findings

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PATCHING: dict[str, object] = {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [30, 100]}


def random_study(folder: Path) -> Path:
    """Random models, and interventions that need others."""
    return write_study(folder, interventions=[ATTRIBUTION, PATCHING], examples=40)


def bundled_study(folder: Path) -> Path:
    """The quickstart with fewer prompts, and with an intervention that needs another."""
    yaml = YAML()
    content: Any = yaml.load((Path(__file__).parents[2] / "specs" / "quickstart.yaml").read_text())
    for task in content["tasks"]:
        task["examples"] = 12
    content["select"] = {"correct": "none"}
    content["interventions"][0]["steps"] = 2
    content["interventions"].append({**PATCHING, "random": 1})
    content["measures"]["overlap"] = {"top_k": [20, 40], "splits": 8, "permutations": 50}
    content["statistics"]["bootstrap"]["replicates"] = 400
    with (folder / "study.yaml").open("w") as handle:
        yaml.dump(content, handle)
    return folder / "study.yaml"


@dataclass(frozen=True)
class Alone:
    """A spec, and its run in one process."""

    spec: Path
    run: Run


def of_study(*studies: Callable[[Path], Path]) -> pytest.MarkDecorator:
    """The studies that a cluster is tried with; with MECHSHIFT_ALL_CLUSTERS set, both."""
    both = (random_study, bundled_study)
    return pytest.mark.parametrize("alone", both if "MECHSHIFT_ALL_CLUSTERS" in os.environ else studies, indirect=True)


@pytest.fixture(scope="module")
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """In float64: workers have other numbers of threads, and those round otherwise. There are many cells."""
    folder = tmp_path_factory.mktemp(request.param.__name__)
    spec: Path = request.param(folder)
    content = YAML().load(spec.read_text())
    content["execution"] = {"device": "cpu", "dtype": "float64"}
    with spec.open("w") as handle:
        YAML().dump(content, handle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SHARD", 4)
        made = run(spec, out=folder / "alone")
        assert made.failures == () and any(one.status == "ok" for one in made.findings.hypotheses)
        yield Alone(spec, made)


def same(folder: Path, alone: Alone) -> None:
    """A run found what one process finds."""
    one, other = Findings.from_json((folder / "findings.json").read_text()), alone.run.findings
    for first, second in zip(one.hypotheses, other.hypotheses, strict=True):
        assert (first.id, first.verdict, first.status) == (second.id, second.verdict, second.status)
        for name in ("estimate", "low", "high", "p", "se"):
            assert getattr(first, name) == pytest.approx(getattr(second, name), abs=1e-9), name


def cells(folder: Path) -> int:
    return len([*(folder / "cells").iterdir()]) if (folder / "cells").is_dir() else 0


def keys(folder: Path) -> list[str]:
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [event["key"] for event in events if event["event"] == "cell"]


def each_once(folder: Path, alone: Alone) -> None:
    """A run came to each cell once."""
    assert len(keys(folder)) == len(set(keys(folder))) == alone.run.computed


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Something happens while the block runs, and must have happened in the end."""
    with ThreadPoolExecutor(1) as threads:
        acting = threads.submit(act)
        yield
        acting.result()


@pytest.mark.nightly
@of_study(bundled_study)
def test_processes_find_what_one_does_though_one_is_killed(tmp_path: Path, alone: Alone) -> None:
    killed: list[psutil.Process] = []

    def kill_one() -> None:
        assert soon(lambda: cells(tmp_path / "out") > 5)
        started_here = psutil.Process().children()
        killed.append(next(one for one in started_here if "spawn_main" in " ".join(one.cmdline())))
        killed[0].kill()

    with meanwhile(kill_one):
        made = run(alone.spec, out=tmp_path / "out", profile=Profile(workers=2), cells=tmp_path / "store")
    assert killed and made.failures == ()
    same(tmp_path / "out", alone)
    each_once(tmp_path / "out", alone)
    again = run(alone.spec, out=tmp_path / "again", cells=tmp_path / "store")
    assert (again.computed, again.shared) == (0, alone.run.computed)
    same(tmp_path / "again", alone)


@pytest.mark.nightly
@of_study(random_study)
def test_two_hosts_find_what_one_process_does_though_one_vanishes(tmp_path: Path, alone: Alone) -> None:
    """Scheduler and one worker on one host, one worker on the other, encrypted; the latter is killed on the way."""
    needed("ip", "openssl", "taskset")
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
        listens = ["--host", "10.213.7.1", "--port", "8786", "--protocol", "tls", "--no-dashboard"]
        scheduler = [*dask, "scheduler", *listens]
        stack.enter_context(started("ip", "netns", "exec", first, *scheduler, *tls, log=tmp_path / "scheduler.log"))
        workers = []
        for number, host in enumerate((first, second), start=1):
            worker = [*dask, "worker", address, "--host", f"10.213.7.{number}", "--nthreads", "1", "--no-dashboard"]
            worker += ["--local-directory", str(tmp_path / f"scratch{number}"), *tls]
            log = tmp_path / f"worker{number}.log"
            # A processor each, since either would take all that the machine has.
            processor = sorted(os.sched_getaffinity(0))[-number % len(os.sched_getaffinity(0))]
            where = ["ip", "netns", "exec", host, "taskset", "-c", str(processor)]
            workers.append(stack.enter_context(started(*where, *worker, log=log)))
        shard = f"import mechshift_core.execution.plan as p; p.SHARD = {planning.SHARD}"
        command = f"{shard}; from mechshift_core.cli.main import main; raise SystemExit(main())"
        arguments = ["run", str(alone.spec), "--out", str(tmp_path / "out"), "--profile", str(tmp_path / "hosts.yaml")]
        client = stack.enter_context(
            started(
                "ip", "netns", "exec", first, sys.executable, "-c", command, *arguments, log=tmp_path / "client.log"
            )
        )
        assert soon(lambda: cells(tmp_path / "out") > 5 or client.poll() is not None)
        os.killpg(workers[1].pid, signal.SIGKILL)
        assert client.wait(300) == 0, (tmp_path / "client.log").read_text()
    same(tmp_path / "out", alone)
    each_once(tmp_path / "out", alone)


@of_study(bundled_study)
def test_slurm_finds_what_one_process_does_though_a_job_is_cancelled(tmp_path: Path, alone: Alone) -> None:
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
    with slurm():

        def cancel_one() -> None:
            assert soon(lambda: cells(tmp_path / "out") > 5)
            shown = subprocess.run(["squeue", "-h", "-o", "%i", "-t", "R"], capture_output=True, text=True, check=True)
            cancelled.append(shown.stdout.split()[0])
            subprocess.run(["scancel", "--signal=KILL", "--full", cancelled[0]], check=True)

        with meanwhile(cancel_one):
            made = run(alone.spec, out=tmp_path / "out", profile=profile)
        left = subprocess.run(["squeue", "-h", "-o", "%i %T"], capture_output=True, text=True, check=True).stdout
        assert soon(lambda: not [line for line in left.splitlines() if "RUNNING" in line]) or left == ""
    assert cancelled and made.failures == ()
    same(tmp_path / "out", alone)
    each_once(tmp_path / "out", alone)
