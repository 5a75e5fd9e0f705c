"""Stretches of data sets: what is measured at once of a pair and task, and kept."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from mechshift_core.analysis.aa_samples import Key
from mechshift_core.analysis.data_sets import DataSets
from mechshift_core.analysis.kept_series import KeptSeries
from mechshift_core.analysis.series import Drawn, Series

LENGTH = 20
"""Data sets of a stretch: some seconds of work. Stretches begin at its multiples."""
SAVE_EVERY = 20.0
"""Seconds after which what was measured so far is kept: so much a kill costs, or one data set."""


@dataclass(frozen=True, eq=False, slots=True)
class Stretch:
    """Data sets in succession and the series of one pair and task that lack them.

    Attributes:
        series: Of the same data sets, pair and task.
        numbers: Of the data sets, all between a multiple of :data:`LENGTH` and the next.
    """

    series: tuple[Series, ...]
    numbers: range

    @property
    def key(self) -> str:
        """Tells it from all others: its numbers, and its series by their names."""
        return "-".join([str(self.numbers.start), str(self.numbers.stop), *(one.name for one in self.series)])

    @property
    def pair_on_task(self) -> str:
        """The pair and task."""
        return " on ".join(self.series[0].key)

    def __str__(self) -> str:
        return f"{self.series[0].of.name}: {self.pair_on_task}"


def cut(lacking: Mapping[Series, Sequence[int]]) -> list[Stretch]:
    """Stretches that cover the data sets that series lack; those of the same numbers, pair and task together."""
    found: dict[tuple[DataSets, Key, range], list[Series]] = defaultdict(list)
    for one, numbers in lacking.items():
        between = defaultdict[int, list[int]](list)
        for number in numbers:
            between[number // LENGTH].append(number)
        for own in between.values():
            found[one.of, one.key, range(min(own), max(own) + 1)].append(one)
    return [Stretch(tuple(series), numbers) for (_, _, numbers), series in found.items()]


def compute(stretch: Stretch, kept: KeptSeries, told: Callable[[], object]) -> dict[Series, dict[int, Drawn]]:
    """Measure a stretch and keep what it comes to, on one thread: on more, sums would be added up in another order.

    Args:
        stretch: The stretch.
        kept: Where it is kept.
        told: Called after each data set.

    Raises:
        OSError: if it can't be kept.
    """
    first, *_ = stretch.series
    every: dict[Series, dict[int, Drawn]] = {one: {} for one in stretch.series}
    unsaved: dict[Series, dict[int, Drawn]] = {one: {} for one in stretch.series}
    since = time.monotonic()
    with threadpool_limits(1):
        for number in stretch.numbers:
            sample = first.of.drawn(number, first.key)
            for one in stretch.series:
                unsaved[one][number] = one.measure(sample)
            if number + 1 == stretch.numbers.stop or time.monotonic() - since > SAVE_EVERY:
                for one, found in unsaved.items():
                    kept.write(one, found)
                    every[one] |= found
                    unsaved[one] = {}
                since = time.monotonic()
            told()
    return every


def each(series: Sequence[Series], kept: KeptSeries, numbers: range) -> Iterator[tuple[int, Mapping[Series, Drawn]]]:
    """What series of the same data sets come to on one data set after the other; computed here where it is not kept.

    Args:
        series: The series.
        kept: Where they are kept; a file is read once.
        numbers: Of the data sets.

    Raises:
        OSError: if what is computed can't be kept.
    """
    for start in range(0, len(numbers), LENGTH):
        own = numbers[start : start + LENGTH]
        found = {one: kept.read(one, own) for one in series}
        lacking = {one: missing for one in series if (missing := [n for n in own if n not in found[one]])}
        for stretch in cut(lacking):
            for one, drawn in compute(stretch, kept, lambda: None).items():
                found[one] |= drawn
        for number in own:
            yield number, {one: found[one][number] for one in series}
