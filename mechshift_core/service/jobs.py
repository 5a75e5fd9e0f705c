"""What is wanted of a run, in files: who handed it in, every attempt at it, and how each ended.

A job is a folder `jobs/RUN/`:

- `inputs/`: the spec and the files that came with it, never changed;
- `job.json`: who handed it in and when; written last, so a job is there as a whole or not at all;
- `attempts/N/`: `wanted.json`, then `started.json`, `progress.json`, `log.txt`, and in the end `outcome.json`;
  `cancel.json` where it shall end early, `stopped.json` where its process was asked to end without that;
- `lock`: held by the process that runs it. Whether one does is asked of the lock alone: process numbers are given to
  others, and clocks jump.

The state follows from these files, whoever reads them and whenever.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mechshift_core.errors import ExecutionError
from mechshift_core.files import is_locked, sync, try_lock, write_text
from mechshift_core.times import utc_text

State = Literal["queued", "running", "cancelling", "complete", "partial", "failed", "cancelled", "died"]
"""`died`: its process is gone and left no word. `partial`: some cells or statistics failed."""
ENDED = frozenset({"complete", "partial", "failed", "cancelled"})
OPEN = frozenset({"queued", "running", "cancelling", "died"})
SPEC_FILE = "spec.yaml"


def now() -> str:
    """The time (UTC, ISO 8601, milliseconds)."""
    return utc_text(precision="milliseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Who wanted what.

    Attributes:
        run: Name of the run.
        study: Name of the study in the spec, and `title` its title.
        models: The models that it names, and `tasks` its tasks.
        by: Who handed it in: the name of a token, or empty where none is asked for.
        at: When.
        number: Place in the queue; later ones are larger.
        key: What the client calls this submission, so that the same one sent again is the same run; empty if nothing.
        sha256: Of spec and files.
    """

    run: str
    study: str
    title: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    by: str
    at: str
    number: int
    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        state: `complete`, `partial`, `failed` or `cancelled`.
        at: When.
        message: Why, where it is not complete; otherwise empty.
        verdicts: Hypothesis -> verdict.
        computed: Cells computed; `cached` were there and `shared` came from the store.
        problems: What is wrong with the spec: line, column and message of each.
    """

    state: Literal["complete", "partial", "failed", "cancelled"]
    at: str
    message: str = ""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    computed: int = 0
    cached: int = 0
    shared: int = 0
    problems: tuple[Mapping[str, Any], ...] = ()


class Job:
    """A job by its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.inputs = folder / "inputs"
        self.spec = self.inputs / SPEC_FILE

    @property
    def exists(self) -> bool:
        """Whether it was taken on: its last file is there."""
        return (self.folder / "job.json").is_file()

    def submission(self) -> Submission:
        """Who wanted what.

        Raises:
            ExecutionError: if the file is damaged.
        """
        content = read_json(self.folder / "job.json")
        try:
            lists = {name: tuple(map(str, content[name])) for name in ("models", "tasks")}
            return Submission(**{**content, **lists, "run": self.name, "number": int(content["number"])})
        except (TypeError, KeyError, ValueError) as error:
            raise ExecutionError(f"{self.folder / 'job.json'}: not a job: {error}") from error

    def attempt(self) -> Attempt | None:
        """The last attempt; None before there is one."""
        numbers = [int(path.name) for path in self.folder.glob("attempts/*") if path.name.isdigit()]
        return Attempt(self.folder / "attempts" / str(max(numbers))) if numbers else None

    def want(self, *, by: str, deaths: int = 0) -> Attempt:
        """Ask for another attempt.

        Args:
            by: Who asks; `server` where its process died.
            deaths: How many processes have died over it in a row.

        Raises:
            OSError: if it can't be written.
        """
        last = self.attempt()
        attempt = Attempt(self.folder / "attempts" / str(1 if last is None else last.number + 1))
        attempt.folder.mkdir(parents=True)
        write_json(attempt.folder / "wanted.json", {"by": by, "at": now(), "deaths": deaths})
        sync(attempt.folder.parent)
        return attempt

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the job, as whoever runs it does; yields False where another process holds it."""
        with (self.folder / "lock").open("a+") as lock:
            yield try_lock(lock)

    @property
    def is_held(self) -> bool:
        """Whether a process runs it now."""
        return is_locked(self.folder / "lock")

    def state(self) -> State:
        """How it stands."""
        attempt = self.attempt()
        if attempt is None:
            return "queued"
        # In the order in which they come about: a job that begins meanwhile waits, and is not taken for a dead one.
        started, held = attempt.started, self.is_held
        if (outcome := attempt.outcome()) is not None:
            return outcome.state
        if held:
            return "cancelling" if attempt.cancelled() else "running"
        if attempt.cancelled():
            return "cancelled"
        return "died" if started else "queued"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a job, by its folder."""

    folder: Path

    @property
    def number(self) -> int:
        """Counted from 1."""
        return int(self.folder.name)

    @property
    def log(self) -> Path:
        """What the process wrote."""
        return self.folder / "log.txt"

    @property
    def progress(self) -> Path:
        """How far it is, written anew again and again."""
        return self.folder / "progress.json"

    def cancelled(self) -> bool:
        """Whether it shall end early."""
        return (self.folder / "cancel.json").exists()

    @property
    def stopped(self) -> bool:
        """Whether its process was asked to end, and did: the machine went down, say."""
        return (self.folder / "stopped.json").exists()

    @property
    def started(self) -> Mapping[str, Any]:
        """Process number and time; empty before it started."""
        return read_json_if_there(self.folder / "started.json")

    @property
    def wanted(self) -> Mapping[str, Any]:
        """By whom and when it was asked for, and how many processes died before it."""
        return read_json_if_there(self.folder / "wanted.json")

    @property
    def deaths(self) -> int:
        """How many processes died over it before this attempt; none where nothing tells of it."""
        count = self.wanted.get("deaths", 0)
        return count if isinstance(count, int) and 0 <= count < 10**6 else 0

    def outcome(self) -> Outcome | None:
        """How it ended; None if it has not, or nothing tells of it."""
        content = read_json_if_there(self.folder / "outcome.json")
        try:
            return Outcome(**{**content, "problems": tuple(content.get("problems", ()))}) if content else None
        except TypeError:
            return None

    def start(self) -> None:
        """Note that this process runs it."""
        write_json(self.folder / "started.json", {"pid": os.getpid(), "at": now()})

    def stop(self) -> None:
        """Note that its process was asked to end, though nobody cancelled it."""
        write_json(self.folder / "stopped.json", {"at": now()})

    def cancel(self, by: str) -> None:
        """Ask for it to end early."""
        write_json(self.folder / "cancel.json", {"by": by, "at": now()})

    def end(self, outcome: Outcome) -> None:
        """Note how it ended."""
        write_json(self.folder / "outcome.json", asdict(outcome))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all, and have it on the disk with its name.

    Raises:
        OSError: if that is not possible.
    """
    write_text(path, json.dumps(content, ensure_ascii=False) + "\n")
    sync(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ExecutionError: if the file can't be read, or is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExecutionError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise ExecutionError(f"{path}: expected a JSON object")
    return content


def read_json_if_there(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where the file is not there or damaged."""
    try:
        return read_json(path)
    except ExecutionError:
        return {}
