"""What the index says of a run: read from its files, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mechshift_core.errors import MechshiftError
from mechshift_core.execution.store import EVENTS, RunFolder
from mechshift_core.gate import read_run
from mechshift_core.run_files import FINDINGS, PLAN, PROVENANCE, SPEC, STATE
from mechshift_core.service.jobs import Job, Submission
from mechshift_core.service.root import Root
from mechshift_core.times import utc_text
from stats.findings import Estimate, Finding, Findings

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """The rows of a run.

    Attributes:
        run: Of the table `runs`.
        findings: Of the table `findings`.
        submission: Who handed it in; None of a run that somebody put there.
        open: Whether it waits or runs, so that the keeper looks after it.
    """

    run: Row
    findings: tuple[Row, ...]
    submission: Submission | None
    open: bool


def stamp(root: Root, name: str) -> str:
    """Changes whenever something that the index says of a run may have changed."""
    folder, job = root.run(name), Job(root.job(name))
    seen: list[object] = [_stat(folder / file) for file in (FINDINGS, PROVENANCE, STATE, PLAN, SPEC)]
    if job.exists:
        seen.append(job.state())
        attempt = job.attempt()
        seen += [] if attempt is None else [attempt.number, _stat(attempt.folder / "outcome.json")]
    else:
        seen.append(RunFolder(folder).claimed)
    return json.dumps(seen)


def read_entry(root: Root, name: str) -> Entry:
    """Read a run.

    Raises:
        ExecutionError: if its job is damaged.
    """
    folder, job = root.run(name), Job(root.job(name))
    submission = job.submission() if job.exists else None
    findings: Findings | None = None
    failures: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    title = ""
    try:
        stored = read_run(folder)
        findings, failures = stored.findings, stored.failures
        models = tuple(stored.provenance.get("models") or ())
        title = str(stored.provenance["spec"].get("title", ""))
        message = "; ".join(failures)
    except MechshiftError as error:
        message = str(error).replace(f"{root.folder}/", "")
    row: Row = {
        "name": name,
        "study": submission.study if submission else findings.name if findings else name,
        "title": submission.title if submission else title,
        "submitted_by": submission.by if submission else "",
        "submitted": submission.at if submission else None,
        "started": None,
        "ended": None,
        "last": submission.at if submission else None,
        "seconds": None,
        "models": " ".join(submission.models if submission else models),
        "tasks": " ".join(
            submission.tasks if submission else sorted({e.task for e in findings.estimates}) if findings else ()
        ),
        "spec_sha256": submission.sha256 if submission else "",
    }
    if submission:
        _of_job(row, job, message)
    else:
        claimed = RunFolder(folder).claimed
        row["state"] = (
            "running" if claimed else "unfinished" if findings is None else "partial" if failures else "complete"
        )
        row["message"] = "" if claimed else message
        row["last"] = _last(folder)
    counts = Counter(found.verdict for found in findings.hypotheses) if findings else Counter[str]()
    for verdict in ("supported", "refuted", "inconclusive", "not estimable"):
        row[verdict.replace(" ", "_")] = counts[verdict]
    attempt = job.attempt()
    open_ = submission is not None and (attempt is None or attempt.outcome() is None)
    return Entry(row, tuple(_rows(name, findings)) if findings else (), submission, open_)


def _of_job(row: Row, job: Job, message: str) -> None:
    """What only the files of a job say."""
    attempt, state = job.attempt(), job.state()
    outcome = None if attempt is None else attempt.outcome()
    row["state"], row["message"] = state, ""
    if attempt is not None:
        row["started"] = attempt.started.get("at")
        row["last"] = row["started"] or attempt.wanted.get("at") or row["last"]
    if outcome is not None:
        row["message"], row["ended"], row["last"] = outcome.message, outcome.at, outcome.at
        row["seconds"] = _between(row["started"], outcome.at)
    if outcome is not None and outcome.state in ("complete", "partial") and message and not outcome.message:
        row["message"] = message  # its run directory was damaged since


def _rows(run: str, findings: Findings) -> Iterator[Row]:
    for choice, hypotheses, estimates in (
        ("", findings.hypotheses, findings.estimates),
        *((f"{one.choice} {one.value}", one.hypotheses, one.estimates) for one in findings.alternatives),
    ):
        yield from ({"run": run, "choice": choice, **_row(one)} for one in hypotheses)
        yield from ({"run": run, "choice": choice, **_row(one)} for one in estimates)


def _row(found: Finding | Estimate) -> Row:
    shared = {
        name: getattr(found, name) for name in ("measure", "estimate", "low", "high", "confidence", "status", "message")
    }
    prompts = found.n.get("prompt")
    if isinstance(found, Estimate):
        own = {"sort": "estimate", "id": "", "claim": "", "verdict": "", "p": None, "p_corrected": None}
        return {**shared, **own, "pair": found.pair, "task": found.task, "side": found.side, "prompts": prompts}
    own = {"sort": "hypothesis", "id": found.id, "claim": found.claim, "verdict": found.verdict, "side": ""}
    pairs, tasks = (" ".join(dict.fromkeys(getattr(term, name) for term in found.terms)) for name in ("pair", "task"))
    return {
        **shared,
        **own,
        "p": found.p,
        "p_corrected": found.p_corrected,
        "pair": pairs,
        "task": tasks,
        "prompts": prompts,
    }


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _last(folder: Path) -> str | None:
    """When something was last done in a run directory."""
    times = [found[0] for path in (folder / EVENTS, folder / FINDINGS) if (found := _stat(path)) is not None]
    seconds = max(times, default=0) / 1e9
    if not 0 < seconds < 2**37:  # years that are none, where a clock was wrong
        return None
    return utc_text(seconds, precision="milliseconds")


def _between(first: str | None, second: str | None) -> float | None:
    """Seconds between two times; None where the clock went back, or a time is not known."""
    if not first or not second:
        return None
    try:
        seconds = (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
    except (ValueError, TypeError):
        return None
    return seconds if seconds >= 0 else None
