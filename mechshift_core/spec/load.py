"""Spec files and other YAML inputs as validated models; everything that is wrong is reported at once."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mechshift_core.allowed_code import code_allowed, is_code_allowed
from mechshift_core.errors import UsageError
from mechshift_core.kinds.extensions import Extension, ExtensionError, activate, found, load
from mechshift_core.options import checked_as
from mechshift_core.run_files import SPEC
from mechshift_core.spec.base import MOST
from mechshift_core.spec.checks import check
from mechshift_core.spec.draft import draft_of
from mechshift_core.spec.lenient import read_over, without
from mechshift_core.spec.overrides import Given, lines_of, overridden, plain, problem_at, written
from mechshift_core.spec.problems import LINE_BREAK, Mark, Problem, SpecError, suggestion
from mechshift_core.spec.schema import Spec, current
from mechshift_core.spec.translate import Complaint, translate
from mechshift_core.spec.tree import Document, Path, Unreadable, read_document

MAX_BYTES = 2**20

Model = TypeVar("Model", bound=BaseModel)


@checked_as(UsageError)
def load_spec(
    path: str | os.PathLike[str],
    *,
    check_files: bool = True,
    allow_code: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Spec:
    """Read and validate a spec.

    Args:
        path: The YAML file.
        check_files: Whether models and data sets that the spec names must be there; analysing a finished run needs
            none of them.
        allow_code: Whether the files of `extensions` may be run: the spec is only as safe as they are.
        overrides: Dotted path -> value that replaces the one of the file, `{"tasks.ioi.examples": 50}`, and `limit`,
            at most so many prompts of each task; written into the spec's text as its `overrides`.

    Raises:
        SpecError: with every problem of the file, each at its line and column.
    """
    text = _read(path)
    given = plain(overrides or {})
    document = _document(path, text, given)
    with code_allowed(allow_code):
        extensions = _extensions(path, text, document, given)
    spec, complaints = _checked(document, document.data, FilePath(path).parent, check_files=check_files)
    _raise_if_any(path, text, document, complaints, given)
    assert spec is not None
    spec._path, spec._extensions, spec._base = FilePath(path), extensions, (text, given)
    spec._text, spec._expanded = written(text, given), dict(document.expanded)
    return spec


@checked_as(UsageError)
def load_stored_spec(path: str | os.PathLike[str], *, allow_code: bool = False) -> Spec:
    """Read the spec of a run whose results are there, also where this version would refuse to run it.

    What only says which results are shown, or how to run, is left out where it is not known any more: a choice of
    `sensitivity`, unknown keys, and of `hypotheses`, `execution` and `report` what the schema refuses. Other values are
    kept as they stand. `refused` and `left_out` of the spec say what that was.

    Args:
        path: The YAML file.
        allow_code: Whether the files of `extensions` may be run.

    Raises:
        SpecError: with every problem of the file, where it can't be read at all.
    """
    text = _read(path)
    document = _document(path, text, {})
    with code_allowed(allow_code):
        extensions = _extensions(path, text, document, {})
    found = read_over(document.data, lambda data: _checked(document, data, FilePath(path).parent, check_files=False))
    spec = found.spec
    if spec is None or document.problems:
        return load_spec(path, check_files=False, allow_code=allow_code)  # says what is wrong, each at its line
    spec._path, spec._extensions, spec._base = FilePath(path), extensions, (text, {})
    spec._text, spec._expanded = written(text, {}), dict(document.expanded)
    spec._refused, spec._left_out = found.refused, found.left_out
    return spec


def _checked(
    document: Document, data: Any, folder: FilePath, *, check_files: bool
) -> tuple[Spec | None, list[Complaint]]:
    """The spec, None where the schema refuses it, and all that is wrong with it."""
    spec, complaints, known = _validate(data, current())
    lost = {complaint.path for complaint in complaints if not complaint.unknown_key} | document.suspect
    draft = draft_of(spec, known, lost, folder=folder, check_files=check_files)
    return spec, complaints + [one for one in check(draft) if not _inside(one.path, lost)]


def _extensions(path: str | os.PathLike[str], text: str, document: Document, given: Given) -> tuple[Extension, ...]:
    """Run the files that a spec names, where that is allowed; what is wrong with the list itself is found later.

    Raises:
        SpecError: with what would be run, or what is wrong with a file.
    """
    data: Any = document.data
    named = data.get("extensions", [])
    activate(())
    if not isinstance(named, list) or len(named) > MOST or not all(isinstance(name, str) for name in named):
        return ()
    taken: list[Extension] = []
    wrong: list[tuple[Mark, str]] = []
    for number, name in enumerate(named):
        where = document.locate(("extensions", number))
        try:
            extension = found(FilePath(path).parent, number, name)
            if name in named[:number]:
                wrong.append((where, f"duplicate file {name!r}"))
            elif is_code_allowed():
                taken.append(load(extension, taken))
            else:
                wrong.append((where, f"{_unrun(extension)}; look at it, then give --allow-code to run it"))
        except ExtensionError as error:
            wrong.append((where, str(error)))
    if wrong:
        activate(())
        raise _error(path, text, wrong, given)
    return tuple(taken)


def _unrun(extension: Extension) -> str:
    lines = extension.content.count(b"\n")
    shown = extension.name if extension.path.name == FilePath(extension.name).name else f"{extension.path}"
    return f"{shown} is code of {lines} lines (sha256 {extension.sha256[:16]}) that has not been run"


def load_model_file(path: str | os.PathLike[str], model: type[Model]) -> Model:
    """Read any YAML file as a pydantic model, with the same safety and the same messages as a spec.

    Raises:
        SpecError: with every problem of the file, each at its line and column.
    """
    text = _read(path)
    document = _document(path, text)
    result, complaints, _ = _validate(document.data, model)
    _raise_if_any(path, text, document, complaints)
    assert result is not None
    return result


def _read(path: str | os.PathLike[str]) -> str:
    """The text of a file of at most MAX_BYTES, UTF-8."""
    file = FilePath(path)
    try:
        if file.is_dir():
            inside = file / SPEC
            hint = f"; it is a run directory, whose spec is {inside}" if inside.is_file() else ""
            raise SpecError([Problem(str(path), 0, 0, f"expected a file, got a folder{hint}")])
        if file.exists() and not file.is_file():
            raise SpecError([Problem(str(path), 0, 0, "expected a regular file")])
        with file.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError([Problem(str(path), 0, 0, f"no such file{_meant(file)}")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError([Problem(str(path), 0, 0, f"cannot be read: {reason}")]) from error
    if len(content) > MAX_BYTES:
        raise SpecError([Problem(str(path), 0, 0, "larger than 1 MiB")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = LINE_BREAK.split(error.object[: error.start].decode("utf-8", errors="replace"))
        message = f"not UTF-8: the byte 0x{error.object[error.start]:02x}"
        problem = Problem(str(path), len(before), len(before[-1]) + 1, message, before[-1])
        raise SpecError([problem]) from error


def _meant(file: FilePath) -> str:
    """The YAML file beside it that comes closest, as a hint; empty where none does."""
    try:
        beside = sorted(one.name for one in file.parent.iterdir() if one.suffix in (".yaml", ".yml"))
    except OSError:
        return ""
    return suggestion(file.name, beside)


def _document(path: str | os.PathLike[str], text: str, given: Given | None = None) -> Document:
    """The data of a file; of a spec, for which overrides may be given, with these."""
    try:
        document = read_document(text) if given is None else overridden(text, given)
    except Unreadable as error:
        raise _error(path, text, [(error.mark, error.message)]) from error
    if not isinstance(document.data, dict):
        problems = [*document.problems] or [(document.locate(()), "expected a mapping at the top level")]
        raise _error(path, text, problems)
    return document


def _validate(data: Any, model: type[Model]) -> tuple[Model | None, list[Complaint], Any]:
    """The model, what is wrong with the data, and the data without its unknown keys.

    Unknown keys are set aside and the rest is validated again: rules on a whole section only run where its fields are
    valid, and would otherwise be reported one round later. Validation is of JSON, where strictness takes a list for a
    tuple.
    """
    complaints: dict[Complaint, None] = {}
    while True:
        try:
            result = model.model_validate_json(json.dumps(data), strict=True, by_alias=True, by_name=False)
            return result, [*complaints], data
        except ValidationError as error:
            found = translate(error.errors(include_url=False), data=data, model=model)
            complaints |= dict.fromkeys(found)
            unknown = [complaint.path for complaint in found if complaint.unknown_key]
            if not unknown:
                return None, [*complaints], data
            data = without(data, unknown)


def _raise_if_any(
    path: str | os.PathLike[str],
    text: str,
    document: Document,
    complaints: Iterable[Complaint],
    given: Given | None = None,
) -> None:
    places = set(document.problems)
    for complaint in complaints:
        if not _inside(complaint.path, document.suspect):
            places.add((document.locate(complaint.path, key=complaint.on_key), complaint.message))
    if places:
        raise _error(path, text, places, given)


def _inside(path: Path, regions: Collection[Path]) -> bool:
    """Whether a path is one of, or lies below one of, others."""
    return any(path[:length] in regions for length in range(len(path) + 1))


def _error(
    path: str | os.PathLike[str], text: str, places: Iterable[tuple[Mark, str]], given: Given | None = None
) -> SpecError:
    lines = lines_of(text)
    return SpecError(problem_at(os.fspath(path), mark, message, lines, given or {}) for mark, message in places)
