"""What is compared, from disk: the conclusions of a run directory, and baseline files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.run_files import FINDINGS, PROVENANCE, SPEC, STATE, require_run
from mechshift_core.run_versions import version_told
from stats.baseline import Baseline
from stats.findings import Findings

MAX_BYTES = 2**24
"""Largest baseline file that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """The conclusions of a run directory.

    Attributes:
        path: The run directory.
        findings: What it concludes.
        provenance: The record of where its numbers come from.
        failures: What failed, one line each; the run is partial if there are any.
    """

    path: Path
    findings: Findings
    provenance: Mapping[str, Any]
    failures: tuple[str, ...]

    @property
    def baseline(self) -> Baseline:
        """The record of its findings that a later run is compared with."""
        prompts, models = self._digests("data", "sha256"), self._digests("models", "weights_sha256")
        units = self.provenance.get("units")
        random = isinstance(units, dict) and units.get("seed") == "random"
        return Baseline.of(self.findings, prompts=prompts, models=models, random_seeds=random)

    def _digests(self, part: str, name: str) -> dict[str, str]:
        """What a part of the provenance has under a name, of each entry that has it."""
        found = self.provenance.get(part)
        entries = found.items() if isinstance(found, dict) else ()
        return {entry: str(facts[name]) for entry, facts in entries if isinstance(facts, dict) and facts.get(name)}


def read_run(path: Path) -> StoredRun:
    """Read what a run concluded; no model is needed, and nothing is written.

    Raises:
        UsageError: if the folder holds no run.
        ExecutionError: if the run has not come to an end since its spec was last changed, or its files are damaged.
    """
    require_run(path)
    with version_told(path):
        return _read(path)


def _read(path: Path) -> StoredRun:
    missing = [name for name in (FINDINGS, PROVENANCE, STATE) if not (path / name).is_file()]
    if missing:
        raise ExecutionError(f"{path}: the run has not come to an end (no {missing[0]}); run it again, it resumes")
    again = f"`mechshift analyze {path}` writes it again"
    try:
        findings = Findings.from_json((path / FINDINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExecutionError(f"{path / FINDINGS}: {error}; {again}") from error
    try:
        provenance = json.loads((path / PROVENANCE).read_text(encoding="utf-8"))
        analysed = provenance["spec"]["sha256"]
        failures = tuple(str(line) for line in provenance.get("failures", []))
        too_few = provenance.get("too_few")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExecutionError(f"{path / PROVENANCE}: not the provenance of a run: {error!r}; {again}") from error
    if analysed != hashlib.sha256((path / SPEC).read_bytes()).hexdigest():
        raise ExecutionError(f"{path}: the findings are of another version of {SPEC}; run it again, it resumes")
    lines = (*failures, *([str(too_few)] if too_few else []))
    return StoredRun(path=path, findings=findings, provenance=provenance, failures=lines)


def read_baseline(path: Path) -> Baseline:
    """Read a baseline file.

    Raises:
        UsageError: if it is not there or no baseline; the message says where, what was expected and what came.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(f"{path}: larger than 16 MiB, so no baseline")
        return Baseline.from_json(content.decode("utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; `mechshift check RUN --baseline {path} --update` makes it") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8: the byte 0x{error.object[error.start]:02x}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
