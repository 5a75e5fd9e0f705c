"""What goes to a server with a spec: the files that it names by relative paths, and its registration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.spec.problems import LINE_BREAK, Problem, SpecError

ELSEWHERE = ("bundled:", "hf:", "gguf:", "/", "~")
"""How a name begins that the server looks up by itself."""
REGISTRATION = "spec.registration.json"
"""What the registration of a spec is called there."""


def read_text(path: Path) -> str:
    """A spec as it stands, line ends included.

    Raises:
        UsageError: if it can't be read.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8: the byte 0x{error.object[error.start]:02x}") from error


def files_of(path: Path, text: str) -> dict[str, str]:
    """The files that are sent along with a spec.

    What can't be read of a spec is left to the server, which says what is wrong with it.

    Args:
        path: The spec file, from whose folder relative paths are looked up.
        text: What it holds.

    Raises:
        SpecError: where it names something that can't be sent: no such file, a file in another folder, a folder, or
            one that is no text.
    """
    from mechshift_core.declarations import registration_path
    from mechshift_core.spec.overrides import overridden
    from mechshift_core.spec.tree import Unreadable

    try:
        document = overridden(text, {})
    except Unreadable:
        return {}
    found: dict[str, str] = {}
    problems = []
    lines = LINE_BREAK.split(text)
    for place, name in named(document.data):
        try:
            found[Path(name).name] = _content(path.parent, name)
        except UsageError as error:
            mark = document.locate(place)
            problems.append(Problem(str(path), mark.line, mark.column, str(error), lines[mark.line - 1]))
    if problems:
        raise SpecError(problems)
    if (registration := registration_path(path)).is_file():
        found[REGISTRATION] = read_text(registration)
    return found


def hypotheses_of(text: str) -> list[str] | None:
    """The ids of a spec's hypotheses; None where it can't be read, which the server says better."""
    from mechshift_core.spec.overrides import overridden
    from mechshift_core.spec.tree import Unreadable

    try:
        data = overridden(text, {}).data
    except Unreadable:
        return None
    found = data.get("hypotheses") if isinstance(data, Mapping) else None
    return [str(one.get("id")) for one in found if isinstance(one, Mapping)] if isinstance(found, list) else None


def named(data: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every relative path that a spec names, and where it stands."""
    models = data.get("models") if isinstance(data, Mapping) else None
    for name, model in models.items() if isinstance(models, Mapping) else ():
        for key in ("source", "adapter", "tokenizer"):
            if isinstance(model, Mapping) and isinstance(value := model.get(key), str) and _is_relative(value):
                yield ("models", str(name), key), value
    tasks = data.get("tasks") if isinstance(data, Mapping) else None
    for number, task in enumerate(tasks) if isinstance(tasks, list) else ():
        if isinstance(task, Mapping) and isinstance(value := task.get("dataset"), str) and _is_relative(value):
            yield ("tasks", number, "dataset"), value


def _is_relative(value: str) -> bool:
    return value != "" and not value.startswith(ELSEWHERE)


def _content(folder: Path, name: str) -> str:
    path = folder / name
    if path.is_dir():
        raise UsageError(
            f"{name!r} is a folder, which is not sent; name one of the server's `folders` by its absolute path, "
            "or a model of the Hub"
        )
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    if Path(name).name != name.removeprefix("./"):
        raise UsageError(f"{name!r}: only files beside the spec are sent; put it there, and name it without a folder")
    return read_text(path)
