"""The store of cells that runs share: what one run has computed, another takes instead of computing it again.

An entry is a folder `<device>-<code>/<key>/` with the two files of a cell and `used`, whose time is that of its last
use. So a cell is known by its key, by the kind of device and by the code that computed it, see :mod:`.code_version`.
Many runs of many machines may use a store at once: an entry is written under a temporary name and renamed, nothing is
locked, and who comes second leaves the first one's entry. An entry is checked when it is taken, so that half of one is
never believed. Whatever is wrong with the store costs a run nothing but the store.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from mechshift_core.cache import cache_folder
from mechshift_core.errors import UsageError
from mechshift_core.execution.code_version import code_digest
from mechshift_core.execution.store import CELL, SHARED, TENSORS, RunFolder, is_whole
from mechshift_core.execution.store_room import USED, limit, make_room
from mechshift_core.files import remove, sync
from mechshift_core.models.sources import on_gpu

VARIABLE, OFF = "MECHSHIFT_CELLS", "none"
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
"""What the system says of an entry that another run has removed."""


def store_folder(cells: str | os.PathLike[str] | None = None) -> Path | None:
    """Where the store is: what is given, else `$MECHSHIFT_CELLS`, else `cells` in the cache; None where it is `none`.

    Raises:
        UsageError: for an empty name.
    """
    named = os.environ.get(VARIABLE) or None if cells is None else cells
    if named is None:
        return cache_folder().absolute() / "cells"
    if named == OFF:
        return None
    if not os.fspath(named).strip():
        raise UsageError(f"cells: expected a folder, or {OFF!r} for no store, got {os.fspath(named)!r}")
    return Path(named).expanduser().absolute()


def open_store(cells: str | os.PathLike[str] | None = None, *, device: str, copies: bool = False) -> CellStore | None:
    """The store that a run uses; None where it uses none.

    Args:
        cells: As of :func:`store_folder`.
        device: What the run computes on: `auto`, `cpu` or `cuda`.
        copies: As of :class:`CellStore`.

    Raises:
        UsageError: if the folder has no name, or the limit of the store is no size.
    """
    folder = store_folder(cells)
    return None if folder is None else CellStore(folder, device=device, most=limit(), copies=copies)


class CellStore:
    """A store of cells, as one run uses it.

    Args:
        folder: Its folder, made when something is put there.
        device: What the run computes on: `auto`, `cpu` or `cuda`. A GPU rounds otherwise, and in half precision
            visibly so: its cells are for runs on a GPU, as those of processors are for runs on processors.
        most: Bytes that it may hold.
        copies: Whether a cell is copied to a run directory on another file system; otherwise it is linked.

    Attributes:
        notice: What is wrong with the store, said once; empty where nothing is.
        added: Keys that the run has put there.
    """

    def __init__(self, folder: Path, *, device: str, most: int, copies: bool = False) -> None:
        self.folder, self.most = folder, most
        self.notice = ""
        self.added: list[str] = []
        self._device, self._copies = device, copies
        self._takes_in = True

    @cached_property
    def place(self) -> Path:
        """The folder of the entries that this process could have computed itself."""
        return self._place_of("cuda" if on_gpu(self._device) else "cpu")

    def _place_of(self, device: str) -> Path:
        return self.folder / f"{device}-{code_digest()}"

    def has(self, key: str) -> bool:
        """Whether the store has a cell, whole."""
        return is_whole(self.place / key, key)

    def take(self, key: str, run: RunFolder) -> bool:
        """Have a cell in a run directory: as hard links to the entry's files, else as a link to it or as a copy.

        Args:
            key: The cell.
            run: A claimed run directory; what it has of the cell is replaced.

        Returns:
            Whether it is there now. It is not if the store has no such cell, a damaged one, or can't be read.
        """
        entry, temporary = self.place / key, run.cells / f".{key}.{os.getpid()}.tmp"
        try:
            self._readable(entry)
            remove(temporary)
            self._bring(entry, temporary)
            if not is_whole(temporary, key):
                return False
            run.place(temporary, key)
        except OSError as error:
            if error.errno not in GONE:
                self._say(run, "a cell cannot be taken from it", error)
            return False
        finally:
            with suppress(OSError):
                remove(temporary)
        with suppress(OSError):  # of a store that may only be read
            (entry / USED).touch()
        return True

    def put(self, key: str, run: RunFolder) -> None:
        """Give the store a cell that was just computed in a run directory, where the cell stays as it is."""
        if not self._takes_in:
            return
        own = run.cells / key
        try:
            device = str(run.describe(key).get("device", "cpu")).partition(" ")[0]
        except (OSError, ValueError):
            return
        entry = self._place_of(device) / key  # what computed it may be the GPU of another machine
        temporary = _temporary(entry)
        try:
            if is_whole(entry, key):  # another run was faster
                return
            entry.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            for name in (TENSORS, CELL):
                try:
                    os.link(own / name, temporary / name)
                except OSError:
                    _copy(own / name, temporary / name)
            (temporary / USED).touch()
            sync(temporary)
            self._enter(temporary, entry)
            sync(entry.parent)
            self.added.append(key)
        except OSError as error:
            self._takes_in = False
            self._say(run, "what is computed cannot be put there", error)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def settle(self, run: RunFolder, used: Iterable[str]) -> None:
        """After a run that has put something there: remove what was used least recently until the rest fits.

        Args:
            run: The run directory.
            used: Keys of the cells that the run uses; these stay.
        """
        if not self.added:
            return
        try:
            removed = make_room(self.folder, self.most, keep={self.place / key for key in used})
        except OSError as error:
            self._say(run, "it cannot be looked through", error)
            return
        if removed:
            size = sum(entry.bytes for entry in removed)
            run.log("store trimmed", store=str(self.folder), removed=len(removed), bytes=size)

    def _readable(self, entry: Path) -> None:
        """Raise what the system says where the store can't be read, or has no such entry."""
        if self.folder.exists() and not self.folder.is_dir():
            raise OSError(errno.EINVAL, "it is no folder", str(self.folder))
        (entry / CELL).stat()

    def _bring(self, entry: Path, temporary: Path) -> None:
        temporary.mkdir()
        try:
            for name in (TENSORS, CELL):
                os.link(entry / name, temporary / name)
        except OSError:
            remove(temporary)
            if not self._copies:
                temporary.symlink_to(entry, target_is_directory=True)
                return
            temporary.mkdir()
            for name in (TENSORS, CELL):
                _copy(entry / name, temporary / name)
        (temporary / SHARED).touch()
        sync(temporary)

    def _enter(self, temporary: Path, entry: Path) -> None:
        """Give an entry its name; one that is whole there stays, and a damaged one makes room."""
        try:
            temporary.rename(entry)
        except OSError:
            if is_whole(entry, entry.name):
                return
            damaged = _temporary(entry)
            with suppress(FileNotFoundError):
                entry.rename(damaged)
            try:
                temporary.rename(entry)
            except OSError:
                if not is_whole(entry, entry.name):
                    raise
            finally:
                with suppress(OSError):
                    remove(damaged)

    def _say(self, run: RunFolder, what: str, error: OSError) -> None:
        if self.notice:
            return
        reason = f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
        self.notice = (
            f"store of cells {self.folder}: {what}: {reason}; the run goes on without (name another store with --cells "
            f"PATH, or have none with --cells {OFF})"
        )
        with suppress(OSError):
            run.log("store failed", store=str(self.folder), what=what, reason=reason)


def _temporary(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.{uuid4().hex}.tmp")


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    sync(target)
