"""pydantic's errors in a user's words: what was expected, what came, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from mechshift_core.spec.base import NAME_PATTERN
from mechshift_core.spec.problems import listing, suggestion
from mechshift_core.spec.scalars import describe
from mechshift_core.spec.tree import Path

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong at a path of the document.

    Attributes:
        on_key: Whether the position is that of the key rather than of its value.
        unknown_key: Whether the rest of the mapping is usable without this key.
    """

    path: Path
    message: str
    on_key: bool = False
    unknown_key: bool = False


def translate(errors: Iterable[ErrorDetails], *, data: object, model: type[BaseModel]) -> list[Complaint]:
    """One complaint per place, from the errors of validating `data` (plain data) as `model`.

    Where a value may be one of several types, pydantic reports each of them; these become one complaint.
    """
    schema = _schema(model)
    grouped: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        if not _is_consequence(error):
            grouped.setdefault(_document_path(error, data, schema), []).append(error)
    found = []
    for path, group in grouped.items():
        if len(group) == 1:
            found.append(_single(group[0], path, schema))
        else:
            expected = list(dict.fromkeys(_expected(error) for error in group))
            came = describe(group[0]["input"])
            found.append(Complaint(path, f"expected {' or '.join(expected)}, got {came}"))
    return found


@cache
def _schema(model: type[BaseModel]) -> Json:
    """The JSON Schema of a model; making it takes longer than reading most specs."""
    return model.model_json_schema(by_alias=True)


def _is_consequence(error: ErrorDetails) -> bool:
    """Whether pydantic reports this only because of another error: it counts valid items, and defaults need them."""
    if error["type"] == "too_short":
        return len(error["input"]) >= int(error["ctx"]["min_length"])
    return error["type"] == "default_factory_not_called"


def _document_path(error: ErrorDetails, data: Any, schema: Json) -> Path:
    """The error's location without the steps that are not in the document (names of union members).

    The tag of a union can be the name of a key as well: an intervention of the kind `ablation` has a key `ablation`.
    """
    path: list[str | int] = []
    here = schema
    for step in error["loc"]:
        here = _resolve(here, schema)
        tag = step in here.get("discriminator", {}).get("mapping", {})
        known = step in data if isinstance(data, dict) else isinstance(data, list) and step in range(len(data))
        if known and not tag:
            data = data[step]
            path.append(step)
        if known or tag:
            here = _step(here, step, schema)
    if error["type"] == "missing":
        path.append(error["loc"][-1])
    elif error["type"] == "union_tag_invalid":
        path.append(_discriminator(error))
    return tuple(path)


def _single(error: ErrorDetails, path: Path, schema: Json) -> Complaint:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return Complaint(path, f"missing key {path[-1]!r}", on_key=True)
    if kind == "extra_forbidden":
        known = _keys(schema, error["loc"][:-1])
        hint = suggestion(path[-1], known) or f" (known here: {', '.join(known)})"
        return Complaint(path, f"unknown key {str(path[-1])[:80]!r}{hint}", on_key=True, unknown_key=True)
    if kind == "union_tag_not_found":
        return Complaint((*path, _discriminator(error)), f"missing key {_discriminator(error)!r}", on_key=True)
    if kind == "union_tag_invalid":
        tags = re.findall(r"'([^']*)'", context["expected_tags"])
        return Complaint(path, _choice(context["tag"], tags))
    if kind == "literal_error":
        return Complaint(path, _choice(error["input"], re.findall(r"'([^']*)'", context["expected"])))
    if "[key]" in error["loc"]:
        return Complaint(path, f"expected {_expected(error)}, got {describe(error['input'])}", on_key=True)
    if kind in _EXPECTED:
        return Complaint(path, f"expected {_expected(error)}, got {_came(error)}")
    return Complaint(path, error["msg"])


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
    "string_pattern_mismatch": lambda c: (
        "a name of lower-case letters, digits, '.', '_' and '-' that begins with a letter or digit"
        if c["pattern"] == NAME_PATTERN
        else f"text of the form {c['pattern']}"
    ),
    "literal_error": lambda c: listing(re.findall(r"'([^']*)'", c["expected"])),
}


def _expected(error: ErrorDetails) -> str:
    phrase = _EXPECTED.get(error["type"])
    return phrase(error.get("ctx", {})) if phrase else error["msg"]


def _came(error: ErrorDetails) -> str:
    value, kind = error["input"], error["type"]
    if kind in ("too_short", "too_long"):
        return str(error["ctx"]["actual_length"])
    if kind == "string_too_long":
        return str(len(value))
    if kind == "string_type" and isinstance(value, int | float):
        return f"{describe(value)} (write it in quotes for text)"
    return describe(value)


def _counted(count: int, kind: str) -> str:
    noun = "entry" if kind == "Dictionary" else "item"
    return f"{count} {noun}" if count == 1 else f"{count} {noun.removesuffix('y')}{'ies' if noun == 'entry' else 's'}"


def _choice(came: object, known: list[str]) -> str:
    return f"expected {listing(known)}, got {describe(came)}{suggestion(came, known)}"


def _discriminator(error: ErrorDetails) -> str:
    return str(error["ctx"]["discriminator"]).strip("'")


def _keys(schema: Json, location: tuple[str | int, ...]) -> list[str]:
    """The keys that a mapping at `location` may have, read off the JSON Schema."""
    here: Json = schema
    for step in location:
        here = _step(_resolve(here, schema), step, schema)
    candidates = [_resolve(option, schema) for option in _resolve(here, schema).get("anyOf", [here])]
    return [key for candidate in candidates for key in _resolve(candidate, schema).get("properties", {})]


def _step(here: Json, step: str | int, schema: Json) -> Json:
    mapping = here.get("discriminator", {}).get("mapping", {})
    if step in mapping:
        return {"$ref": mapping[step]}
    for option in [here, *(_resolve(option, schema) for option in here.get("anyOf", []))]:
        if isinstance(step, int) and ("items" in option or "prefixItems" in option):
            items: Json = option.get("items") or option["prefixItems"][step]
            return items
        if step in option.get("properties", {}):
            entry: Json = option["properties"][step]
            return entry
        if isinstance(option.get("additionalProperties"), dict):
            value: Json = option["additionalProperties"]
            return value
        if option.get("patternProperties"):
            patterned: Json = next(iter(option["patternProperties"].values()))
            return patterned
    return {}


def _resolve(here: Json, schema: Json) -> Json:
    while "$ref" in here:
        here = schema["$defs"][here["$ref"].rpartition("/")[2]]
    return here
