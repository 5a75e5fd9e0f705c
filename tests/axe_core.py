"""axe-core, the checker of accessibility rules, as its one script: fetched once with npm, held to a known digest."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

VERSION = "4.10.3"
DIGEST = "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"
CACHE = Path(tempfile.gettempdir()) / f"mechshift-tests-axe-core-{VERSION}.tgz"


def axe_source() -> str:
    """The text of `axe.min.js`; skips the test where the package cannot be had."""
    if not CACHE.is_file() or digest(CACHE) != DIGEST:
        with tempfile.TemporaryDirectory() as folder:
            CACHE.unlink(missing_ok=True)
            shutil.move(fetched(Path(folder)), CACHE)
    assert digest(CACHE) == DIGEST, f"axe-core {VERSION} is not the package that these tests were written with"
    with tarfile.open(CACHE) as package:
        member = package.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def fetched(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs the program `npm` to fetch axe-core")
    command = [npm, "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=folder)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm could not fetch axe-core {VERSION}: {error}")
    return folder / f"axe-core-{VERSION}.tgz"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
