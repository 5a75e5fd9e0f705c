"""A run: how far it is, what it found, its report and files, and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from mechshift_core.execution.store import EVENTS
from mechshift_core.run_files import FINDINGS, PROVENANCE, REPORT
from mechshift_core.service.api.runs import remove
from mechshift_core.service.api.shared import By, TheService, existing
from mechshift_core.service.jobs import Job, read_json_if_there
from mechshift_core.service.logs import read_log
from mechshift_core.service.pages.forms import GenuineForm, go_to
from mechshift_core.service.pages.templating import page
from mechshift_core.service.pages.words import VERDICTS
from mechshift_core.service.search import list_findings
from mechshift_core.service.stream import GOING
from mechshift_core.service.table_rows import table_names

router = APIRouter(include_in_schema=False)
TAIL = 16 * 1024
"""Bytes of the log that the page shows without a script."""
MOST_FINDINGS = 500
MOST_EVENTS = 1024 * 1024
"""Bytes of the events in which failed cells are looked for."""


@router.get("/runs/{name}")
def run(name: str, request: Request, service: TheService) -> Response:
    """How a run stands."""
    row = service.run(existing(service, name))
    folder, job = service.root.run(name), Job(service.root.job(name))
    found = list_findings(service.index.database, run=name, limit=MOST_FINDINGS)
    provenance = read_json_if_there(folder / PROVENANCE)
    return page(
        request,
        "run",
        run={**row, "models": row["models"].split(), "tasks": row["tasks"].split()},
        going=row["state"] in GOING,
        ours=job.exists,
        progress=row["progress"],
        tally=[(one, row[one.replace(" ", "_")]) for one in VERDICTS if row[one.replace(" ", "_")]],
        findings=found.rows,
        failed=_failed_cells(folder) if row["state"] in GOING else [],
        failures=_failures(provenance, row["message"]),
        problems=_problems(job),
        outcome=_outcome(job),
        log=_tail(job),
        has={
            "report": (folder / REPORT).is_file(),
            "findings": (folder / FINDINGS).is_file(),
            "provenance": bool(provenance),
        },
        tables=[{"name": one, "size": _size(folder, one)} for one in table_names(folder)],
        facts=_facts(provenance),
    )


@router.post("/runs/{name}/cancel")
def cancel(name: str, service: TheService, by: By, form: GenuineForm) -> Response:
    """Have a run end early."""
    service.cancel(existing(service, name), by)
    return go_to(f"/runs/{name}")


@router.post("/runs/{name}/resume")
def resume(name: str, service: TheService, by: By, form: GenuineForm) -> Response:
    """Have a run that has ended go on."""
    service.resume(existing(service, name), by)
    return go_to(f"/runs/{name}")


@router.post("/runs/{name}/delete")
def delete(name: str, service: TheService, form: GenuineForm) -> Response:
    """Move a run to the trash, where it can be had back."""
    return go_to(f"/trash?deleted={remove(name, service).id}")


def _failed_cells(folder: Path) -> list[str]:
    """The cells that have failed since the run was begun the last time, each with its reason."""
    found: list[str] = []
    try:
        with (folder / EVENTS).open("rb") as handle:
            handle.seek(max(0, (folder / EVENTS).stat().st_size - MOST_EVENTS))
            lines = handle.read().splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            event = json.loads(line)
            if event["event"] == "run":
                found.clear()
            elif event["event"] == "cell failed":
                found.append(f"{event['model']} on {event['task']}: {event['reason']}")
        except (ValueError, KeyError, TypeError):
            continue  # half a line, which is still being written or was cut off
    return found


def _failures(provenance: Mapping[str, Any], message: str) -> list[str]:
    """What failed, one by one; what the run says as a whole where nothing is written of them."""
    found = provenance.get("failures")
    listed = [str(one) for one in found] if isinstance(found, list) else []
    whole = "; ".join(listed)
    return [*([message] if message and message != whole else []), *listed]


def _problems(job: Job) -> list[Mapping[str, Any]]:
    """What the last attempt found wrong with the spec."""
    attempt = job.attempt() if job.exists else None
    outcome = None if attempt is None else attempt.outcome()
    return [] if outcome is None else [*outcome.problems]


def _outcome(job: Job) -> dict[str, int] | None:
    """Cells of the last attempt, by where they came from."""
    attempt = job.attempt() if job.exists else None
    outcome = None if attempt is None else attempt.outcome()
    if outcome is None or not (outcome.computed or outcome.cached or outcome.shared):
        return None
    return {"computed": outcome.computed, "cached": outcome.cached, "shared": outcome.shared}


def _tail(job: Job) -> str:
    """The end of the last attempt's log, from a whole line on."""
    attempt = job.attempt() if job.exists else None
    if attempt is None or not attempt.log.is_file():
        return ""
    size = attempt.log.stat().st_size
    text = read_log(job, offset=max(0, size - TAIL)).text
    return text.partition("\n")[2] if size > TAIL else text


def _size(folder: Path, table: str) -> int:
    try:
        return (folder / "tables" / f"{table}.parquet").stat().st_size
    except OSError:
        return 0


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The first things that one asks of a run's origin; everything stands in the file."""
    kept = {name: one for name, one in provenance.items() if name != "failures" and one not in (None, "", [], {})}
    return [(name.replace("_", " "), _short(one)) for name, one in kept.items()][:12]


def _short(value: Any) -> str:
    """A value of the provenance in a line: of what is nested the names, all of it stands in the file."""
    if isinstance(value, dict):
        nested = any(isinstance(one, dict) for one in value.values())
        value = [*value] if nested else [f"{name} {_short(one)}" for name, one in value.items() if one not in ([], {})]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
