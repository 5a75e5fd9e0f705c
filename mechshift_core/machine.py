"""What this machine can run: packages, processors, memory, GPU, disk, and whether the Hub answers."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HUB_SECONDS = 2.0
"""How long the Hub is waited for."""
WEIGHTS_SHARE = 0.5
"""Share of the free memory that the weights of a model may take; the rest is for what passes through it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a study meets here. Memory and disk are in GiB.

    Attributes:
        packages: Name -> version of what the numbers depend on.
        cpus: Processors that this process may use.
        torch_threads: Threads of one operation of torch.
        memory, memory_free: Main memory, and what of it is available; None where the system does not say.
        gpu: Name of the GPU; None without one. `gpu_memory` and `gpu_memory_free` are its memory.
        disk_free: Free space of the working directory.
        browser: What the tests of reports are run in; None: they are skipped.
        hub: `reachable`, or why the Hub is not.
        hub_cache: Where models of the Hub are kept.
        bundled_models: Names of the bundled models.
        problems: What every run would fail for.
    """

    packages: dict[str, str]
    cpus: int
    torch_threads: int
    memory: float | None
    memory_free: float | None
    gpu: str | None
    gpu_memory: float | None
    gpu_memory_free: float | None
    disk_free: float
    browser: str | None
    hub: str
    hub_cache: str
    bundled_models: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def largest_model(self) -> float | None:
        """Parameters, in 10^9, of which the weights take half of the free memory: bfloat16 on a GPU, else float32."""
        free, size = (self.gpu_memory_free, 2) if self.gpu else (self.memory_free, 4)
        return None if free is None else round(free * 2**30 * WEIGHTS_SHARE / size / 1e9, 1)


def this_machine() -> Machine:
    """Look at everything; nothing here takes longer than loading torch and :data:`HUB_SECONDS`."""
    import torch
    from huggingface_hub import constants

    from mechshift_core.execution.provenance import package_versions
    from mechshift_core.zoo import bundled_models

    gpu = torch.cuda.is_available()
    free, total = torch.cuda.mem_get_info() if gpu else (0, 0)
    memory, available = main_memory()
    bundled = tuple(sorted(bundled_models()))
    here = Path.cwd()
    problems = [*unmet_requirements("mechshift")]
    if not bundled:
        problems.append("the bundled models are missing: install the package anew")
    if not os.access(here, os.W_OK):
        problems.append(f"{here} cannot be written to: runs need a folder (--out)")
    return Machine(
        packages=package_versions(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        torch_threads=torch.get_num_threads(),
        memory=memory,
        memory_free=available,
        gpu=torch.cuda.get_device_name() if gpu else None,
        gpu_memory=_gib(total) if gpu else None,
        gpu_memory_free=_gib(free) if gpu else None,
        disk_free=_gib(shutil.disk_usage(here).free),
        browser=next((path for name in BROWSERS if (path := shutil.which(name))), None),
        hub=hub_state(constants.ENDPOINT, offline=constants.HF_HUB_OFFLINE),
        hub_cache=str(constants.HF_HUB_CACHE),
        bundled_models=bundled,
        problems=tuple(problems),
    )


def main_memory() -> tuple[float | None, float | None]:
    """All and available main memory in GiB, of Linux; elsewhere all of it and None, or None twice."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        return _gib(kib["MemTotal"] * 1024), _gib(kib["MemAvailable"] * 1024)
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        return _gib(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")), None
    except (AttributeError, ValueError, OSError):
        return None, None


def unmet_requirements(package: str) -> list[str]:
    """What an installed package requires and does not find, extras left aside; empty where it isn't installed."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires(package) or ()]
    except PackageNotFoundError:
        return []
    found = []
    for requirement in wanted:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            have = version(requirement.name)
        except PackageNotFoundError:
            found.append(f"{requirement.name} is not installed (needed: {requirement})")
            continue
        if not requirement.specifier.contains(have, prereleases=True):
            found.append(f"{requirement.name} {have} is installed, but {requirement} is needed")
    return found


def hub_state(endpoint: str, *, offline: bool, seconds: float = HUB_SECONDS) -> str:
    """Whether the Hub answers, within `seconds` even where a name server never does.

    Returns:
        `reachable`, or the reason why it is not.
    """
    if offline:
        return "not asked: HF_HUB_OFFLINE is set"
    answers: list[str] = []
    # The lookup of a name has no time limit; a daemon thread is left behind when the time is up.
    asking = threading.Thread(target=lambda: answers.append(_ask(endpoint, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"no answer within {seconds:g} s"


def _ask(endpoint: str, seconds: float) -> str:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=seconds):
            return "reachable"
    except HTTPError:  # it has answered
        return "reachable"
    except (OSError, ValueError) as error:
        return f"not reachable ({getattr(error, 'reason', None) or error})"


def _gib(size: float) -> float:
    return round(size / 2**30, 1)
