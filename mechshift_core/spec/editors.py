"""The JSON Schema of specs as they are written, by which editors complete and check them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mechshift_core.spec.base import SCHEMA_TITLE
from mechshift_core.spec.schema import json_schema

SCHEMA_FILE = "mechshift.schema.json"
"""What the first line of a template names: the schema beside it."""
AXIS = {"pattern": r"\$\{\{.*\}\}", "type": "string"}
"""What names an axis of the matrix."""


def editor_schema() -> dict[str, Any]:
    """The schema in which what is no section may name axes of the matrix as well.

    That is looser than the grammar, which holds once entries are written out.
    """
    schema = json_schema()
    for section in (*schema["$defs"].values(), schema["properties"]["models"]):
        for places in ("properties", "patternProperties"):
            if places in section:
                section[places] = {_or_axes(name): _or_axis(field) for name, field in section[places].items()}
    return schema


def schema_text() -> str:
    """The schema as the file beside specs has it."""
    return json.dumps(editor_schema(), indent=1) + "\n"


def is_schema(path: Path) -> bool:
    """Whether a file is such a schema, of any version, so that it may be replaced."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("title") == SCHEMA_TITLE


def _or_axes(name: str) -> str:
    """A pattern of names, or with axes in them; a name itself."""
    return f"{name}|{AXIS['pattern']}" if name.startswith("^") else name


def _or_axis(field: dict[str, Any]) -> dict[str, Any]:
    """What a field may be, or a text that names an axis; sections are as they are, and lists but for their items."""
    if "$ref" in field or field.get("type") in ("object", "null"):
        return field
    if field.get("type") == "array":
        return {**field, "items": _or_axis(field["items"])} if isinstance(field.get("items"), dict) else field
    told: dict[str, Any] = {key: field[key] for key in ("description", "default", "title") if key in field}
    return {**told, "anyOf": [{key: value for key, value in field.items() if key not in told}, dict(AXIS)]}
