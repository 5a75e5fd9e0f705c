"""A spec file as pytest sees it: whether it is valid, whether it runs, and what its hypotheses come to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mechshift_core.errors import MechshiftError

if TYPE_CHECKING:
    from mechshift_core.gate import Gate, StoredRun
    from mechshift_core.spec import SpecError

BASELINES = "baselines"
"""Folder beside a spec in which `NAME.json` is the baseline of the study NAME."""
_SCHEMA = re.compile(r"""schema\s*:\s*["']?mechshift/""")
_START = 4096


class HypothesisError(Exception):
    """A finding has regressed or its claim is refuted; the message has the numbers."""


def is_spec(path: Path) -> bool:
    """Whether the first key of a YAML file is `schema: mechshift/...`; only its first 4 KiB are read."""
    try:
        with path.open("rb") as handle:
            start = handle.read(_START).decode("utf-8-sig", errors="replace")
    except OSError:
        return False
    lines = (line for line in start.splitlines() if line.strip() and not line.startswith(("#", "---", "%")))
    return _SCHEMA.match(next(lines, "")) is not None


class SpecFile(pytest.File):
    """A spec: one item validates it; with `--mechshift-run`, one runs it and one tests each of its hypotheses."""

    _stored: StoredRun | MechshiftError | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """The items; a spec that can't be read has only the one that says why."""
        from mechshift_core.spec import SpecError, load_spec

        yield ValidItem.from_parent(self, name="validate")
        if not self.config.getoption("mechshift_run"):
            return
        try:
            spec = load_spec(self.path, check_files=False)
        except SpecError:
            return
        yield RunItem.from_parent(self, name="run")
        for hypothesis in spec.hypotheses:
            yield HypothesisItem.from_parent(self, name=hypothesis.id)

    def conclusions(self) -> StoredRun:
        """What the run concludes; it is run once, and an error is raised each time."""
        from mechshift_core.testing.studies import conclusions

        if self._stored is None:
            try:
                self._stored = conclusions(self.path)
            except MechshiftError as error:
                self._stored = error
        if isinstance(self._stored, MechshiftError):
            raise self._stored
        return self._stored

    def gate(self) -> Gate | None:
        """The run against the baseline beside the spec; None where there is none."""
        from mechshift_core.gate import check_run, read_baseline

        stored = self.conclusions()
        path = self.path.parent / BASELINES / f"{stored.findings.name}.json"
        return check_run(stored, read_baseline(path)) if path.is_file() else None


class _Item(pytest.Item):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_marker("mechshift")

    @property
    def spec(self) -> SpecFile:
        assert isinstance(self.parent, SpecFile)
        return self.parent

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The message alone where the error is one for users."""
        known = isinstance(excinfo.value, MechshiftError | HypothesisError)
        return str(excinfo.value) if known else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where a failure is shown to be."""
        return self.path, None, f"{self.path.name}: {self.name}"


class ValidItem(_Item):
    """What `mechshift validate` checks."""

    def runtest(self) -> None:
        """Fail with every problem of the spec; skip it where a model of the Hub can't be had."""
        from mechshift_core.cli.spec_commands import check_spec_file
        from mechshift_core.spec import load_spec
        from mechshift_core.spec.placed import UnavailableError

        if self.config.getoption("mechshift_no_files"):
            load_spec(self.path, check_files=False)
            return
        try:
            check_spec_file(self.path)
        except UnavailableError as error:
            pytest.skip(_reason(error))


def _reason(error: SpecError) -> str:
    return "; ".join(problem.message for problem in error.problems)


class RunItem(_Item):
    """What `mechshift run` does."""

    def runtest(self) -> None:
        """Fail where the run is partial, or no longer has a finding of its baseline."""
        from mechshift_core.spec.placed import UnavailableError

        try:
            gate = self.spec.gate()
        except UnavailableError as error:
            pytest.skip(_reason(error))
        missing = [] if gate is None else [found.id for found in gate.comparisons if found.outcome == "missing"]
        if missing:
            raise HypothesisError(f"in the baseline, but not in the spec any more: {', '.join(missing)}")


class HypothesisItem(_Item):
    """A hypothesis: held against the baseline beside the spec; without one, against the data.

    With a baseline, it fails where the finding has regressed. Without, it passes where the claim is supported and fails
    where it is refuted. What is undecided is skipped.
    """

    def runtest(self) -> None:
        """Fail or skip with the numbers, or pass."""
        from mechshift_core.gate.formats import lines, numbers
        from stats.regression import BAD

        try:
            gate = self.spec.gate()
        except MechshiftError as error:
            pytest.skip(f"no findings: {error}")
        compared = {found.id: found for found in gate.comparisons} if gate else {}
        found = compared.get(self.name)
        if found is not None and found.outcome != "new":
            if found.outcome in BAD:
                raise HypothesisError("\n".join(lines(found)))
            if found.outcome == "undecided":
                pytest.skip("\n".join(lines(found)))
            return
        recorded = {finding.id: finding for finding in self.spec.conclusions().baseline.findings}[self.name]
        if recorded.verdict == "refuted":
            raise HypothesisError(f"{self.name}: {numbers(recorded)}")
        if recorded.verdict != "supported":
            pytest.skip(f"{self.name}: {numbers(recorded)}")
