"""Findings as snapshots of syrupy, compared as the regression gate compares them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from stats.baseline import Baseline
from stats.findings import Findings

try:
    from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode
except ImportError as error:
    raise ImportError("snapshots of findings need syrupy: pip install 'syrupy>=4.9'") from error


class FindingsSnapshotExtension(SingleFileSnapshotExtension):
    """A baseline file per snapshot: equal where no finding has regressed.

    `assert findings == snapshot.use_extension(FindingsSnapshotExtension)`; `pytest --snapshot-update` accepts what a
    run found. Findings of the same seed count as those of the same prompts, see :mod:`stats.regression`. A snapshot
    that still holds is not written anew: to have what a new version records in it, delete the file first.

    Attributes:
        tolerance: Largest difference that counts as none, in place of declared margins; None keeps those.
    """

    _write_mode = WriteMode.TEXT
    file_extension = "json"
    tolerance: ClassVar[float | None] = None

    @classmethod
    def with_tolerance(cls, tolerance: float) -> type[FindingsSnapshotExtension]:
        """The same with a tolerance, in the units of the measures."""
        return type(cls.__name__, (cls,), {"tolerance": tolerance})

    def serialize(self, data: Any, **options: Any) -> str:
        """The baseline of findings.

        Raises:
            TypeError: if the data are none.
        """
        if not isinstance(data, Findings):
            raise TypeError(f"a snapshot of findings: expected stats.findings.Findings, got {type(data).__name__}")
        return Baseline.of(data).to_json()

    def matches(self, *, serialized_data: Any, snapshot_data: Any) -> bool:
        """Whether no finding has regressed."""
        from stats.regression import BAD, compare_findings

        baseline, run = Baseline.from_json(snapshot_data), Baseline.from_json(serialized_data)
        return not any(found.outcome in BAD for found in compare_findings(baseline, run, tolerance=self.tolerance))

    def diff_lines(self, serialized_data: Any, snapshot_data: Any) -> Iterator[str]:
        """Estimate, interval and margin of each finding that is not as it was, side by side."""
        from mechshift_core.gate.formats import lines
        from stats.regression import compare_findings

        if not (serialized_data and snapshot_data):
            yield from super().diff_lines(serialized_data, snapshot_data)
            return
        baseline, run = Baseline.from_json(snapshot_data), Baseline.from_json(serialized_data)
        for found in compare_findings(baseline, run, tolerance=self.tolerance):
            if found.outcome != "unchanged":
                yield from lines(found)
