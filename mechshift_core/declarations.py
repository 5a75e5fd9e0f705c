"""What was declared when: a record in the run directory, and registrations from before a run.

Every `run` and `analyze` that finds other hypotheses, statistics, selection, tasks or measures than the last one adds
an entry to `declarations.json`, with the time, whether results were there already, and a hash that goes over the entry
before, so that entries can't be taken out or changed unseen. What was declared before the first results is what the
last entry before them says. `mechshift register SPEC` writes the same of a spec to a file of its own, to commit or to
deposit; a run of that spec says whether it is as registered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from mechshift_core import __version__
from mechshift_core.comparison.differences import differences
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import unwritable, write_text
from mechshift_core.run_files import DECLARATIONS, FINDINGS
from mechshift_core.spec import Spec
from mechshift_core.times import utc_text
from stats.findings import Declaration, Dropped

RECORD_SCHEMA = "mechshift-declarations/v1"
REGISTRATION_SCHEMA = "mechshift-registration/v1"
MAX_BYTES = 2**22
"""Largest record or registration that is read."""
PARTS = ("statistics", "select", "measures", "pairs", "trajectories", "tasks", "interventions", "denoising", "seed")
"""What, beside the hypotheses, decides what they come to."""

LONGEST = 120
"""Characters of a value that a difference shows."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """The declarations of a run directory.

    Attributes:
        entries: In order of time, each with `at`, `command`, `results` (whether there were any), `declared`, `sha256`.
        registration: The registration that was beside the spec at the last run; None without one.
    """

    entries: tuple[Document, ...]
    registration: Document | None = None

    @property
    def first(self) -> Document | None:
        """What was declared before the first results; None where this is not known."""
        before = [entry["declared"] for entry in self.entries if not entry["results"]]
        return before[-1] if before else None

    @property
    def problems(self) -> tuple[str, ...]:
        """Where the record is not what it was when it was written."""
        found, previous = [], ""
        for number, entry in enumerate(self.entries, start=1):
            if _entry_hash(entry, previous) != entry.get("sha256"):
                found.append(f"entry {number} is not what was written, or one before it is missing")
            previous = str(entry.get("sha256"))
        return tuple(found)


def declared_by(spec: Spec) -> Document:
    """What a spec declares of its hypotheses and of what decides them, as plain data."""
    content = spec.model_dump(mode="json", by_alias=True)
    return {"name": spec.name, "hypotheses": content["hypotheses"], **{name: content[name] for name in PARTS}}


def read_record(folder: Path) -> Record:
    """The record of a run directory; empty where there is none.

    Raises:
        ExecutionError: if it can't be read.
    """
    path = folder / DECLARATIONS
    if not path.is_file():
        return Record(())
    try:
        content = json.loads(_text(path))
        if content["schema"] != RECORD_SCHEMA:
            raise ValueError(f"schema {content['schema']!r}, expected {RECORD_SCHEMA!r}")
        entries = tuple(content["entries"])
        for entry in entries:
            if not isinstance(entry["declared"]["hypotheses"], list) or not isinstance(entry["results"], bool):
                raise ValueError("an entry without its hypotheses")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExecutionError(
            f"{path}: not a record of declarations: {error!r}; without it nobody knows what was declared before the "
            "results: restore it from a copy, or use another --out"
        ) from error
    return Record(entries, content.get("registration"))


def note(folder: Path, spec: Spec, command: str) -> Record:
    """Add what a spec declares to the record of a run directory, unless the last entry says the same.

    Raises:
        ExecutionError: if the record can't be read.
        UsageError: if the registration beside the spec can't be.
    """
    record, declared = read_record(folder), declared_by(spec)
    registration = record.registration if command == "analyze" else find_registration(spec)
    entries = list(record.entries)
    if not entries or entries[-1]["declared"] != declared:
        entry: Document = {
            "at": utc_text(),
            "command": command,
            "results": (folder / FINDINGS).is_file(),
            "declared": declared,
        }
        entry["sha256"] = _entry_hash(entry, entries[-1]["sha256"] if entries else "")
        entries.append(entry)
    made = Record(tuple(entries), registration)
    if made != record:
        content = {"schema": RECORD_SCHEMA, "entries": entries, "registration": registration}
        write_text(folder / DECLARATIONS, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return made


def declaration_of(record: Record, spec: Spec) -> Declaration:
    """What of a spec was declared before the results of its run, and what it was registered as."""
    now, registration = declared_by(spec), record.registration
    registered, unlike = "", tuple[str, ...]()
    if registration is not None:
        registered = str(registration["registered"])
        declared = registration["declared"]
        unlike = difference_lines(_complete(declared, spec), now)
    first = record.first
    if first is None:
        return Declaration(known=False, registered=registered, unlike=unlike)
    first = _complete(first, spec)
    before, after = ({one["id"]: one for one in part["hypotheses"]} for part in (first, now))
    changed = {
        name: difference_lines(before[name], one) if name in before else ("added",)
        for name, one in after.items()
        if one != before.get(name)
    }
    dropped: dict[str, Dropped] = {}
    for entry in record.entries:
        for one in entry["declared"]["hypotheses"]:
            if one["id"] not in after:
                dropped[one["id"]] = Dropped(id=one["id"], claim=str(one.get("claim", "")))
    settings = difference_lines(*({name: one[name] for name in PARTS} for one in (first, now)))
    return Declaration(
        known=True,
        changed=changed,
        settings=settings,
        dropped=tuple(dropped.values()),
        registered=registered,
        unlike=unlike,
    )


def registration_path(spec: Path) -> Path:
    """Where the registration of a spec is looked for: `study.registration.json` beside `study.yaml`."""
    return spec.with_name(f"{spec.stem}.registration.json")


def register(spec: Spec, path: Path) -> Document:
    """Write a registration; a file that is there is not overwritten.

    Raises:
        UsageError: if the spec has no hypothesis, or the file is there already or can't be written.
    """
    if not spec.hypotheses:
        raise UsageError(f"{spec.name}: no hypotheses, so there is nothing to register; declare some in the spec")
    declared = declared_by(spec)
    content: Document = {
        "schema": REGISTRATION_SCHEMA,
        "name": spec.name,
        "registered": utc_text(),
        "mechshift": __version__,
        "spec_sha256": hashlib.sha256(spec.text.encode()).hexdigest(),
        "sha256": _digest(declared),
        "declared": declared,
    }
    try:
        with path.open("x", encoding="utf-8") as handle:
            handle.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise UsageError(
            f"{path} is there already and is not overwritten: a registration stands; choose another --out"
        ) from None
    except OSError as error:
        raise UsageError(unwritable(path, error)) from error
    return content


def find_registration(spec: Spec) -> Document | None:
    """The registration beside a spec; None where there is none.

    Raises:
        UsageError: if it is damaged or of another study.
    """
    path = None if spec.path is None else registration_path(spec.path)
    if path is None or not path.is_file():
        return None
    try:
        content = json.loads(_text(path))
        if content["schema"] != REGISTRATION_SCHEMA:
            raise ValueError(f"schema {content['schema']!r}, expected {REGISTRATION_SCHEMA!r}")
        if content["sha256"] != _digest(content["declared"]):
            raise ValueError("what it declares is not what its sha256 is of: it was changed after it was written")
        if not isinstance(content["registered"], str):
            raise ValueError("no date")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: not a registration: {error}; restore it from where it was committed, or remove it"
        ) from error
    if content["declared"].get("name") != spec.name:
        raise UsageError(f"{path} registers {content['declared'].get('name')!r}, not {spec.name!r}")
    return dict(content)


def _complete(declared: Document, spec: Spec) -> Document:
    """What was declared; what there was no option for when that was written has its default."""
    fields = type(spec).model_fields
    return {
        **declared,
        **{
            name: _filled(declared[name], getattr(spec, name)) if name in declared else _default(fields[name], declared)
            for name in ("hypotheses", *PARTS)
        },
    }


def _filled(before: Any, now: Any) -> Any:
    """Plain data, with the defaults of the fields that its sections have by now and it lacks."""
    if isinstance(now, BaseModel) and isinstance(before, dict):
        fields = {field.alias or name: (name, field) for name, field in type(now).model_fields.items()}
        known = {
            key: _filled(value, getattr(now, fields[key][0])) if key in fields else value
            for key, value in before.items()
        }
        lacking = {key: _default(field, before) for key, (_, field) in fields.items() if key not in before}
        return known | {key: value for key, value in lacking.items() if value is not PydanticUndefined}
    if isinstance(now, tuple) and isinstance(before, list):
        entries = {_name(one): one for one in now}
        return [_filled(one, entries.get(_name(one))) for one in before]
    return before


def _default(field: FieldInfo, section: Document) -> Any:
    """The default of a field as plain data, given the other fields of its section."""
    value = field.get_default(call_default_factory=True, validated_data=section)
    return value if value is PydanticUndefined else to_jsonable_python(value, by_alias=True)


def _name(entry: Any) -> object:
    """What an entry of a list is known by."""
    found = entry if isinstance(entry, dict) else {key: getattr(entry, key, None) for key in ("id", "name")}
    return found.get("id") or found.get("name")


def difference_lines(before: Any, now: Any) -> tuple[str, ...]:
    """What differs between two documents, a line each: `test.margin: 0.2 -> 0.3`."""
    found = []
    for one in differences(before, now):
        was, is_now = (_short(json.dumps(value, ensure_ascii=False)) for value in (one.first, one.second))
        said = {"changed": f"{was} -> {is_now}", "added": f"added: {is_now}", "removed": f"removed: {was}"}
        found.append(f"{one.path}: {said[one.kind]}")
    return tuple(found)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _entry_hash(entry: Mapping[str, Any], previous: str) -> str:
    return _digest({**{key: value for key, value in entry.items() if key != "sha256"}, "previous": previous})


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _text(path: Path) -> str:
    with path.open("rb") as handle:
        content = handle.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 2**20} MiB")
    return content.decode("utf-8")
