"""What a cell was computed by: a digest over the code that decides its numbers, and over the versions of its packages.

A cell's key says what was computed, not how well: with another digest it may have been by a version with an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mechshift_core import __version__
from mechshift_core.files import sha256_of

ROOT = Path(__file__).parents[2]
SOURCES = (
    "mechshift_core/attribution",
    "mechshift_core/components",
    "mechshift_core/execution",
    "mechshift_core/interventions",
    "mechshift_core/kinds",
    "mechshift_core/models",
    "mechshift_core/tasks",
    "mechshift_core/graph.py",
    "mechshift_core/loading.py",
    "stats/checks.py",
    "stats/minimums.py",
    "stats/probes.py",
    "stats/seeding.py",
    "stats/shapley.py",
    "stats/shapley_sampling.py",
    "stats/split_half.py",
)
"""Files and folders of code that decides the numbers of cells."""
PACKAGES = ("torch", "transformers", "nnsight", "numpy", "scipy", "scikit-learn", "peft", "shapiq")
"""Packages that do: probes are fitted with scikit-learn, adapters merged by peft, combinations drawn by shapiq."""


@cache
def code_digest() -> str:
    """The digest of what this process computes with, 16 hexadecimal digits; taken once, when it is first asked for."""
    return digest_of(ROOT, versions(PACKAGES))


def digest_of(root: Path, packages: dict[str, str]) -> str:
    """The digest of the code under a folder and of versions of packages, 16 hexadecimal digits.

    Args:
        root: The folder that :data:`SOURCES` lie in.
        packages: Package -> its version.
    """
    digest = hashlib.sha256(repr(sorted(packages.items())).encode())
    for source in SOURCES:
        path = root / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


@cache
def code_version() -> tuple[str, str]:
    """Version and SHA-256 of all code of this process that computes, statistics included; taken once."""
    digest = hashlib.sha256()
    for package in ("mechshift_core", "stats"):
        for file in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{file.relative_to(ROOT).as_posix()} {sha256_of(file)}\n".encode())
    return __version__, digest.hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> its version."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
