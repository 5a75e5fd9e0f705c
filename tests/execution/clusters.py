"""Real clusters on one machine, for tests: Slurm from Debian's packages, and hosts that are network namespaces."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

SBIN = "/usr/sbin:/sbin"
Processes = list[subprocess.Popen[bytes]]


def soon(condition: Callable[[], bool], *, seconds: float = 90) -> bool:
    """Whether something becomes true in time."""
    stop = time.monotonic() + seconds
    while not condition() and time.monotonic() < stop:
        time.sleep(0.05)
    return condition()


def needed(*programs: str) -> None:
    """Skip a test for which a program is missing, or the rights of root."""
    missing = [name for name in programs if shutil.which(name, path=f"{os.environ['PATH']}:{SBIN}") is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.getuid() != 0:
        pytest.skip("needs the rights of root")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def started(*command: str, log: Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends, with those that it started, when the block does."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment or environment_of(), start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


def environment_of(**others: str) -> dict[str, str]:
    """The environment of processes that import what this one does."""
    path = f"{os.environ['PATH']}:{SBIN}"
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PATH": path, **others}


@contextmanager
def slurm() -> Iterator[None]:
    """A Slurm of one node with two processors; `sbatch` and its kin use it.

    Its folder lies in /tmp, since a Unix socket's path has 107 characters at most, and those of tests are longer.
    """
    needed("slurmctld", "slurmd", "munged", "sbatch", "scontrol")
    with TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as folder, _slurm_in(Path(folder)):
        yield


@contextmanager
def _slurm_in(folder: Path) -> Iterator[None]:
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir()
    host, key, munge = platform.node().partition(".")[0], folder / "munge" / "key", folder / "munge" / "socket"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    config = folder / "slurm.conf"
    lines = [
        "ClusterName=test", f"SlurmctldHost={host}(127.0.0.1)", "SlurmUser=root", "SlurmdUser=root",
        "AuthType=auth/munge", f"AuthInfo=socket={munge}", "CredType=cred/munge",
        f"StateSaveLocation={folder / 'state'}", f"SlurmdSpoolDir={folder / 'spool'}",
        f"SlurmctldPidFile={folder / 'ctld.pid'}", f"SlurmdPidFile={folder / 'd.pid'}",
        f"SlurmctldPort={free_port()}", f"SlurmdPort={free_port()}",
        "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "ReturnToService=2", "MpiDefault=none",
        "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core", "JobCompType=jobcomp/none",
        "AccountingStorageType=accounting_storage/none", "SchedulerParameters=bf_interval=1,sched_interval=1",
        f"NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN",
        "PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO",
    ]  # fmt: skip
    config.write_text("\n".join(lines) + "\n")
    environment = environment_of(SLURM_CONF=str(config))
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SLURM_CONF", str(config))
        patch.setenv("PATH", environment["PATH"])
        commands: dict[str, Sequence[str]] = {
            "munged": (
                "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge}",
                f"--pid-file={folder / 'munge' / 'pid'}", f"--log-file={folder / 'munge' / 'log'}",
                f"--seed-file={folder / 'munge' / 'seed'}",
            ),
            "slurmctld": ("slurmctld", "-D", "-f", str(config)),
            "slurmd": ("slurmd", "-D", "-f", str(config), "-N", host),
        }  # fmt: skip
        for name, command in commands.items():
            stack.enter_context(started(*command, log=folder / f"{name}.log", environment=environment))
            assert name != "munged" or soon(munge.exists), (folder / "munged.log").read_text()

        def idle() -> bool:
            shown = subprocess.run(
                ["sinfo", "-h", "-o", "%t"], check=False, capture_output=True, text=True, env=environment
            )
            return shown.stdout.strip() == "idle"

        assert soon(idle), "\n".join((folder / f"{name}.log").read_text()[-2000:] for name in commands)
        yield


@contextmanager
def two_hosts() -> Iterator[tuple[str, str]]:
    """Two network namespaces that reach each other: the names of both. Addresses are 10.213.7.1 and 10.213.7.2."""
    needed("ip")
    names = (f"ms{os.getpid()}a", f"ms{os.getpid()}b")

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True, env=environment_of())

    try:
        try:
            for name in names:
                ip("netns", "add", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        ip("link", "add", "eth-a", "netns", names[0], "type", "veth", "peer", "name", "eth-b", "netns", names[1])
        for number, (name, link) in enumerate(zip(names, ("eth-a", "eth-b"), strict=True), start=1):
            ip("-n", name, "addr", "add", f"10.213.7.{number}/24", "dev", link)
            for device in ("lo", link):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, env=environment_of())
