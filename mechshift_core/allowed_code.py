"""Whether the Python files that a spec names may be run: only where that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_allowed: ContextVar[bool] = ContextVar("code of specs may be run", default=False)


@contextmanager
def code_allowed(allow: bool = True) -> Iterator[None]:
    """Let the code of specs be run within; `allow=False` changes nothing."""
    before = _allowed.set(_allowed.get() or allow)
    try:
        yield
    finally:
        _allowed.reset(before)


def is_code_allowed() -> bool:
    """Whether the code of specs may be run."""
    return _allowed.get()
