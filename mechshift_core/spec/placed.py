"""What is found wrong with a spec once models and data are known, at its place in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mechshift_core.errors import ExecutionError
from mechshift_core.spec.overrides import lines_of, overridden, problem_at
from mechshift_core.spec.problems import Problem, SpecError
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.translate import Complaint
from mechshift_core.spec.tree import Path


class PlacedError(ExecutionError):
    """Something of a spec that can't be used, with the path of what says so."""

    def __init__(self, message: str, *path: str | int, on_key: bool = False) -> None:
        super().__init__(message)
        self.complaint = Complaint(path, message, on_key=on_key)


@contextmanager
def placed(*path: str | int) -> Iterator[None]:
    """Give an error the place of what is being looked at, unless it has one; what can't be had of the Hub has none."""
    try:
        yield
    except ExecutionError as error:
        if type(error) is not ExecutionError:
            raise
        raise PlacedError(str(error), *path) from error


class UnavailableError(SpecError):
    """Nothing is wrong with a spec as far as it could be checked, but a model or data set of it can't be had here."""


def place_of(spec: Spec, section: str, name: str) -> Path:
    """The path of an entry of a list section, by its name."""
    names = [entry.name for entry in getattr(spec, section)]
    return (section, names.index(name)) if name in names else (section,)


def problems_of(spec: Spec, complaints: Iterable[Complaint]) -> list[Problem]:
    """Complaints with their positions in the spec's file; a spec that was made in Python has none."""
    file = str(spec.path or spec.name)
    if not spec.text:
        return [Problem(file, 0, 0, complaint.message) for complaint in complaints]
    text, given = spec.base
    document, lines, found = overridden(text, given), lines_of(text), []
    for complaint in complaints:
        if not complaint.path:
            found.append(Problem(file, 0, 0, complaint.message))
            continue
        mark = document.locate(complaint.path, key=complaint.on_key)
        found.append(problem_at(file, mark, complaint.message, lines, given))
    return found
