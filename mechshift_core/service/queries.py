"""Queries that somebody saved, by name, for all who use the server."""

from __future__ import annotations

import json
import threading
from typing import Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import write_text
from mechshift_core.service.jobs import read_json_if_there
from mechshift_core.service.root import Root

MOST = 200
_lock = threading.Lock()


def saved(root: Root) -> dict[str, str]:
    """Name -> query, by name."""
    content = read_json_if_there(root.queries)
    return {name: text for name, text in sorted(content.items()) if isinstance(text, str)}


def save(root: Root, name: str, text: str | None) -> None:
    """Save a query under a name; None removes it.

    Raises:
        UsageError: if there are too many, or there is none to remove.
        ExecutionError: if it can't be written.
    """
    with _lock:
        known: dict[str, Any] = saved(root)
        if text is None:
            if name not in known:
                raise UsageError(f"no saved query {name!r}")
            del known[name]
        else:
            known[name] = text
        if len(known) > MOST:
            raise UsageError(f"there are {MOST} saved queries already; remove one first")
        try:
            write_text(root.queries, json.dumps(known, ensure_ascii=False, indent=1) + "\n")
        except OSError as error:
            raise ExecutionError(f"{root.queries.name}: {error.strerror or error}") from error
