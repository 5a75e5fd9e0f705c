"""Runs: handing in, listing, watching, cancelling, resuming, deleting, and what a run left."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from mechshift_core.service.api.shared import ERRORS, Answer, By, MissingError, TheService, existing
from mechshift_core.service.api.specs import Handed
from mechshift_core.service.deleting import delete, erase, restore, trashed
from mechshift_core.service.jobs import Job
from mechshift_core.service.logs import read_log
from mechshift_core.service.search import list_runs
from mechshift_core.service.service import Service
from mechshift_core.service.stream import MOST_STREAMS, watch
from mechshift_core.service.submissions import RefusedError

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
async def events(
    name: str,
    service: TheService,
    request: Request,
    seen: Annotated[str, Header(alias="Last-Event-ID", max_length=100)] = "",
) -> StreamingResponse:
    """A run as it goes on, as server-sent events: `run` whenever something changes, `log`, and `end`.

    The log goes on where the event with this id ended.
    """
    existing(service, name)
    if service.streams >= MOST_STREAMS:
        raise RefusedError(f"{MOST_STREAMS} pages watch runs already", 10)
    credential = request.scope["state"]["credential"]

    async def gone() -> bool:
        """The client has left, or its token was revoked meanwhile."""
        return not service.tokens.lets_in(credential) or await request.is_disconnected()

    return StreamingResponse(
        watch(service, name, gone, _position(seen)),
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


def _position(seen: str) -> tuple[int, int]:
    """Attempt and byte at which a log goes on; its beginning where the id is none of ours."""
    attempt, _, offset = seen.partition(":")
    plain = all(part.isascii() and part.isdecimal() and len(part) < 16 for part in (attempt, offset))
    return (int(attempt), int(offset)) if plain else (0, 0)


def details(service: Service, name: str) -> RunDetails:
    """A run of the index, as an answer."""
    return RunDetails(**_lists(service.run(name)))


def _lists(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"models": row["models"].split(), "tasks": row["tasks"].split()}


def _in_trash(service: Service, id: str) -> str:
    if not any(one.id == id for one in trashed(service.index)):
        raise MissingError(f"nothing in the trash is called {id!r}")
    return id
