"""Tokens: who is let in. What is kept of one is its SHA-256; the token itself is shown once."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import write_text
from mechshift_core.service.jobs import now
from mechshift_core.service.root import Root

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
PREFIX = "mst_"
"""So that scanners for secrets find a token where it should not be."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is let in.

    Attributes:
        name: Whose it is.
        sha256: Of the token, in hexadecimal digits.
        created: When.
    """

    name: str
    sha256: str
    created: str


class Tokens:
    """The tokens of a root."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._read: tuple[object, tuple[Token, ...]] = (None, ())
        self._required = False

    @property
    def required(self) -> bool:
        """Whether a token is asked for: once there has been one, also when all are revoked, or their file is gone."""
        self._required = self._required or self._root.tokens.exists()
        return self._required

    def all(self) -> tuple[Token, ...]:
        """Every token that is let in; read anew when the file has changed.

        Raises:
            ExecutionError: if the file is damaged: nobody is let in then.
        """
        path = self._root.tokens
        try:
            found = path.stat()
        except FileNotFoundError:
            return ()
        self._required = True
        mark = (found.st_mtime_ns, found.st_ino, found.st_size)
        if self._read[0] != mark:
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                self._read = mark, tuple(Token(**token) for token in content["tokens"])
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ExecutionError(f"{path}: {error}; mend it, or remove it and make tokens anew") from error
        return self._read[1]

    def lets_in(self, token: str) -> bool:
        """Whether who shows this token is let in now; where none is asked for, everybody is."""
        try:
            return not self.required or self.owner(token) is not None
        except ExecutionError:
            return False

    def owner(self, token: str) -> Token | None:
        """Whose a token is; None if nobody's."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = None
        for one in self.all():  # all of them, so that the time says nothing
            if hmac.compare_digest(one.sha256, digest):
                found = one
        return found

    def create(self, name: str) -> str:
        """Make a token and return it: it is not kept.

        Raises:
            UsageError: if the name is none, or taken.
        """
        if not NAME.fullmatch(name):
            raise UsageError(f"token {name!r}: expected letters, digits, `.`, `_`, `-`, `@`, at most 100")
        with self._changing():
            tokens = self.all()
            if any(one.name == name for one in tokens):
                raise UsageError(f"there is a token {name!r}; revoke it first, or choose another name")
            token = PREFIX + secrets.token_urlsafe(32)
            self._write((*tokens, Token(name, hashlib.sha256(token.encode()).hexdigest(), now())))
        return token

    def revoke(self, name: str) -> None:
        """Let a token in no more.

        Raises:
            UsageError: if there is none of that name.
        """
        with self._changing():
            tokens = self.all()
            if not any(one.name == name for one in tokens):
                known = ", ".join(one.name for one in tokens) or "none"
                raise UsageError(f"no token {name!r} (there are: {known})")
            self._write(tuple(one for one in tokens if one.name != name))

    def _write(self, tokens: tuple[Token, ...]) -> None:
        try:
            content = {"tokens": [asdict(token) for token in tokens]}
            write_text(self._root.tokens, json.dumps(content, indent=1) + "\n")
            self._root.tokens.chmod(0o600)
        except OSError as error:
            raise ExecutionError(f"{self._root.tokens}: {error.strerror or error}") from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, also of several processes."""
        self._root.make()
        with (self._root.own / "tokens.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
