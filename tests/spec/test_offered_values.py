"""What a message says is expected is then accepted, or at least not refused as unknown or not implemented."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from mechshift_core.spec.checks import check
from mechshift_core.spec.draft import draft_of
from mechshift_core.spec.implemented import FIELDS, IMPLEMENTED
from mechshift_core.spec.load import _validate
from mechshift_core.spec.schema import Spec

GRAMMAR = Path(__file__).parents[1] / "data" / "full-grammar.yaml"
Steps = tuple[str | int, ...]


def leaves(data: Any, path: Steps = ()) -> Iterator[Steps]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif isinstance(data, list):
        for place, value in enumerate(data):
            yield from leaves(value, (*path, place))
    else:
        yield path


def problems_with(data: Any, path: Steps, value: object) -> list[str]:
    """The messages about a spec in which one value is replaced; a file would only cost the time of parsing it."""
    changed = copy.deepcopy(data)
    entry = changed
    for step in path[:-1]:
        entry = entry[step]
    entry[path[-1]] = value
    spec, complaints, known = _validate(changed, Spec)
    lost = {complaint.path for complaint in complaints}
    draft = draft_of(spec, known, lost, folder=GRAMMAR.parent, check_files=False)
    return [complaint.message for complaint in (*complaints, *check(draft))]


@pytest.mark.long
def test_no_message_lists_a_word_that_is_then_refused() -> None:
    data = YAML(typ="safe", pure=True).load(GRAMMAR.read_text(encoding="utf-8"))
    data.setdefault("statistics", {})["units"] = {"prompt": "random", "template": "fixed", "seed": "fixed"}
    tried = 0
    for path in leaves(data):
        for message in problems_with(data, path, "banana"):
            listed = re.match(r"expected (('[^']*'(, | or )?)+).*, got 'banana'", message)
            for word in re.findall(r"'([^']*)'", listed[1]) if listed else ():
                tried += 1
                after = problems_with(data, path, word)
                refused = [m for m in after if "not implemented" in m or m.startswith("expected '")]
                assert refused == [], (path, word)
    assert tried > 60


@pytest.mark.parametrize("path", FIELDS)
def test_every_subject_has_its_place_in_a_spec(path: tuple[str, ...]) -> None:
    assert FIELDS[path] in IMPLEMENTED
