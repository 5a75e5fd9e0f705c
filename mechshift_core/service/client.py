"""A client of the service: `Client("https://runs.example.org").submit("study.yaml")`.

What was sent and got no answer is sent again under the same key, so that it is one run. Every error is one of
mechshift's own, and says where, what was expected, what came and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.service.connection import Connection
from mechshift_core.service.handing import files_of, read_text

Part = TypeVar("Part")
PATIENCE = 60.0
"""Seconds for which something is tried again that was on its way when the server went away."""
ENDED = frozenset({"complete", "partial", "failed", "cancelled", "unfinished"})
"""States in which nothing more happens by itself."""


KINDS: Mapping[str, type] = {
    **dict.fromkeys(("study", "title", "message", "submitted_by"), str),
    **dict.fromkeys(("supported", "refuted", "inconclusive", "not_estimable", "attempts"), int),
}
"""What the parts of an answer about a run are, where they are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """How a run on a server stands; times are UTC. What an answer has besides is left out."""

    name: str
    state: str
    study: str = ""
    title: str = ""
    message: str = ""
    submitted_by: str = ""
    submitted: str | None = None
    started: str | None = None
    ended: str | None = None
    last: str | None = None
    seconds: float | None = None
    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    supported: int = 0
    refuted: int = 0
    inconclusive: int = 0
    not_estimable: int = 0
    progress: Mapping[str, Any] | None = None
    attempts: int = 0

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in ENDED

    @classmethod
    def of(cls, content: Any) -> RunStatus:
        """From an answer.

        Raises:
            ExecutionError: if it is none: it comes from whoever answers under the server's address.
        """
        if not isinstance(content, dict):
            raise ExecutionError(f"expected a run of a server, got {str(content)[:80]!r}")
        known = {one.name: content[one.name] for one in fields(cls) if one.name in content}
        for name in ("models", "tasks"):
            known[name] = tuple(map(str, found)) if isinstance(found := known.get(name), list) else ()
        for name, kind in {"name": str, "state": str, **KINDS}.items():
            if not isinstance(known.get(name, kind()), kind) or (name in ("name", "state") and not known.get(name)):
                raise ExecutionError(f"expected a run of a server, got {name} {str(known.get(name))[:80]!r}")
        steps = known.get("progress")
        if not isinstance(steps, dict) or not all(isinstance(steps.get(name), int) for name in ("done", "total")):
            known["progress"] = None
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Watched:
    """Something that happened to a run: how it stands now, or what its process wrote."""

    run: RunStatus | None = None
    log: str = ""


class Client:
    """Speaks with one server.

    Args:
        server: Its address; MECHSHIFT_SERVER, or this machine's, unless given.
        token: Who asks; MECHSHIFT_TOKEN unless given.
        patience: Seconds for which something is tried again when the server goes away in the middle of it.

    Raises:
        UsageError: if httpx is missing, the address is none, or the token would be sent unencrypted.
    """

    def __init__(self, server: str | None = None, token: str | None = None, *, patience: float = PATIENCE) -> None:
        self._connection = Connection(server, token, patience)
        self.server = self._connection.server

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()

    def submit(
        self, spec: str | os.PathLike[str], *, key: str = "", overrides: Mapping[str, Any] | None = None
    ) -> RunStatus:
        """Hand in a spec file, with the files that it names by relative paths.

        Args:
            spec: The file.
            key: What this submission is called; the same one again is the same run. A random one unless given.
            overrides: Values that replace those of the spec, as of :func:`mechshift_core.spec.load_spec`.

        Raises:
            SpecError: if the spec is wrong, with line and column of every problem.
            UsageError: if it can't be read, or the server does not let us in.
            ExecutionError: if the server can't be reached, or takes on no more.
        """
        path = Path(spec)
        text = _varied(path, read_text(path), overrides or {})
        content = {"spec": text, "files": files_of(path, text)}
        headers = {"idempotency-key": key or uuid4().hex}
        return RunStatus.of(self._connection.json("POST", "runs", spec=str(path), json=content, headers=headers))

    def runs(self, *, limit: int = 50, **filters: str | Sequence[str]) -> list[RunStatus]:
        """Runs, the last active first.

        Args:
            limit: How many.
            filters: `q`, `state`, `verdict`, `study`, `model`, `task`, `by`.
        """
        found: list[RunStatus] = []
        after: dict[str, str] = {}
        while len(found) < limit:
            asked = {**filters, **after, "limit": min(1000, limit - len(found))}
            content = self._connection.json("GET", "runs", params=asked)
            part = [RunStatus.of(one) for one in _part(content, "runs", list)]
            found += part
            if not part or not content.get("next"):
                break
            after = {"after": _part(content, "next", str)}
        return found

    def run(self, name: str) -> RunStatus:
        """How a run stands."""
        return RunStatus.of(self._connection.json("GET", _path(name)))

    def cancel(self, name: str) -> str:
        """Have a run end early; returns its state."""
        return _text(self._connection.json("POST", f"{_path(name)}/cancel"), "state")

    def resume(self, name: str) -> str:
        """Have a run that has ended go on; returns its state."""
        return _text(self._connection.json("POST", f"{_path(name)}/resume"), "state")

    def delete(self, name: str) -> str:
        """Move a run to the trash; returns what it is called there."""
        return _text(self._connection.json("DELETE", _path(name)), "id")

    def log(self, name: str, *, attempt: int | None = None) -> str:
        """What the process of a run wrote, all of it; of its last attempt unless one is given."""
        parts: list[str] = []
        offset = 0
        while True:
            asked = {"offset": offset} | ({} if attempt is None else {"attempt": attempt})
            part = self._connection.json("GET", f"{_path(name)}/log", params=asked)
            text, behind = _part(part, "text", str), _part(part, "next", int)
            if not text or behind <= offset:
                return "".join(parts)
            parts.append(text)
            offset, attempt = behind, _part(part, "attempt", int)

    def watch(self, name: str) -> Iterator[Watched]:
        """A run as it goes on, until it has ended; a connection that breaks is made again where it broke.

        Raises:
            ExecutionError: if the server stays away, or the run is deleted.
        """
        for kind, content in self._connection.events(f"{_path(name)}/events"):
            if kind == "log":
                yield Watched(log=str(content.get("text", "")))
            elif kind == "run":
                yield Watched(run=RunStatus.of(content))
            elif kind == "end" and content.get("state") == "deleted":
                raise ExecutionError(f"{name} was deleted")
            elif kind == "end":
                return

    def findings(self, name: str) -> dict[str, Any]:
        """The content of `findings.json`."""
        content: dict[str, Any] = self._connection.json("GET", f"{_path(name)}/findings")
        _part(content, "hypotheses", list)
        return content

    def table(self, name: str, table: str, *, where: Sequence[str] = (), format: str = "parquet") -> bytes:
        """A table of a run as a file; `where` holds conditions `COLUMN=VALUE`."""
        asked = {"format": format, "where": list(where), "limit": 1_000_000}
        with self._connection.answer(f"{_path(name)}/tables/{quote(table, safe='')}", params=asked) as response:
            return response.read()

    def check(
        self,
        name: str,
        baseline: Mapping[str, Any],
        *,
        tolerance: float | None = None,
        must_hold: Sequence[str] = (),
    ) -> dict[str, Any]:
        """A run against a baseline, as `mechshift check` does; `exit_code` of the answer is that command's."""
        asked = {"baseline": dict(baseline), "tolerance": tolerance, "must_hold": list(must_hold)}
        content: dict[str, Any] = self._connection.json("POST", f"{_path(name)}/check", json=asked)
        return content

    def files(self, name: str) -> list[str]:
        """The files of a run that can be had as they are."""
        return [*self.sizes(name)]

    def sizes(self, name: str) -> dict[str, int]:
        """The same with their bytes."""
        content = {"files": self._connection.json("GET", f"{_path(name)}/files")}
        return {_part(one, "path", str): _part(one, "bytes", int) for one in _part(content, "files", list)}

    def save(self, name: str, file: str, target: Path, *, size: int | None = None) -> int:
        """Write a file of a run to a new file here, and return its bytes.

        Args:
            name: The run.
            file: Its path there.
            target: Where it goes.
            size: Bytes that it has; of what has more no more is taken.

        Raises:
            OSError: if it can't be written.
        """
        written = 0
        with self._connection.answer(f"{_path(name)}/files/{quote(file)}") as response, target.open("xb") as handle:
            for part in response.iter_bytes():
                written += handle.write(part)
                if size is not None and written > size:
                    break
            handle.flush()
            os.fsync(handle.fileno())
        return written


def _part(content: Any, name: str, kind: type[Part]) -> Part:
    """A part of an answer.

    Raises:
        ExecutionError: if it is not there, or something else.
    """
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, kind):
        raise ExecutionError(f"expected {name!r} in the server's answer, got {str(content)[:80]!r}; is it mechshift's?")
    return found


def _text(content: Any, name: str) -> str:
    return _part(content, name, str)


def _varied(path: Path, text: str, overrides: Mapping[str, Any]) -> str:
    """A spec's text with what is given beside it; what can't be read is left to the server."""
    from mechshift_core.spec.overrides import plain, written
    from mechshift_core.spec.tree import Unreadable

    try:
        return written(text, plain(overrides), file=str(path))
    except Unreadable:
        return text


def _path(name: str) -> str:
    """Of a run; a name that leads elsewhere is none that the server has."""
    if not name or name in (".", "..") or "/" in name:
        raise UsageError(f"{name!r} is no name of a run; `mechshift ps` lists them")
    return f"runs/{quote(name, safe='')}"
