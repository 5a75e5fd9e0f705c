"""Findings across runs: lists, a finding over time, comparison, the gate, and questions in SQL."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from mechshift_core.service.api.shared import ERRORS, Answer, MissingError, TheService, at_most, existing
from mechshift_core.service.asking import SQL_LENGTH, query
from mechshift_core.service.queries import save, saved
from mechshift_core.service.search import MOST_ROWS, known, list_findings, trend
from mechshift_core.service.side_by_side import gate, side_by_side

router = APIRouter(tags=["findings"], responses=ERRORS)
Word = Annotated[str, Query(max_length=200)]


class FindingAnswer(Answer):
    """A hypothesis or an estimate of a run; `choice` is empty for the study's first choice."""

    run: str
    study: str
    sort: Literal["hypothesis", "estimate"]
    choice: str
    id: str
    claim: str
    measure: str
    pair: str
    task: str
    side: str
    estimate: float | None
    low: float | None
    high: float | None
    confidence: float
    p: float | None
    p_corrected: float | None
    verdict: str
    status: str
    message: str
    prompts: int | None
    last: str | None


class FindingList(Answer):
    """Findings, and how many there are of them in all."""

    findings: list[FindingAnswer]
    total: int


class TrendPoint(Answer):
    """A finding in one run of its study."""

    run: str
    at: str | None
    estimate: float | None
    low: float | None
    high: float | None
    verdict: str
    status: str
    spec_sha256: str


class ComparedAnswer(Answer):
    """Runs side by side: each row is a hypothesis, with its numbers in each run."""

    runs: list[str]
    rows: list[dict[str, Any]]


class Check(Answer):
    """A baseline, as `mechshift check --update` writes it."""

    baseline: dict[str, Any]
    tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    must_hold: Annotated[tuple[str, ...], at_most(1000), Field(max_length=1000)] = ()


class Question(Answer):
    """A question in SQL about the tables `runs` and `findings`."""

    sql: Annotated[str, Field(min_length=1, max_length=SQL_LENGTH)]
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 1000


class Rows(Answer):
    """What a question found."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


class Saved(Answer):
    """A saved question."""

    sql: Annotated[str, Field(min_length=1, max_length=SQL_LENGTH)]


QueryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")]


@router.get("/findings")
def findings(
    service: TheService,
    q: Annotated[str, Query(max_length=500, description="words that id, claim, measure or study hold")] = "",
    run: Word = "",
    measure: Word = "",
    task: Word = "",
    model: Word = "",
    verdict: Literal["", "supported", "refuted", "inconclusive", "not estimable"] = "",
    sort: Literal["hypothesis", "estimate"] = "hypothesis",
    choices: bool = False,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 200,
) -> FindingList:
    """Findings over all runs, those of the runs last active first."""
    page = list_findings(
        service.index.database,
        text=q, run=run, measure=measure, task=task, model=model, verdict=verdict, sort=sort, choices=choices,
        limit=limit,
    )  # fmt: skip
    return FindingList(findings=[FindingAnswer(**row) for row in page.rows], total=page.total)


@router.get("/known")
def words(service: TheService) -> dict[str, list[str]]:
    """What can be asked for: measures, tasks, models, studies and states that occur."""
    return known(service.index.database)


@router.get("/trend")
def over_time(
    service: TheService,
    study: Annotated[str, Query(max_length=200)],
    id: Annotated[str, Query(max_length=200)],
) -> list[TrendPoint]:
    """A hypothesis of a study over its runs, the first one first."""
    return [
        TrendPoint(
            **{name: row[name] for name in TrendPoint.model_fields if name != "at"}, at=row["ended"] or row["last"]
        )
        for row in trend(service.index.database, study=study, id=id)
    ]


@router.get("/compare")
def compare(service: TheService, run: Annotated[list[str], Query(max_length=50)]) -> ComparedAnswer:
    """Runs side by side."""
    names = [existing(service, name) for name in run]
    return ComparedAnswer(runs=names, rows=side_by_side(service.root, names))


@router.post("/runs/{name}/check")
def check(name: str, check: Check, service: TheService) -> dict[str, Any]:
    """A run against a baseline, as `mechshift check` does; the answer has its exit code."""
    return gate(
        service.root, existing(service, name), check.baseline, tolerance=check.tolerance, must_hold=check.must_hold
    )


@router.get("/runs/{name}/baseline")
def baseline(name: str, service: TheService) -> Response:
    """The baseline that a run makes, to be checked against later."""
    from mechshift_core.gate import read_run

    text = read_run(service.root.run(existing(service, name))).baseline.to_json()
    return Response(text, media_type="application/json")


@router.post("/sql")
def sql(question: Question, service: TheService) -> Rows:
    """Answer a question in SQL; nothing can be changed by it."""
    columns, rows, truncated = query(service.index.database, question.sql, limit=question.limit)
    return Rows(columns=columns, rows=rows, truncated=truncated)


@router.get("/queries")
def queries(service: TheService) -> dict[str, str]:
    """The saved questions, by name."""
    return saved(service.root)


@router.put("/queries/{name}", status_code=204)
def save_query(name: QueryName, question: Saved, service: TheService) -> None:
    """Save a question for all who use the server."""
    save(service.root, name, question.sql)


@router.delete("/queries/{name}", status_code=204)
def remove_query(name: QueryName, service: TheService) -> None:
    """Remove a saved question."""
    if name not in saved(service.root):
        raise MissingError(f"no saved query {name!r}")
    save(service.root, name, None)
