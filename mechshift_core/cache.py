"""Folders that are made once and kept: models converted from other formats, models fetched."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from mechshift_core.errors import ExecutionError

VARIABLE = "MECHSHIFT_CACHE"
CONTENT = "content.json"
"""The files of a folder and their sizes, written last."""


def cache_folder() -> Path:
    """Where they are kept: `$MECHSHIFT_CACHE`, else `mechshift` in `$XDG_CACHE_HOME` or in `~/.cache`."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "mechshift"


def is_whole(folder: Path) -> bool:
    """Whether a folder of the cache is there with all the files that it was made with, in their sizes."""
    try:
        sizes: dict[str, int] = json.loads((folder / CONTENT).read_text(encoding="utf-8"))
        return all((folder / file).stat().st_size == size for file, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of the cache; made if it is not there or not whole.

    Args:
        name: Its path within the cache.
        make: Fills the empty folder that it is given.

    Raises:
        ExecutionError: if the cache can't be written; what `make` raises passes through.
    """
    folder = cache_folder() / name
    if is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _not_written(folder, error) from error
    try:
        make(temporary)
        sizes = {path.name: path.stat().st_size for path in sorted(temporary.iterdir())}
        (temporary / CONTENT).write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        if folder.is_dir() and not is_whole(folder):
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        if not is_whole(folder):  # else another process was faster
            raise _not_written(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _not_written(folder: Path, error: OSError) -> ExecutionError:
    return ExecutionError(
        f"cannot write {folder}: {error.strerror or error}; free some space, or set {VARIABLE} to another folder"
    )
