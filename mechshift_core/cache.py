"""Folders that are made once and kept: models converted from other formats, models fetched."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from mechshift_core.errors import ExecutionError

VARIABLE = "MECHSHIFT_CACHE"


def cache_folder() -> Path:
    """Where they are kept: `$MECHSHIFT_CACHE`, else `mechshift` in `$XDG_CACHE_HOME` or in `~/.cache`."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "mechshift"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache; made if it is not there, whole or not at all.

    Args:
        name: Its path within the cache.
        make: Fills the empty folder that it is given.

    Raises:
        ExecutionError: if the cache can't be written; what `make` raises passes through.
    """
    folder = cache_folder() / name
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _not_written(folder, error) from error
    try:
        make(temporary)
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise _not_written(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _not_written(folder: Path, error: OSError) -> ExecutionError:
    return ExecutionError(
        f"cannot write {folder}: {error.strerror or error}; free some space, or set {VARIABLE} to another folder"
    )
