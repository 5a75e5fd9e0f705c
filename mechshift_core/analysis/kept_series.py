"""What series come to, kept in the run directory: a file for each stretch of data sets, whole or not at all.

A file is named by its series, the seed and the numbers of its data sets, and never holds anything else. So more data
sets add files and change none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from mechshift_core.analysis.array_files import UNFIT, read_arrays, write_arrays
from mechshift_core.analysis.series import Drawn, Series, packed, unpacked
from mechshift_core.execution.store import RunFolder

FOLDER = "calibration"
_FILE = re.compile(r"([0-9a-f]{32})-(\d+)-(\d+)-(\d+)\.safetensors")
_Listed = Mapping[tuple[str, int], Collection[range]]
"""Series and seed -> the numbers of the data sets of each file."""


class KeptSeries:
    """The series of a run's calibrations that are kept.

    Args:
        folder: The run directory.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.path / FOLDER
        self._there: _Listed | None = None
        self._before: _Listed | None = None
        self._unkept: dict[tuple[Series, int], Drawn] = {}

    def look(self) -> None:
        """List what is there."""
        found = defaultdict[tuple[str, int], set[range]](set)
        with suppress(FileNotFoundError):
            for file in self._path.iterdir():
                if name := _FILE.fullmatch(file.name):
                    found[name[1], int(name[2])].add(range(int(name[3]), int(name[4])))
        self._there = found
        if self._before is None:
            self._before = found

    def missing(self, one: Series, numbers: Iterable[int]) -> list[int]:
        """Which of some data sets nothing is there of, by the names of files."""
        there = {number for stretch in self._stretches(one) for number in stretch}
        return [number for number in numbers if number not in there]

    def read(self, one: Series, numbers: range) -> dict[int, Drawn]:
        """What there is of a stretch of data sets: nothing that is not as it was written.

        Nor what broke, unless it did so since it was first looked what is there: it is tried again once a call.
        """
        found = {number: self._unkept[one, number] for number in numbers if (one, number) in self._unkept}
        before = (self._before or {}).get((one.name, one.of.seed), ())
        for stretch in self._stretches(one):
            if stretch.start < numbers.stop and numbers.start < stretch.stop:
                for number, drawn in self._content(one, stretch).items():
                    if number in numbers and not (drawn.failed and (number in found or stretch in before)):
                        found[number] = drawn
        return found

    def write(self, one: Series, found: Mapping[int, Drawn]) -> None:
        """Keep what was measured on data sets in succession.

        Raises:
            OSError: if it can't be written.
        """
        name = _named(one, range(min(found), max(found) + 1))
        try:
            write_arrays(self._path / name, name, *packed(found))
        except UNFIT:  # a kind of others has what no file holds
            self._unkept |= {(one, number): drawn for number, drawn in found.items()}

    def forget(self, but: Collection[str]) -> None:
        """Remove all but some series, whatever their seeds and numbers."""
        for file in list(self._path.iterdir()) if self._path.is_dir() else ():
            name = _FILE.fullmatch(file.name)
            if name and name[1] not in but:
                file.unlink(missing_ok=True)

    def _stretches(self, one: Series) -> list[range]:
        if self._there is None:
            self.look()
        assert self._there is not None
        return sorted(self._there.get((one.name, one.of.seed), ()), key=lambda stretch: (stretch.start, stretch.stop))

    def _content(self, one: Series, numbers: range) -> dict[int, Drawn]:
        name = _named(one, numbers)
        content = read_arrays(self._path / name, name)
        try:
            return {} if content is None else unpacked(*content)
        except (KeyError, TypeError, ValueError):
            return {}


def _named(one: Series, numbers: range) -> str:
    return f"{one.name}-{one.of.seed}-{numbers.start}-{numbers.stop}.safetensors"
