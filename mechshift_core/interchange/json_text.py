"""JSON of strangers as plain data: each key once, every error with its place."""

from __future__ import annotations

import json
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.wording import clip


def parse(path: object, text: str) -> Any:
    """The data of a JSON text; `NaN` and `Infinity` become such numbers, for the reader to refuse by name.

    Raises:
        UsageError: if it is no JSON, or a key is there twice.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        at_end = not text[error.pos :].strip() or error.msg.startswith("Unterminated string")
        cut = "; the file may have been cut short: fetch or write it again" if at_end else ""
        raise UsageError(f"{path}:{error.lineno}:{error.colno}: not JSON: {error.msg}{cut}") from error
    except (ValueError, RecursionError) as error:
        reason = "brackets are nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(f"{path}: not JSON that can be read: {clip(reason, 300)}") from error


def _each_once(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(entries)
    if len(found) < len(entries):
        seen: set[str] = set()
        twice = next(key for key, _ in entries if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {clip(twice)!r} is there twice; which one counts can't be told")
    return found


def mapping(where: str, value: object, what: str) -> dict[str, Any]:
    """A value that is to be a mapping.

    Raises:
        UsageError: if it is none.
    """
    if not isinstance(value, dict):
        from mechshift_core.wording import describe

        raise UsageError(f"{where}: expected {what}, got {describe(value)}")
    return value
