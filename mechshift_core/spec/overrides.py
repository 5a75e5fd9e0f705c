"""Values that replace those of a spec, by dotted path: `--set tasks.ioi.examples=50`, or `overrides:` in its file.

They are applied to the plain data of a document before it is validated, so that they are held to the same grammar. What
is given on a command line is written into the text of the spec as `overrides:`, so that the copy in a run directory is
all that it takes to run the same again.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.spec.base import MOST
from mechshift_core.spec.dotted import NowhereError, key_of, path_of
from mechshift_core.spec.matrix import SECTION as MATRIX
from mechshift_core.spec.matrix import expand
from mechshift_core.spec.problems import LINE_BREAK, Mark, Problem, SpecError
from mechshift_core.spec.tree import Document, Path, Unreadable, read_document
from mechshift_core.wording import describe

SECTION = "overrides"
LIMIT = "limit"
"""The key among overrides that stands for at most so many prompts of every task."""
HEADING = "# given beside the file, with --set or --limit"
Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Override:
    """One value that replaces another: where it stands, and where the replacement is written."""

    key: str
    path: Path
    value: Any
    mark: Mark


def parsed(settings: Iterable[str], limit: int | None = None) -> dict[str, Any]:
    """Overrides from a command line.

    Args:
        settings: `KEY=VALUE` each; values are YAML.
        limit: At most so many prompts of each task.

    Raises:
        UsageError: for one without `=`, a value that is no YAML, or a key that is given twice.
    """
    found: dict[str, Any] = {} if limit is None else {LIMIT: limit}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"--set {setting}: expected KEY=VALUE, e.g. --set tasks.0.examples=50")
        if key in found:
            other = "--limit and --set say the same" if key == LIMIT else "is given twice"
            raise UsageError(f"--set {key}: {other}; leave one out")
        found[key] = _value(key, text)
    return found


def _value(key: str, text: str) -> Any:
    if not text.strip():
        raise UsageError(f"--set {key}: no value after '='; write null for nothing, \"''\" for an empty text")
    try:
        document = read_document(text)
    except Unreadable as error:
        raise UsageError(f"--set {key}: {error.message}") from error
    if document.problems:
        raise UsageError(f"--set {key}: {min(document.problems)[1]}")
    return document.data


def overridden(text: str, given: Given) -> Document:
    """A document with its matrix written out, its own overrides, and those that are given, which go first.

    The positions of what is given have line 0, and the number of the override as column; see :func:`problem_at`.

    Raises:
        Unreadable: as :func:`mechshift_core.spec.tree.read_document`.
    """
    document = read_document(text)
    data = document.data
    if not isinstance(data, dict):
        return document
    own = data.get(SECTION, {})
    if not isinstance(own, dict) or len(own) > MOST:
        expand(document)
        return document  # the grammar says what is wrong with it
    listed = [(key, value, document.keys[SECTION, key]) for key, value in own.items()]
    named = [(key, value, Mark(0, number)) for number, (key, value) in enumerate(given.items())]
    kept = _apply(document, *([one for one in part if _of_matrix(one[0])] for part in (listed, named)))
    expand(document)
    kept |= _apply(document, *([one for one in part if not _of_matrix(one[0])] for part in (listed, named)))
    if kept:
        data[SECTION] = kept
        document.values.setdefault((SECTION,), Mark(0, 0))
    return document


Listed = list[tuple[str, Any, Mark]]


def _of_matrix(key: str) -> bool:
    """Whether an override is of the matrix, and so comes before entries are written out."""
    return key.partition(".")[0] == MATRIX


def _apply(document: Document, own: Listed, given: Listed) -> dict[str, Any]:
    """Apply overrides of a document and those that are given, which go first; all that hold, by key."""
    if not own and not given:
        return {}
    original = copy.deepcopy(document.data)
    first, later = _resolved(document, original, own), _resolved(document, original, given)
    every = [*(one for one in first if not any(_within(one.path, new.path) for new in later)), *later]
    _refuse_overlaps(document, every)
    for one in every:
        _put(document, one)
    for one in every:
        if one.path == (LIMIT,):
            _limit(document, one)
    return {one.key: one.value for one in every}


def plain(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides from Python as plain data.

    Raises:
        UsageError: for a value that YAML can't hold.
    """
    try:
        return dict(json.loads(json.dumps(dict(overrides), allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"overrides: expected numbers, text, lists and mappings of these ({error})") from error


def written(text: str, given: Given, *, file: str = "") -> str:
    """The text of a spec with what is given written into it; it reads as the two together.

    Args:
        text: The text.
        given: What is given beside it.
        file: The spec's file, for messages.

    Raises:
        SpecError: if something given has no place in the spec.
        UsageError: if a value can't be written.
    """
    if not given:
        return text
    document = overridden(text, given)
    if document.problems:
        lines = lines_of(text)
        raise SpecError(problem_at(file, mark, message, lines, given) for mark, message in document.problems)
    wanted = document.data
    if not isinstance(wanted, dict):
        return text  # whoever reads it says what is wrong
    lines = [f"  {_bare(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in wanted[SECTION].items()]
    block = "\n".join([HEADING, f"{SECTION}:", *lines])
    rest = {key: value for key, value in _read(text).items() if key != SECTION}
    dumped = json.dumps(rest, ensure_ascii=False, indent=2)
    ours = text.rfind(f"{HEADING}\n")
    candidates = [
        f"{text if ours < 0 else text[:ours]}".rstrip("\n") + f"\n{block}\n",
        f'{dumped[:-2]},\n  "{SECTION}": {json.dumps(wanted[SECTION], ensure_ascii=False)}\n}}\n',
    ]
    for candidate in candidates:
        try:
            document = overridden(candidate, {})
        except Unreadable:
            continue
        if not document.problems and _same(document.data, wanted):
            return candidate
    raise UsageError(f"--set {', '.join(given)}: a value can't be written as YAML; write it into the file itself")


def _bare(key: str) -> str:
    """A key as YAML has it, in quotes only where it needs them."""
    return key if re.fullmatch(r"[a-z][A-Za-z0-9._-]*", key) else json.dumps(key, ensure_ascii=False)


def _same(first: Any, second: Any) -> bool:
    """Whether two documents are the same, `1` and `true` told apart."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def _read(text: str) -> dict[str, Any]:
    data = read_document(text).data
    assert isinstance(data, dict)
    return data


def problem_at(file: str, mark: Mark, message: str, lines: Sequence[str], given: Given) -> Problem:
    """A problem at a position of a document: of its text, or of what is given beside it."""
    if mark.line == 0:
        key = [*given][mark.column] if mark.column < len(given) else SECTION
        return Problem(f"--{LIMIT}" if key == LIMIT else f"--set {key}", 0, 0, message)
    return Problem(file, mark.line, mark.column, message, lines[min(mark.line, len(lines)) - 1])


def lines_of(text: str) -> list[str]:
    """The lines of a text as positions count them, and one behind the last."""
    return [*LINE_BREAK.split(text), ""]


def _resolved(document: Document, data: Any, listed: Iterable[tuple[str, Any, Mark]]) -> list[Override]:
    """Overrides whose places there are; a complaint for each that has none."""
    found = []
    for key, value, mark in listed:
        if key.partition(".")[0] == SECTION:
            document.complain(mark, f"{SECTION!r} can't be overridden itself")
            continue
        try:
            path = (LIMIT,) if key == LIMIT else path_of(data, key)
        except NowhereError as error:
            document.complain(mark, str(error))
        else:
            found.append(Override(key_of(data, path), path, value, mark))
    return found


def _within(path: Path, other: Path) -> bool:
    return path[: len(other)] == other


def _refuse_overlaps(document: Document, overrides: Sequence[Override]) -> None:
    for number, one in enumerate(overrides):
        for before in overrides[:number]:
            if one.path == before.path:
                document.complain(one.mark, f"duplicate override of {one.key!r}")
            elif _within(one.path, before.path) or _within(before.path, one.path):
                document.complain(one.mark, f"{one.key!r} and {before.key!r} override parts of one another")


def _put(document: Document, one: Override) -> None:
    """Replace a value, make the mappings around it that are not there, and say where all of it stands."""
    if one.path == (LIMIT,):
        return
    here: Any = document.data
    for length, step in enumerate(one.path[:-1], start=1):
        inner = here[step] if not isinstance(here, dict) or step in here else None
        if inner is None:
            inner = here[step] = {}
            document.values[one.path[:length]] = document.keys[one.path[:length]] = one.mark
        here = inner
    here[one.path[-1]] = copy.deepcopy(one.value)
    for places in (document.values, document.keys):
        for path in [path for path in places if _within(path, one.path)]:
            del places[path]
        places[one.path] = one.mark
    document.suspect -= {path for path in document.suspect if _within(path, one.path)}


def _limit(document: Document, one: Override) -> None:
    """At most so many prompts of every task; where a task asks for fewer it stays so."""
    from mechshift_core.spec.tasks import GENERATED

    most = one.value
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        document.complain(one.mark, f"expected a number of prompts of at least 1, got {describe(most)}")
        return
    for number, task in enumerate(_tasks(document.data)):
        if not isinstance(task, dict):
            continue
        asked = task.get("examples", GENERATED if task.get("dataset") is None else None)
        if asked is None or (isinstance(asked, int) and not isinstance(asked, bool) and asked > most):
            task["examples"] = most
            document.values["tasks", number, "examples"] = document.keys["tasks", number, "examples"] = one.mark


def _tasks(data: Any) -> Iterator[Any]:
    tasks = data.get("tasks") if isinstance(data, dict) else None
    yield from tasks if isinstance(tasks, list) else ()
