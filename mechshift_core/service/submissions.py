"""Taking on what somebody hands in: checked, written as a whole, then acknowledged."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import MechshiftError, UsageError
from mechshift_core.files import sync
from mechshift_core.service.allowed import refusals
from mechshift_core.service.index import Index
from mechshift_core.service.jobs import SPEC_FILE, Job, Submission, now, write_json
from mechshift_core.service.root import Root
from mechshift_core.service.settings import Settings

if TYPE_CHECKING:
    from mechshift_core.spec import Spec, SpecError

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Of a file that comes with a spec: no folders, nothing hidden."""
KEY_LENGTH = 200
MOST_PROBLEMS = 200
LONGEST_LINE = 4000
"""Of a spec, in an answer: a spec in one line may have a thousand problems, each of which would hold all of it."""
_reading = threading.Lock()
"""Specs are read one at a time: reading one sets which kinds of extensions are known."""


class RefusedError(MechshiftError):
    """The server takes on no more now: the queue or the disk is full; `retry` is how many seconds to wait."""

    def __init__(self, message: str, retry: int = 60) -> None:
        super().__init__(message)
        self.retry = retry


class ConflictError(UsageError):
    """The same key was used for another submission."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A run that was taken on.

    Attributes:
        name: Its name.
        new: False where the same submission was sent again.
    """

    name: str
    new: bool


class Submissions:
    """Takes on specs for one server."""

    def __init__(self, index: Index, settings: Settings) -> None:
        self.index = index
        self.settings = settings
        self._lock = threading.Lock()

    def submit(self, text: str, files: Mapping[str, bytes], *, by: str = "", key: str = "") -> Accepted:
        """Take on a spec with the files that it names.

        When this returns, the run is on the disk, and is run even if the server is killed at once.

        Args:
            text: The spec.
            files: Name -> content of each file that came along.
            by: Who hands it in.
            key: What the client calls this submission; the same one again is the same run.

        Raises:
            SpecError: with everything that is wrong with the spec.
            UsageError: if a file's name or the size is not allowed.
            ConflictError: if the key was used for another submission.
            RefusedError: if queue or disk are full.
        """
        self.check_sizes(text, files)
        if len(key) > KEY_LENGTH or not key.isprintable():
            raise UsageError(f"the key of a submission has at most {KEY_LENGTH} printable characters")
        digest = _digest(text, files)
        try:
            with staged(self.index.root, ".new-", text, files) as staging:
                spec = read_allowed(staging.inputs, self.settings)
                _refuse_no_text(spec.title or "")
                self.index.require_whole()
                # So that no key and no place in the queue is given twice, nor the index made anew meanwhile.
                with self._lock, self.index.database.lock:
                    return self._take_on(staging, spec, digest, by=by, key=key)
        except OSError as error:
            raise RefusedError(f"the server can't write it down: {error.strerror or error}; try again later") from error

    def _take_on(self, staging: Job, spec: Spec, digest: str, *, by: str, key: str) -> Accepted:
        """Make a job of what was staged, unless it is one already."""
        root = self.index.root
        if (earlier := self.index.taken(by, key)) is not None:
            if earlier.sha256 != digest:
                raise ConflictError(f"the key {key!r} belongs to another submission, that of {earlier.name}")
            return Accepted(earlier.name, new=False)
        self._check_room(by)
        name = _free_name(spec.name, root.folder, root.jobs)
        submission = Submission(
            run=name,
            study=spec.name,
            title=spec.title or "",
            models=tuple(spec.models),
            tasks=tuple(task.name for task in spec.tasks),
            by=by,
            at=now(),
            number=self.index.next_number(),
            key=key,
            sha256=digest,
        )
        write_json(staging.folder / "job.json", asdict(submission))
        staging.want(by=by)
        sync(staging.folder)
        staging.folder.rename(root.jobs / name)
        try:
            sync(root.jobs)
            self.index.take(submission)
        except BaseException:  # nobody hears of it, so it must not be run, too
            (root.jobs / name).rename(staging.folder)
            raise
        return Accepted(name, new=True)

    def check_sizes(self, text: str, files: Mapping[str, bytes]) -> None:
        """Refuse what is too much, or has names that lead elsewhere.

        Raises:
            UsageError: saying what.
        """
        size = len(text.encode()) + sum(map(len, files.values()))
        if size > self.settings.most_bytes:
            raise UsageError(f"spec and files have {size} bytes; this server takes at most {self.settings.most_bytes}")
        if len(files) > self.settings.most_files:
            raise UsageError(f"{len(files)} files; this server takes at most {self.settings.most_files} with a spec")
        for name in files:
            if not FILE_NAME.fullmatch(name) or name == SPEC_FILE or name.endswith(".py"):
                raise UsageError(
                    f"file {name!r}: expected a name of letters, digits, `.`, `_`, `-` without folders, "
                    f"not {SPEC_FILE} and no Python code"
                )

    def _check_room(self, by: str) -> None:
        settings = self.settings
        if self.index.count_open() >= settings.most_queued:
            raise RefusedError(f"{settings.most_queued} runs wait or run already; try again when some have ended")
        if by and self.index.count_open(by) >= settings.most_queued_each:
            raise RefusedError(f"{settings.most_queued_each} runs of yours wait or run already; try again later")
        free = shutil.disk_usage(self.index.root.folder).free
        if free < settings.free_bytes:
            raise RefusedError(
                f"the server's disk is nearly full ({free // 2**20} MiB free); tell its administrator", 600
            )


def _refuse_code(path: Path) -> None:
    """Refuse a spec that names Python files, before anything looks for them: they may be called anything."""
    from mechshift_core.spec import SpecError
    from mechshift_core.spec.overrides import overridden
    from mechshift_core.spec.problems import LINE_BREAK, Problem
    from mechshift_core.spec.tree import Unreadable

    try:
        text = path.read_bytes().decode("utf-8")
        document = overridden(text, {})
    except (Unreadable, ValueError):
        return  # what is wrong is said by whoever reads it in earnest
    if isinstance(document.data, dict) and document.data.get("extensions"):
        mark = document.locate(("extensions",), key=True)
        reason = "a server runs no code of a spec; run it with `mechshift run --allow-code` yourself"
        raise SpecError([Problem(SPEC_FILE, mark.line, mark.column, reason, LINE_BREAK.split(text)[mark.line - 1])])


@contextmanager
def staged(root: Root, prefix: str, text: str, files: Mapping[str, bytes]) -> Iterator[Job]:
    """A spec and its files in a folder that is no job yet; what has not been moved away is removed at the end."""
    job = Job(Path(mkdtemp(prefix=prefix, dir=root.own)))
    try:
        write_inputs(job.inputs, text, files)
        yield job
    finally:
        shutil.rmtree(job.folder, ignore_errors=True)


def write_inputs(inputs: Path, text: str, files: Mapping[str, bytes]) -> None:
    """Write a spec and its files, and have them on the disk."""
    inputs.mkdir(parents=True)
    for name, content in {**files, SPEC_FILE: text.encode()}.items():
        (inputs / name).write_bytes(content)
        sync(inputs / name)
    sync(inputs)


def read_allowed(inputs: Path, settings: Settings) -> Spec:
    """Read a spec, and refuse what it may not reach; no model or data set is opened.

    Raises:
        SpecError: with everything that is wrong, each at its line and column; the file is called `spec.yaml`.
    """
    from mechshift_core.spec import SpecError, load_spec
    from mechshift_core.spec.overrides import overridden
    from mechshift_core.spec.problems import LINE_BREAK, Problem

    path = inputs / SPEC_FILE
    try:
        _refuse_code(path)
        with _reading:
            spec = load_spec(path, check_files=False)
        refused = [*refusals(spec, settings, inputs)]
        if refused:
            document, lines = overridden(spec.text, {}), LINE_BREAK.split(spec.text)
            marks = [(document.locate(where), reason) for where, reason in refused]
            raise SpecError(Problem(SPEC_FILE, m.line, m.column, reason, lines[m.line - 1]) for m, reason in marks)
    except SpecError as error:
        raise SpecError(
            Problem(SPEC_FILE, p.line, p.column, p.message.replace(f"{inputs}/", ""), p.source_line)
            for p in error.problems
        ) from None
    return spec


def as_json(error: SpecError) -> list[dict[str, Any]]:
    """The problems of a spec as JSON: so many, and of their lines so much, as an answer can hold."""
    shown = [
        {
            "line": problem.line,
            "column": problem.column,
            "message": problem.message[:LONGEST_LINE],
            "source_line": problem.source_line if len(problem.source_line) <= LONGEST_LINE else "",
        }
        for problem in error.problems[:MOST_PROBLEMS]
    ]
    if hidden := len(error.problems) - len(shown):
        shown.append({"line": 0, "column": 0, "message": f"... and {hidden} more problems", "source_line": ""})
    return shown


def _refuse_no_text(title: str) -> None:
    """Refuse halves of characters, which YAML can write and no file or database can hold."""
    try:
        title.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the title of the study is no text: {error.reason}") from None


def _digest(text: str, files: Mapping[str, bytes]) -> str:
    content = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    return hashlib.sha256(json.dumps([text, content]).encode()).hexdigest()


def _free_name(study: str, *folders: Path) -> str:
    """A name that no run has: that of the study, the day, and a few letters."""
    while True:
        name = f"{study[:150]}-{time.strftime('%Y%m%d', time.gmtime())}-{secrets.token_hex(3)}"
        if not any((folder / name).exists() for folder in folders):
            return name
