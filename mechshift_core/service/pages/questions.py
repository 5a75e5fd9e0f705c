"""Questions in SQL: asked, saved for all, and answered as a table or as CSV. Nothing can be changed by them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from mechshift_core.errors import MechshiftError
from mechshift_core.service.api.shared import TheService
from mechshift_core.service.asking import SQL_LENGTH, query
from mechshift_core.service.pages.finding_list import as_csv
from mechshift_core.service.pages.forms import STALE, AnyForm, Form, GenuineForm, go_to
from mechshift_core.service.pages.templating import page
from mechshift_core.service.pages.words import query_of
from mechshift_core.service.queries import save, saved
from mechshift_core.service.search import MOST_ROWS, columns_of
from mechshift_core.service.service import Service

router = APIRouter(include_in_schema=False)
ROWS = 1000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
EXAMPLE = """SELECT run, id, estimate, low, high, verdict
FROM findings
WHERE sort = 'hypothesis' AND choice = ''
ORDER BY measure, run"""


@router.get("/sql")
def form(
    request: Request, service: TheService, saved_query: Annotated[str, Query(alias="saved", max_length=100)] = ""
) -> Response:
    """The form; with the answer to a saved question where one is named."""
    text = saved(service.root).get(saved_query)
    if text is None:
        missing = f"there is no saved query {saved_query!r}" if saved_query else ""
        return _page(request, service, EXAMPLE, refusal=missing, status=404 if missing else 200)
    return _answered(request, service, text, name=saved_query)


@router.post("/sql")
def ask(request: Request, service: TheService, form: AnyForm) -> Response:
    """Answer a question, or save it."""
    text = form.text("sql")
    if not form.genuine:
        return _page(request, service, text, refusal=STALE, status=403)
    if len(text) > SQL_LENGTH or not text.strip():
        return _page(request, service, text, refusal=f"a query has 1 to {SQL_LENGTH} characters", status=422)
    if form.one("do") == "save":
        return _save(request, service, form, text)
    if form.one("do") == "csv":
        try:
            columns, rows, _ = query(service.index.database, text, limit=MOST_ROWS)
        except MechshiftError as error:
            return _page(request, service, text, refusal=str(error), status=400)
        return as_csv("query", columns, rows)
    return _answered(request, service, text, name=form.one("name"))


@router.post("/sql/remove")
def remove(service: TheService, form: GenuineForm) -> Response:
    """Remove a saved question."""
    if form.one("name") in saved(service.root):
        save(service.root, form.one("name"), None)
    return go_to("/sql")


def _save(request: Request, service: Service, form: Form, text: str) -> Response:
    name = form.one("name").strip()
    if not NAME.fullmatch(name):
        reason = "give the query a name of letters, digits, spaces, `.`, `_`, `-`, at most 100"
        return _page(request, service, text, refusal=reason, status=422, name=name)
    save(service.root, name, text)
    return go_to(f"/sql{query_of(saved=name)}")


def _answered(request: Request, service: Service, text: str, *, name: str) -> Response:
    try:
        columns, rows, truncated = query(service.index.database, text, limit=ROWS)
    except MechshiftError as error:
        return _page(request, service, text, refusal=str(error), status=400, name=name)
    answer = {"columns": columns, "rows": rows, "truncated": truncated}
    return _page(request, service, text, answer=answer, name=name)


def _page(
    request: Request,
    service: Service,
    text: str,
    *,
    refusal: str = "",
    answer: dict[str, Any] | None = None,
    status: int = 200,
    name: str = "",
) -> Response:
    return page(
        request,
        "sql",
        status,
        text=text,
        refusal=refusal,
        answer=answer,
        name=name,
        queries=saved(service.root),
        columns=columns_of(service.index.database),
        most=MOST_ROWS,
        longest=SQL_LENGTH,
    )
