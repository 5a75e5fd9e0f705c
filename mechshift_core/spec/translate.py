"""pydantic's errors in a user's words: what was expected, what came, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from mechshift_core.options import suggestion
from mechshift_core.registry import generation
from mechshift_core.spec.implemented import offered
from mechshift_core.spec.tree import Path
from mechshift_core.wording import Json, came, choice, describe, expected, has_words, words_of


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
    schema = _schema(model, generation())
    grouped: dict[Path, list[ErrorDetails]] = {}
    for error in errors:
        if not _is_consequence(error):
            grouped.setdefault(_document_path(error, data, schema), []).append(error)
    found = []
    for path, group in grouped.items():
        if _is_other_member(path, group, grouped):
            continue
        if len(group) == 1:
            found.append(_single(group[0], path, schema))
        else:
            wanted = list(dict.fromkeys(map(expected, group)))
            found.append(Complaint(path, f"expected {' or '.join(wanted)}, got {describe(group[0]['input'])}"))
    return _once(found)


def _once(complaints: list[Complaint]) -> list[Complaint]:
    """Wrong values in the list of one choice of `sensitivity` as one complaint, which names the choice.

    All of them are to be of the same values, which need not be said for each.
    """
    found: dict[object, Complaint] = {}
    for number, one in enumerate(complaints):
        path, (wanted, got, came) = one.path, one.message.partition(", got ")
        if path[:1] != ("sensitivity",) or len(path) < 2 or one.unknown_key:
            found[number] = one
            continue
        key = (path[1], wanted) if len(path) == 3 and got else number
        first = found.get(key)
        if first is None:
            found[key] = replace(one, message=f"sensitivity.{path[1]}: {one.message}")
        else:
            found[key] = replace(first, message=f"{first.message}, {came}")
    return list(found.values())


def _is_other_member(path: Path, group: list[ErrorDetails], grouped: dict[Path, list[ErrorDetails]]) -> bool:
    """Whether a mapping is only told that it is no word, where something within it is wrong."""
    words = all(error["type"] == "literal_error" and isinstance(error["input"], dict) for error in group)
    return words and any(len(other) > len(path) and other[: len(path)] == path for other in grouped)


@cache
def _schema(model: type[BaseModel], _: int) -> Json:
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
        return Complaint(path, choice(context["tag"], offered(path, tags)))
    if kind == "literal_error":
        return Complaint(path, choice(error["input"], offered(path, words_of(error))))
    if "[key]" in error["loc"]:
        return Complaint(path, f"expected {expected(error)}, got {describe(error['input'])}", on_key=True)
    if has_words(kind):
        return Complaint(path, f"expected {expected(error)}, got {came(error)}")
    return Complaint(path, error["msg"])


def _discriminator(error: ErrorDetails) -> str:
    return str(error["ctx"]["discriminator"]).strip("'")


def _keys(schema: Json, location: tuple[str | int, ...]) -> list[str]:
    """The keys that a mapping at `location` may have, read off the JSON Schema."""
    here: Json = schema
    for step in location:
        # The name of a member of a union is no step of the schema.
        here = _step(_resolve(here, schema), step, schema) or here
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
