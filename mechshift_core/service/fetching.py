"""Fetching a run from a server: its files, as a run directory that `check`, `compare` and `export` read."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import remove, sync, unwritable
from mechshift_core.gate import read_run
from mechshift_core.service.client import Client

SAFE = re.compile(r"(tables/)?[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
"""Names of files that are written here, whatever a server says: none leads out of the folder."""
TRIES = 3
"""How often a run is fetched that is written anew in the meantime."""


def fetch(
    client: Client, name: str, folder: Path, *, wanted: Callable[[str], bool] = lambda path: True
) -> tuple[str, ...]:
    """Fetch a run that has ended, whole or not at all.

    Args:
        client: Of the server.
        name: The run.
        folder: Where it goes: a folder that is not there yet.
        wanted: Which of its files are fetched; all that the server gives unless given.

    Returns:
        The files.

    Raises:
        UsageError: if there is no such run, or the folder is there or can't be written.
        ExecutionError: if the run has not come to an end, or its files do not fit together.
    """
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder}: exists already and is not overwritten; choose another --to")
    staging: Path | None = None
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        staging = Path(mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.absolute().parent))
        found = _fetched(client, name, staging, wanted)
        staging.chmod(0o755)
        for place in (staging / "tables", staging):
            if place.is_dir():
                sync(place)
        staging.rename(folder.absolute())
    except OSError as error:
        raise UsageError(f"{unwritable(folder, error)}; choose another --to") from error
    finally:
        if staging is not None:
            remove(staging)
    return found


def _fetched(client: Client, name: str, staging: Path, wanted: Callable[[str], bool]) -> tuple[str, ...]:
    """Fetch the files, once more if the run was analysed again while they came."""
    for attempt in range(TRIES):
        sizes = {path: size for path, size in client.sizes(name).items() if wanted(path)}
        paths = tuple(sizes)
        if sum(sizes.values()) > shutil.disk_usage(staging).free:
            raise UsageError(f"{name} has {sum(sizes.values())} bytes, more than there is space; choose another --to")
        other = ""
        for path, size in sizes.items():
            if len(path) > 200 or not SAFE.fullmatch(path):
                raise ExecutionError(f"{client.server}: a file of a run is said to be called {path!r}; that is none")
            (staging / path).parent.mkdir(exist_ok=True)
            if client.save(name, path, staging / path, size=size) != size:
                other = path
        try:
            if other:
                raise ExecutionError(f"{other} has not the {sizes[other]} bytes that it is said to have")
            read_run(staging)
        except (ExecutionError, UsageError) as error:
            state = client.run(name).state
            reason = str(error).replace(str(staging), name)
            if attempt == TRIES - 1 or state not in ("complete", "partial"):
                raise ExecutionError(f"{name} is {state}, and can't be fetched: {reason}") from error
            for path in paths:
                remove(staging / path)
        else:
            return paths
    raise AssertionError("unreachable")
