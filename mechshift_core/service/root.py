"""The folder that a server serves: run directories, and what the server keeps about them."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.run_files import PLAN

OWN = ".mechshift"
"""Folder in the root that is the server's own."""
RUN_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,199}")
"""What a run can be called: the name of its directory, which leads nowhere else."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder of run directories.

    Attributes:
        folder: Absolute path.
    """

    folder: Path

    @property
    def own(self) -> Path:
        """What the server keeps."""
        return self.folder / OWN

    @property
    def jobs(self) -> Path:
        """A folder for each run that was handed in."""
        return self.own / "jobs"

    @property
    def trash(self) -> Path:
        """Where deleted runs go first."""
        return self.own / "trash"

    @property
    def database(self) -> Path:
        """Queue and index."""
        return self.own / "index.sqlite"

    @property
    def tokens(self) -> Path:
        """Hashes of the tokens that are let in."""
        return self.own / "tokens.json"

    @property
    def settings(self) -> Path:
        """The server's configuration, where there is one."""
        return self.own / "server.yaml"

    @property
    def queries(self) -> Path:
        """Queries that somebody saved."""
        return self.own / "queries.json"

    def run(self, name: str) -> Path:
        """The directory of a run."""
        if not RUN_ID.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a run")
        return self.folder / name

    def job(self, name: str) -> Path:
        """The folder with what is wanted of a run."""
        if not RUN_ID.fullmatch(name):
            raise UsageError(f"{name!r} is no name of a run")
        return self.jobs / name

    def has(self, name: str) -> bool:
        """Whether there is such a run: one that was handed in, or a run directory that somebody put there.

        Any other folder of the root is none, and nobody can look into it or delete it.
        """
        run = self.folder / name
        there = (self.jobs / name / "job.json", run / PLAN, run / ".lock")
        return bool(RUN_ID.fullmatch(name)) and any(path.is_file() for path in there)

    def names(self) -> Iterator[str]:
        """Every run, by name."""
        found = {path.name for folder in (self.jobs, self.folder) if folder.is_dir() for path in folder.iterdir()}
        return (name for name in sorted(found) if self.has(name))

    def make(self) -> None:
        """Make the server's own folders.

        Raises:
            UsageError: if they can't be made.
        """
        try:
            for folder in (self.folder, self.own, self.jobs, self.trash):
                folder.mkdir(parents=True, exist_ok=True)
            self.own.chmod(0o700)
        except OSError as error:
            raise UsageError(f"{error.filename}: {error.strerror}; choose another folder with --root") from error

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Hold the root alone: two servers on one queue would run everything twice.

        Raises:
            UsageError: if it can't be written.
            ExecutionError: if another server holds it.
        """
        self.make()
        with (self.own / "server.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ExecutionError(
                    f"{self.folder}: another server serves this folder; stop it, or choose another with --root"
                ) from error
            yield
