"""A finished run: what it concludes, its tables, and whether its findings are still those of a baseline."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import unwritable, write_text
from mechshift_core.options import checked_as, suggestion
from mechshift_core.run_tables import RunTables
from stats.options import Positive

if TYPE_CHECKING:
    from mechshift_core.gate import Gate
    from mechshift_core.tasks.account import PromptAccount
    from stats.findings import Findings


@dataclass(frozen=True, slots=True)
class Run:
    """A finished (or partial) run.

    Attributes:
        path: The run directory.
        findings: What it concludes.
        computed: Cells computed by this call; `cached` were there already, and `shared` were taken from the store.
        failures: What failed, one line each; the run is partial if there are any.
        analysed: Whether this call computed the statistics (False: nothing had changed).
        too_few: Why nothing at all could be estimated: the selected examples of every pair and task; otherwise empty.
        prompts: How many prompts of each task were asked for, aligned and read.
        notice: Why the store of cells was left out, or could not be used for some; otherwise empty.
        allowed_code: Whether its spec has `extensions`, whose code was allowed to run.
        overrides: What of the spec was given beside its file, by key.
        changed: What of the spec is not as it was when the run directory was last written to, a line each.
        refused: What of the spec this version would refuse to run, a line each, where another version ran it.
    """

    path: Path
    findings: Findings
    computed: int
    cached: int
    failures: tuple[str, ...]
    analysed: bool
    too_few: str = ""
    prompts: tuple[PromptAccount, ...] = ()
    shared: int = 0
    notice: str = ""
    allowed_code: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def tables(self) -> RunTables:
        """Its tables by name, polars frames that are read when they are asked for."""
        return RunTables(self.path / "tables")

    @checked_as(UsageError)
    def save_baseline(self, path: str | os.PathLike[str]) -> Path:
        """Record what it found, for later runs to be checked against: `mechshift check --update`.

        Args:
            path: Where the record, JSON, is written.

        Raises:
            ExecutionError: if the run is partial, or its files are damaged.
            UsageError: if the file can't be written.
        """
        from mechshift_core.gate import read_run

        stored = read_run(self.path)
        if stored.failures:
            raise ExecutionError(f"{self.path} is partial, which makes no baseline: {'; '.join(stored.failures)}")
        try:
            write_text(Path(path), stored.baseline.to_json())
        except OSError as error:
            raise UsageError(unwritable(Path(path), error)) from error
        return Path(path)

    @checked_as(UsageError)
    def check(
        self, baseline: str | os.PathLike[str], *, tolerance: Positive | None = None, must_hold: Sequence[str] = ()
    ) -> Gate:
        """Compare what it found with a recorded baseline: `mechshift check`.

        Args:
            baseline: The record, as :meth:`save_baseline` writes it.
            tolerance: Largest difference that counts as none, in each measure's units; see the how-to of the gate.
            must_hold: Hypotheses that must be supported.

        Returns:
            The outcome: `comparisons`, a finding each, `regressed` and `exit_code`.

        Raises:
            UsageError: if the file is no baseline or of another study, or a hypothesis is not known.
            ExecutionError: if the run's files are damaged.
        """
        from mechshift_core.gate import check_run, read_baseline, read_run

        known = [finding.id for finding in self.findings.hypotheses]
        for name in must_hold:
            if name not in known:
                listed = ", ".join(known) or "none"
                raise UsageError(
                    f"must_hold: the run has no hypothesis {name!r}{suggestion(name, known)}; there are: {listed}"
                )
        return check_run(read_run(self.path), read_baseline(Path(baseline)), tolerance=tolerance, must_hold=must_hold)

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        count = len(self.findings.hypotheses)
        claims = f"{count} hypothes{'is' if count == 1 else 'es'}"
        return f"Run({self.findings.name!r} in {str(self.path)!r}: {claims}{failed})"

    def _repr_html_(self) -> str | None:
        """Its answer and verdicts, for notebooks; None, so that its text is shown, where they can't be drawn."""
        from mechshift_core.drawing import conclusion_html

        return conclusion_html(self)
