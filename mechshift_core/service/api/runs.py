"""Runs: handing in, listing, watching, cancelling, resuming, deleting, and what a run left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import Field

from mechshift_core.run_files import FINDINGS, PROVENANCE, REPORT, SPEC
from mechshift_core.service.api.shared import ERRORS, Answer, By, MissingError, TheService, existing
from mechshift_core.service.api.specs import Handed
from mechshift_core.service.deleting import delete, erase, restore, trashed
from mechshift_core.service.guard import REPORT_POLICY
from mechshift_core.service.jobs import Job
from mechshift_core.service.logs import read_log
from mechshift_core.service.search import list_runs
from mechshift_core.service.service import Service
from mechshift_core.service.stream import MOST_STREAMS, watch
from mechshift_core.service.submissions import RefusedError
from mechshift_core.service.table_rows import read_table, table_names

router = APIRouter(tags=["runs"], responses=ERRORS)
StateName = Literal[
    "queued", "running", "cancelling", "complete", "partial", "failed", "cancelled", "died", "unfinished"
]
Limit = Annotated[int, Query(ge=1, le=1000)]


class Progress(Answer):
    """How far a run is."""

    what: str
    done: int
    total: int
    seconds_left: float | None
    at: str


class RunAnswer(Answer):
    """How a run stands. Times are UTC; `seconds` is how long the last attempt took."""

    name: str
    study: str
    title: str
    state: StateName
    message: str
    submitted_by: str
    submitted: str | None
    started: str | None
    ended: str | None
    last: str | None
    seconds: float | None
    models: list[str]
    tasks: list[str]
    supported: int
    refuted: int
    inconclusive: int
    not_estimable: int


class RunDetails(RunAnswer):
    """A run, with its progress."""

    progress: Progress | None
    attempts: int


class RunList(Answer):
    """A part of a list of runs; `next` is what to give as `after` for the part behind it."""

    runs: list[RunAnswer]
    next: str | None
    total: int


class StateAnswer(Answer):
    """The state of a run."""

    name: str
    state: StateName


class LogAnswer(Answer):
    """A part of a log; `next` is where the part behind it begins (bytes)."""

    text: str
    next: int
    attempt: int


class TrashedAnswer(Answer):
    """A run in the trash; `at` is when it was deleted (Unix time)."""

    id: str
    run: str
    at: int


class TableAnswer(Answer):
    """Rows of a table."""

    columns: list[str]
    rows: list[list[Any]]
    total: Annotated[int, Field(description="rows that fit the filters")]


@router.post("/runs", status_code=202)
def submit(
    handed: Handed,
    service: TheService,
    by: By,
    response: Response,
    key: Annotated[str, Header(alias="Idempotency-Key", max_length=200, pattern=r"^[\x20-\x7e]*$")] = "",
) -> RunDetails:
    """Hand in a spec. It is on the disk when this is answered; the same key sent again is the same run."""
    taken = service.submissions.submit(handed.spec, handed.contents(), by=by, key=key.strip())
    service.keeper.wake()
    response.headers["Location"] = f"/api/v1/runs/{taken.name}"
    if not taken.new:
        response.status_code = 200
    return details(service, taken.name)


@router.get("/runs")
def runs(
    service: TheService,
    q: Annotated[str, Query(max_length=500, description="words that name, study, title, models or tasks hold")] = "",
    state: Annotated[list[StateName] | None, Query()] = None,
    verdict: Literal["", "supported", "refuted", "inconclusive", "not estimable"] = "",
    study: Annotated[str, Query(max_length=200)] = "",
    model: Annotated[str, Query(max_length=200)] = "",
    task: Annotated[str, Query(max_length=200)] = "",
    by: Annotated[str, Query(max_length=200)] = "",
    limit: Limit = 50,
    after: Annotated[str | None, Query(max_length=1000)] = None,
) -> RunList:
    """Runs, the last active first."""
    page = list_runs(
        service.index.database,
        text=q, state=state or (), verdict=verdict, study=study, model=model, task=task, by=by, limit=limit,
        after=after,
    )  # fmt: skip
    return RunList(runs=[RunAnswer(**_lists(row)) for row in page.rows], next=page.next, total=page.total)


@router.get("/runs/{name}")
def run(name: str, service: TheService) -> RunDetails:
    """How a run stands."""
    return details(service, existing(service, name))


@router.get("/runs/{name}/events", response_class=StreamingResponse)
async def events(name: str, service: TheService, request: Request) -> StreamingResponse:
    """A run as it goes on, as server-sent events: `run` whenever something changes, `log`, and `end`."""
    existing(service, name)
    if service.streams >= MOST_STREAMS:
        raise RefusedError(f"{MOST_STREAMS} pages watch runs already", 10)
    credential = request.scope["state"]["credential"]

    async def gone() -> bool:
        """The client has left, or its token was revoked meanwhile."""
        return not service.tokens.lets_in(credential) or await request.is_disconnected()

    return StreamingResponse(
        watch(service, name, gone),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


@router.get("/runs/{name}/log")
def log(
    name: str,
    service: TheService,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
    attempt: Annotated[int | None, Query(ge=1, le=10**6)] = None,
) -> LogAnswer:
    """What the process of a run wrote, from a byte on; of its last attempt unless one is given."""
    found = read_log(Job(service.root.job(existing(service, name))), offset=offset, attempt=attempt)
    return LogAnswer(text=found.text, next=found.next, attempt=found.attempt)


@router.post("/runs/{name}/cancel")
def cancel(name: str, service: TheService, by: By) -> StateAnswer:
    """Have a run end early; what is complete is kept."""
    return StateAnswer(name=name, state=service.cancel(existing(service, name), by))  # type: ignore[arg-type]


@router.post("/runs/{name}/resume")
def resume(name: str, service: TheService, by: By) -> StateAnswer:
    """Have a run that has ended go on where it was."""
    return StateAnswer(name=name, state=service.resume(existing(service, name), by))  # type: ignore[arg-type]


@router.delete("/runs/{name}")
def remove(name: str, service: TheService) -> TrashedAnswer:
    """Move a run to the trash."""
    found = delete(service.index, existing(service, name))
    return TrashedAnswer(id=found.id, run=found.run, at=found.at)


@router.get("/trash")
def trash(service: TheService) -> list[TrashedAnswer]:
    """What is in the trash, the last deleted first."""
    return [TrashedAnswer(id=one.id, run=one.run, at=one.at) for one in trashed(service.index)]


@router.post("/trash/{id}/restore")
def put_back(id: str, service: TheService) -> StateAnswer:
    """Move a run back out of the trash."""
    name = restore(service.index, _in_trash(service, id))
    return StateAnswer(name=name, state=service.run(name)["state"])


@router.delete("/trash/{id}", status_code=204)
def remove_for_good(id: str, service: TheService) -> None:
    """Remove a run in the trash for good."""
    erase(service.index, _in_trash(service, id))


@router.get("/runs/{name}/spec", response_class=PlainTextResponse)
def spec(name: str, service: TheService) -> PlainTextResponse:
    """The spec, as it was handed in."""
    job = Job(service.root.job(existing(service, name)))
    return PlainTextResponse(_file(job.spec if job.exists else service.root.run(name) / SPEC).read_text("utf-8"))


@router.get("/runs/{name}/findings", response_class=FileResponse)
def findings(name: str, service: TheService) -> FileResponse:
    """`findings.json`."""
    return _json(service, name, FINDINGS)


@router.get("/runs/{name}/provenance", response_class=FileResponse)
def provenance(name: str, service: TheService) -> FileResponse:
    """`provenance.json`."""
    return _json(service, name, PROVENANCE)


@router.get("/runs/{name}/report", response_class=FileResponse)
def report(name: str, service: TheService) -> FileResponse:
    """The report, as a page that reaches nothing."""
    path = _file(service.root.run(existing(service, name)) / REPORT)
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/runs/{name}/tables")
def tables(name: str, service: TheService) -> list[str]:
    """The tables of a run."""
    return table_names(service.root.run(existing(service, name)))


@router.get("/runs/{name}/tables/{table}", response_model=TableAnswer)
def table(
    name: str,
    table: str,
    service: TheService,
    format: Literal["json", "csv", "parquet"] = "json",
    where: Annotated[list[str] | None, Query(max_length=20, description="COLUMN=VALUE; all must hold")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000_000)] = 1000,
    offset: Annotated[int, Query(ge=0, le=2**53)] = 0,
) -> Any:
    """Rows of a table, as JSON, CSV or Parquet."""
    folder = service.root.run(existing(service, name))
    if table not in table_names(folder):
        raise MissingError(f"{name} has no table {table!r}")
    found = read_table(folder, table, where=where or (), limit=limit, offset=offset)
    if format == "json":
        return TableAnswer(columns=found.frame.columns, rows=[list(row) for row in found.plain()], total=found.total)
    media = "text/csv; charset=utf-8" if format == "csv" else "application/vnd.apache.parquet"
    headers = {"Content-Disposition": f'attachment; filename="{name}-{table}.{format}"'}
    return Response(found.written(format), media_type=media, headers=headers)


def details(service: Service, name: str) -> RunDetails:
    """A run of the index, as an answer."""
    return RunDetails(**_lists(service.run(name)))


def _lists(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"models": row["models"].split(), "tasks": row["tasks"].split()}


def _json(service: Service, name: str, file: str) -> FileResponse:
    return FileResponse(_file(service.root.run(existing(service, name)) / file), media_type="application/json")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise MissingError(f"{path.parent.name} has no {path.name} yet")
    return path


def _in_trash(service: Service, id: str) -> str:
    if not any(one.id == id for one in trashed(service.index)):
        raise MissingError(f"nothing in the trash is called {id!r}")
    return id
