"""The first page: all runs, filtered, with what they found at a glance."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from mechshift_core.service.api.shared import TheService
from mechshift_core.service.pages.templating import page
from mechshift_core.service.pages.words import STATES, VERDICTS, query_of
from mechshift_core.service.search import known, list_runs
from mechshift_core.service.service import Service
from mechshift_core.service.stream import GOING

router = APIRouter(include_in_schema=False)
PER_PAGE = 50
Word = Annotated[str, Query(max_length=200)]


@router.get("/")
def runs(
    request: Request,
    service: TheService,
    q: Annotated[str, Query(max_length=500)] = "",
    state: Word = "",
    study: Word = "",
    model: Word = "",
    task: Word = "",
    verdict: Word = "",
    after: Annotated[str, Query(max_length=1000)] = "",
) -> Response:
    """Runs, the last active first."""
    filters = {"q": q, "state": state, "study": study, "model": model, "task": task, "verdict": verdict}
    found = list_runs(
        service.index.database,
        text=q,
        state=[state] if state in STATES else (),
        verdict=verdict if verdict in VERDICTS else "",
        study=study,
        model=model,
        task=task,
        limit=PER_PAGE,
        after=after or None,
    )
    words = known(service.index.database)
    return page(
        request,
        "runs",
        rows=[_shown(service, row) for row in found.rows],
        total=found.total,
        next=f"/{query_of(**filters, after=found.next)}" if found.next else "",
        first=f"/{query_of(**filters)}" if after else "",
        filters=filters,
        filtered=any(filters.values()),
        choices={
            "state": [one for one in STATES if one in words["states"] or one == state],
            "study": words["studies"],
            "model": words["models"],
            "task": words["tasks"],
            "verdict": VERDICTS,
        },
        going=service.index.count_open() > 0,
        outside=any(row["state"] in GOING for row in found.rows),
    )


def _shown(service: Service, row: dict[str, Any]) -> dict[str, Any]:
    """A row with what a page shows of it besides: counts of verdicts, and how far it is where it runs."""
    going = row["state"] in GOING
    return {
        **row,
        "going": going,
        "models": row["models"].split(),
        "tasks": row["tasks"].split(),
        "verdicts": [(one, row[one.replace(" ", "_")]) for one in VERDICTS if row[one.replace(" ", "_")]],
        "progress": service.progress(row["name"]) if going else None,
    }
