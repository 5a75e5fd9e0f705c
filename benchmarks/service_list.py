"""How long does a server's list of 10,000 runs take, beside an empty one; and what does a crowd of clients get?

    python benchmarks/service_list.py [RUNS] [SECONDS]

Two servers on this machine, one with run directories and one with none, are asked in turns over loopback. Then so many
clients at once ask the full one for a mix of what pages ask for.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import quantiles

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from stored_runs import equivalent, estimate, finding, findings, write_run  # noqa: E402

TURNS = 200
CLIENTS = 8
MIX = (
    "/runs",
    "/runs?q=study-3",
    "/runs?state=complete&limit=50",
    "/findings?q=lower&limit=50",
    "/known",
    "/runs/run-00007",
)


def main(count: int, seconds: float) -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        full, empty = Path(folder) / "full", Path(folder) / "empty"
        make(full, count)
        began = time.perf_counter()
        servers = [launch(full), launch(empty)]
        try:
            print(f"{count} run directories indexed and both servers up after {time.perf_counter() - began:.1f} s")
            clients = [httpx.Client(base_url=address, timeout=60) for _, address in servers]
            compare("list of 50", clients, "/runs")
            compare("list of 1000", clients, "/runs?limit=1000")
            compare("search", clients, "/runs?q=study-3")
            load(servers[0][1], seconds)
            print(f"the full server's memory at most: {peak(servers[0][0].pid):.0f} MiB")
        finally:
            for process, _ in servers:
                process.kill()
                process.wait()


def make(folder: Path, count: int) -> None:
    folder.mkdir()
    hypotheses = [finding(), equivalent(), *(finding(id=f"h{number}") for number in range(3))]
    estimates = tuple(estimate(task=f"task-{number}") for number in range(10))
    first = write_run(folder / "run-00000", findings(*hypotheses, estimates=estimates, name="study-0"))
    texts = {path.name: path.read_bytes() for path in first.iterdir()}
    for number in range(1, count):
        place = folder / f"run-{number:05}"
        place.mkdir()
        for name, text in texts.items():
            (place / name).write_bytes(text.replace(b"study-0", f"study-{number % 100}".encode()))


def launch(root: Path) -> tuple[subprocess.Popen[str], str]:
    (root / ".mechshift").mkdir(parents=True, exist_ok=True)
    (root / ".mechshift" / "server.yaml").write_text("requests_per_minute: 10000000\n")
    call = [sys.executable, "-m", "mechshift_core.cli.main", "serve", "--root", str(root), "--port", "0", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["address"] + "/api/v1"


def compare(what: str, clients: list[httpx.Client], path: str) -> None:
    times: list[list[float]] = [[], []]
    for _ in range(TURNS):
        for client, taken in zip(clients, times, strict=True):
            began = time.perf_counter()
            client.get(path).raise_for_status()
            taken.append(1000 * (time.perf_counter() - began))
    (full, empty), (middle, middle_empty) = ([quantiles(one, n=20)[at] for one in times] for at in (18, 9))
    print(
        f"{what:<13} p95 {full:6.1f} ms, empty {empty:6.1f} ms: {full / empty:5.2f} times, {full - empty:+6.1f} ms; "
        f"median {middle:6.1f} and {middle_empty:6.1f} ms"
    )


def load(address: str, seconds: float) -> None:
    taken: list[float] = []
    wrong: list[int] = []
    end = time.monotonic() + seconds

    def ask(start: int) -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            number = start
            while time.monotonic() < end:
                began = time.perf_counter()
                status = client.get(MIX[number % len(MIX)]).status_code
                taken.append(1000 * (time.perf_counter() - began))
                if status != 200:
                    wrong.append(status)
                number += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cuts = quantiles(taken, n=100)
    print(
        f"{CLIENTS} clients for {seconds:g} s: {len(taken) / seconds:.0f} answers a second, {len(wrong)} of them no "
        f"success; median {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms"
    )


def peak(pid: int) -> float:
    """The most memory that a process has held, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 10_000, float(given[1]) if len(given) > 1 else 20.0)
