"""Errors of pydantic in a user's words: what was expected and what came. For specs and for data sets alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic_core import ErrorDetails

from mechshift_core.options import listing, suggestion

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
"""Names of what a spec declares."""
Json = dict[str, Any]


def describe(value: object) -> str:
    """A value in a message, in the words of YAML and JSON."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(clip(value))
    if isinstance(value, int | float):
        return str(value)
    return "a mapping" if isinstance(value, dict) else "a list"


def clip(text: str, width: int = 60) -> str:
    """At most `width` characters of a text."""
    return text if len(text) <= width else text[: width - 3] + "..."


def choice(came: object, known: list[str]) -> str:
    """That a value is none of some words, and which may have been meant."""
    return f"expected {listing(known)}, got {describe(came)}{suggestion(came, known)}"


def expected(error: ErrorDetails) -> str:
    """What would have been right."""
    phrase = _EXPECTED.get(error["type"])
    return phrase(error.get("ctx", {})) if phrase else error["msg"]


def has_words(kind: str) -> bool:
    """Whether there are words of ours for a kind of error; others are of validators of ours, with their own."""
    return kind in _EXPECTED


def words_of(error: ErrorDetails) -> list[str]:
    """The words that would have been right, of an error about words."""
    return _quoted(error["ctx"]["expected"])


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def came(error: ErrorDetails) -> str:
    """What came instead."""
    value, kind = error["input"], error["type"]
    if kind in ("too_short", "too_long"):
        return str(error["ctx"]["actual_length"])
    if kind == "string_too_long":
        return str(len(value))
    if kind == "string_type" and isinstance(value, int | float):
        return f"{describe(value)} (write it in quotes for text)"
    return describe(value)


def line_fault(errors: Iterable[ErrorDetails], known: Iterable[str]) -> str:
    """The first thing that is wrong with a JSON object: its key, what was expected and what came.

    Args:
        errors: Of validating the object.
        known: The keys that it may have.
    """
    found = list(errors)
    if not found[0]["loc"]:
        return "expected keys of valid Unicode text, got half of a surrogate pair"
    key = found[0]["loc"][0]
    of_key = [error for error in found if error["loc"][0] == key]
    kind = of_key[0]["type"]
    if kind == "missing" and len(of_key[0]["loc"]) == 1:
        return f"missing key {str(key)!r}"
    if kind == "extra_forbidden":
        keys = list(known)
        hint = suggestion(key, keys) or f" (known here: {', '.join(keys)})"
        return f"unknown key {clip(str(key))!r}{hint}"
    places = {tuple(step for step in error["loc"] if isinstance(step, int)) for error in of_key}
    deepest = max(places, key=len)  # of the types that a value may have, those that it comes closest to
    closest = [error for error in of_key if tuple(step for step in error["loc"] if isinstance(step, int)) == deepest]
    where = ".".join(map(str, (key, *deepest)))
    if closest[0]["type"] == "missing":
        return f"{where}: missing"
    if not has_words(closest[0]["type"]):
        return f"{where}: {closest[0]['msg']}"
    wanted = list(dict.fromkeys(map(expected, closest)))
    return f"{where}: expected {' or '.join(wanted)}, got {came(closest[0])}"


_EXPECTED: dict[str, Callable[[Json], str]] = {
    "int_type": lambda _: "an integer",
    "int_from_float": lambda _: "an integer",
    "float_type": lambda _: "a number",
    "finite_number": lambda _: "a finite number",
    "string_type": lambda _: "text",
    "bool_type": lambda _: "true or false",
    "tuple_type": lambda _: "a list",
    "list_type": lambda _: "a list",
    "dict_type": lambda _: "a mapping",
    "model_type": lambda _: "a mapping",
    "model_attributes_type": lambda _: "a mapping",
    "greater_than": lambda c: f"a number greater than {c['gt']}",
    "greater_than_equal": lambda c: f"a number not below {c['ge']}",
    "less_than": lambda c: f"a number less than {c['lt']}",
    "less_than_equal": lambda c: f"a number not above {c['le']}",
    "too_short": lambda c: f"at least {_counted(c['min_length'], c['field_type'])}",
    "too_long": lambda c: f"at most {_counted(c['max_length'], c['field_type'])}",
    "string_too_short": lambda _: "text that is not empty",
    "string_too_long": lambda c: f"at most {c['max_length']} characters",
    "string_unicode": lambda _: "valid Unicode text",
    "string_pattern_mismatch": lambda c: (
        "a name of lower-case letters, digits, '.', '_' and '-' that begins with a letter or digit"
        if c["pattern"] == NAME_PATTERN
        else f"text of the form {c['pattern']}"
    ),
    "literal_error": lambda c: listing(_quoted(c["expected"])),
}


def _counted(count: int, kind: str) -> str:
    noun = "entry" if kind == "Dictionary" else "item"
    return f"{count} {noun}" if count == 1 else f"{count} {noun.removesuffix('y')}{'ies' if noun == 'entry' else 's'}"
