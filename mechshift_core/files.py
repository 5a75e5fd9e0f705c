"""Files that are there whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from torch import Tensor


MOMENT = 0.5
"""Seconds for which a lock is tried: whoever only looks whether it is held holds it, too, for an instant."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a link but not what it leads to; nothing need be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes the name, on failure it is removed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file.

    Raises:
        OSError: where the disk is full or the file can't be written (safetensors has an error class of its own).
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path, metadata)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def unwritable(path: Path, error: Exception) -> str:
    """That a file or folder can't be written, and why: `docs/out.md: cannot be written: there is no folder docs`."""
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, FileNotFoundError):
        reason = f"there is no folder {path.parent}"
    elif isinstance(error, FileExistsError | NotADirectoryError):
        files = [above for above in path.parents if above.is_file()]
        reason = f"{files[-1]} is a file, no folder" if files else reason
    return f"{path}: cannot be written: {reason}"


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def try_lock(file: IO[Any]) -> bool:
    """Lock a file for this process alone; False where another one holds it for longer than a moment."""
    end = time.monotonic() + MOMENT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        else:
            return True


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of a file right now; not where there is no file."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes; of a larger one nothing is read.

    Raises:
        OSError: for anything else (a folder, a device, a pipe), a larger file, or one that can't be read.
    """
    if path.exists() and not path.is_file():
        raise OSError("it is no regular file")
    with path.open("rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > most:
            raise OSError(f"it has {size / 2**20:.0f} MiB; at most {most / 2**20:.0f} MiB are read")
        content = handle.read(most + 1)
    if len(content) > most:
        raise OSError(f"it has grown beyond {most / 2**20:.0f} MiB while it was read")
    return content
