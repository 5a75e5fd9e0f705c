"""A hypothesis over the runs of its study."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from mechshift_core.service.api.shared import TheService
from mechshift_core.service.pages.drawings import course
from mechshift_core.service.pages.templating import page
from mechshift_core.service.search import hypotheses_of, known, trend

router = APIRouter(include_in_schema=False)
MOST = 200
"""Runs that are drawn: the last ones."""
Word = Annotated[str, Query(max_length=200)]


@router.get("/trend")
def over_time(request: Request, service: TheService, study: Word = "", id: Word = "") -> Response:
    """How a finding went, the first run first; what to choose from where none is named."""
    database = service.index.database
    studies = known(database)["studies"]
    ids = hypotheses_of(database, study) if study else []
    points = [*trend(database, study=study, id=id)][-MOST:] if study and id else []
    shown = []
    for number, point in enumerate(points):
        before = points[number - 1] if number else None
        changes = []
        if before is not None and before["spec_sha256"] != point["spec_sha256"]:
            changes.append("another spec")
        if before is not None and before["verdict"] != point["verdict"]:
            changes.append(f"{before['verdict']} before")
        shown.append({**point, "number": number + 1, "at": point["ended"] or point["last"], "changes": changes})
    return page(
        request,
        "trend",
        study=study,
        id=id,
        studies=studies,
        ids=ids,
        points=shown,
        drawing=course(shown, id) if shown else None,
        claim=shown[-1]["claim"] if shown else "",
        measure=shown[-1]["measure"] if shown else "",
    )
