"""What the spec of a run directory was before: two studies that differ do not mix there unseen."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechshift_core.comparison.differences import differences
from mechshift_core.declarations import difference_lines
from mechshift_core.errors import MechshiftError, UsageError
from mechshift_core.run_files import RUNS, SPEC
from mechshift_core.spec import Spec, load_stored_spec
from mechshift_core.spec.overrides import SECTION, overridden
from mechshift_core.spec.tree import Unreadable

MOST_SHOWN = 5
UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
PLAIN = re.compile(r"[a-z_](?:[a-z0-9._]*[a-z0-9_])?")
"""No capitals and no dot at the end: some file systems know none of the former, or drop the latter."""
MOST_WRITTEN = 80
"""Characters of overrides in the name of a folder."""
UNREADABLE = "the spec that it was run from before can't be read any more"


def changes(folder: Path, spec: Spec) -> tuple[str, ...]:
    """What of a spec is not as it was when its run directory was last written to, a line each."""
    path = folder / SPEC
    try:
        if not path.is_file() or path.read_bytes() == spec.text.encode():
            return ()
        before = load_stored_spec(path, allow_code=bool(spec.loaded_extensions))
    except (MechshiftError, OSError):
        return (UNREADABLE,)
    documents = [one.model_dump(mode="json", by_alias=True) for one in (before, spec)]
    found = difference_lines(*documents)
    hidden = len(differences(*documents)) - MOST_SHOWN
    return found if hidden <= 0 else (*found[:MOST_SHOWN], f"and {hidden} more")


def default_folder(spec: Spec) -> Path:
    """Where a spec runs unless told: `runs/NAME`, and its overrides behind it, so that each variation has its own.

    A spec that was edited goes on in its directory, and the record of declarations says so; a variation that was asked
    for beside the file is another study.
    """
    return RUNS / (f"{spec.name}-{_written(spec.overrides)}" if spec.overrides else spec.name)


def other_overrides(folder: Path, spec: Spec) -> str:
    """Why a spec can't be run in its default folder: it holds a run with other overrides; empty if it may."""
    try:
        text = (folder / SPEC).read_text(encoding="utf-8")
        data = overridden(text, {}).data
    except (OSError, ValueError, Unreadable):
        return ""
    before = (data.get(SECTION) if isinstance(data, dict) else None) or {}
    if before == spec.overrides:
        return ""
    there, here = _said(before), _said(spec.overrides)
    return (
        f"{folder} holds a run of {spec.name!r} {there}, and this one is {here}; choose another folder, e.g. --out "
        f"{folder}-{_written(spec.overrides) if spec.overrides else 'plain'}"
    )


def check_folder(folder: Path, spec: Spec) -> None:
    """Refuse to mix variations of a study in the run directory of its name.

    Raises:
        UsageError: saying which is there.
    """
    if reason := other_overrides(folder, spec):
        raise UsageError(reason)


def _said(overrides: Mapping[str, Any]) -> str:
    if not overrides:
        return "without overrides"
    return f"with {', '.join(f'{key}={_value(value)}' for key, value in overrides.items())}"


def _value(value: object) -> str:
    """A value, in quotes where it is a text that reads as something else."""
    return value if isinstance(value, str) and _plain(value) else json.dumps(value, default=str, ensure_ascii=False)


def _written(overrides: Mapping[str, Any]) -> str:
    """Overrides as a part of a folder's name; with a digest behind two dashes where that does not hold all of them."""
    parts = [one for item in sorted(overrides.items()) for one in item]
    told = "-".join(one if isinstance(one, str) else json.dumps(one, default=str) for one in parts)
    if len(told) <= MOST_WRITTEN and all(_plain(one) for one in parts):
        return told
    short = UNFIT.sub("-", told)[:MOST_WRITTEN].strip("-.")
    return (
        f"{short}--{hashlib.sha256(json.dumps(dict(overrides), sort_keys=True, default=str).encode()).hexdigest()[:8]}"
    )


def _plain(part: object) -> bool:
    """Whether a key or value can be read back from a name in which dashes part them."""
    if isinstance(part, str):
        return PLAIN.fullmatch(part) is not None and part not in ("true", "false", "null", "NaN", "Infinity")
    return isinstance(part, int | float | None) and "-" not in json.dumps(part)
