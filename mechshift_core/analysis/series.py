"""What one kind of measure comes to on the data sets of one sort, on one pair and task: a series, known by its key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mechshift_core.analysis.aa_samples import Key
from mechshift_core.analysis.array_files import Arrays, packed_estimate, plain, unpacked_estimate
from mechshift_core.analysis.calibratable import Calibratable, halved
from mechshift_core.analysis.data_sets import DataSets
from mechshift_core.analysis.measured import Measured, Results
from mechshift_core.analysis.needs import described
from mechshift_core.analysis.samples import Sample, read_results
from mechshift_core.analysis.statistic import Statistic
from mechshift_core.execution.cells import content_hash
from stats.replicates import Replicated


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a kind of measure comes to on one data set, of one pair and task.

    Attributes:
        replicated: Measure that hypotheses can name -> its estimate with replicates.
        problems: Measure -> why it has none.
        intervals: Measure and limits of every interval of a shift, or between the two models.
        failed: What broke, where the computation itself did; otherwise empty.
    """

    replicated: Mapping[str, Replicated] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    intervals: tuple[tuple[str, float, float], ...] = ()
    failed: str = ""

    @classmethod
    def of(cls, measured: Measured) -> Drawn:
        """What of a measurement a calibration needs."""
        intervals = tuple(
            (one.measure, float(one.low), float(one.high))
            for one in measured.estimates
            if one.side in ("shift", "between") and one.low is not None and one.high is not None
        )
        return cls(measured.replicated, measured.problems, intervals, measured.failed)

    @classmethod
    def nothing(cls, names: tuple[str, ...], reason: str, *, failed: str = "") -> Drawn:
        """Measures without a value, each for the same reason."""
        return cls(problems=dict.fromkeys(names, reason), failed=failed)


@dataclass(frozen=True, eq=False)
class Series:
    """A kind of measure, or of intervention, on one pair and task of the data sets of one sort.

    Attributes:
        of: The data sets.
        entry: The kind.
        key: Pair and task.
    """

    of: DataSets
    entry: Calibratable
    key: Key

    @cached_property
    def name(self) -> str:
        """Hash of all that it depends on but the seed and the number of a data set, and of the code."""
        material, needs = self.of.material, self.entry.needs
        statistic = Statistic(
            replace(material.plan, spec=self.of.spec),
            material.folder,
            material.failures,
            material.own[self.key],
            self.entry.name if needs is None else needs.name,
            needs,
            alone=True,
        )
        content = [statistic.key, self.of.name, list(self.entry.names), self.of.dependence(self.key[1])]
        return content_hash(content)[:32]

    def measure(self, sample: Sample | str) -> Drawn:
        """What it comes to on one data set; why nothing, where that breaks: the others go on."""
        if isinstance(sample, str):
            return Drawn.nothing(self.entry.names, sample)
        try:
            results = halved(self._results, sample) if self.of.apart else self._results
            return Drawn.of(self.entry.measure(sample, self.of.spec, results))
        except Exception as error:
            return Drawn.nothing(self.entry.names, described(error), failed=described(error))

    @cached_property
    def _results(self) -> Results:
        """What the intervention left of both models; of halves, what it left of the model that is halved."""
        material, needs = self.of.material, self.entry.needs
        if needs is None or self.of.planted:
            return {}
        own = material.own[self.key]
        found = read_results(material.plan, material.folder, material.failures, own, needs.name)
        return dict.fromkeys(found, found[material.sources[self.key].side]) if self.of.apart else found


def series_of(sets: DataSets) -> Iterator[Series]:
    """Every series of some data sets."""
    for (_, key), entry in sets.wanted.items():
        if not sets.lacking(entry, key):
            yield Series(sets, entry, key)


def packed(drawn: Mapping[int, Drawn]) -> tuple[Arrays, dict[str, Any]]:
    """The arrays of what was measured on some data sets, by their numbers, and all else as JSON can hold it."""
    arrays: Arrays = {}
    content: dict[str, Any] = {}
    for number, one in drawn.items():
        replicated: dict[str, Any] = {}
        for name, value in one.replicated.items():
            own, replicated[name] = packed_estimate(value, f"{number}/{name}")
            arrays |= own
        content[str(number)] = {
            "replicated": replicated,
            "problems": dict(one.problems),
            "intervals": plain(one.intervals),
            "failed": one.failed,
        }
    return arrays, content


def unpacked(arrays: Arrays, content: Mapping[str, Any]) -> dict[int, Drawn]:
    """What was measured, from what :func:`packed` made of it."""
    return {
        int(number): Drawn(
            {name: unpacked_estimate(arrays, f"{number}/{name}", value) for name, value in one["replicated"].items()},
            one["problems"],
            tuple((measure, low, high) for measure, low, high in one["intervals"]),
            one["failed"],
        )
        for number, one in content.items()
    }
