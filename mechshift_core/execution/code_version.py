"""What a cell was computed by: a digest over the code that decides its numbers, and over the versions of its packages.

A cell's key says what was computed, not how well: with another digest it may have been by a version with an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
    "mechshift_core/metrics.py",
    "stats/checks.py",
    "stats/minimums.py",
    "stats/probes.py",
    "stats/seeding.py",
    "stats/shapley.py",
    "stats/shapley_sampling.py",
    "stats/split_half.py",
)
"""Files and folders of code that decides the numbers of cells."""
OURS = ("mechshift_core", "stats", "reports")
"""Packages of ours; COMPUTING are those that compute."""
COMPUTING = ("mechshift_core", "stats")
SUFFIXES = (".py", ".j2", ".css", ".js")
PACKAGES = ("torch", "transformers", "nnsight", "numpy", "scipy", "scikit-learn", "peft", "shapiq")
"""Packages that do: probes are fitted with scikit-learn, adapters merged by peft, combinations drawn by shapiq."""

Hashes = Mapping[str, str]
"""File, relative to the folder that the packages lie in -> SHA-256."""


def hashes_of(root: Path) -> dict[str, str]:
    """Hashes of all code under a folder, that of pages included."""
    return {
        file.relative_to(root).as_posix(): sha256_of(file)
        for package in OURS
        for file in sorted((root / package).rglob("*"))
        if file.suffix in SUFFIXES
    }


def digest_of(hashes: Hashes, packages: Mapping[str, str]) -> str:
    """The digest of the code that decides the numbers of cells, and of versions of packages; 16 hexadecimal digits.

    Args:
        hashes: Of all code.
        packages: Package -> its version.
    """
    return _digest([repr(sorted(packages.items())), *_lines(hashes, SOURCES)])[:16]


@cache
def code_digest() -> str:
    """The digest of what this process computes cells with, 16 hexadecimal digits."""
    return digest_of(HASHES, VERSIONS)


@cache
def code_version() -> tuple[str, str]:
    """Version and SHA-256 of all code of this process that computes, statistics included."""
    return __version__, _digest(_lines(HASHES, COMPUTING))


@cache
def whole_code() -> str:
    """SHA-256 of all code of this process, that of reports included."""
    return _digest(_lines(HASHES, OURS))


def _lines(hashes: Hashes, sources: Sequence[str]) -> list[str]:
    """Files of some folders, or some files, with their hashes."""
    within = (*(f"{source}/" for source in sources), *(source for source in sources if source.endswith(".py")))
    return [f"{name} {digest}" for name, digest in hashes.items() if name.startswith(within)]


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Package -> its version."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


HASHES = hashes_of(ROOT)
"""Taken when this module is imported, which is before anything is computed: who edits a file while a notebook runs goes
on with the code that was loaded before."""
VERSIONS = versions(PACKAGES)
"""Taken at the same time: an upgrade does not change what is loaded either."""
