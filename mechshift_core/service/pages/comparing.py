"""Runs side by side: what each found of every hypothesis, and where they differ, in words."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from mechshift_core.errors import MechshiftError
from mechshift_core.service.api.shared import TheService, existing
from mechshift_core.service.pages.templating import page
from mechshift_core.service.search import list_runs
from mechshift_core.service.side_by_side import MOST_RUNS, side_by_side

router = APIRouter(include_in_schema=False)
OFFERED = 200


@router.get("/compare")
def compare(
    request: Request, service: TheService, run: Annotated[list[str] | None, Query(max_length=100)] = None
) -> Response:
    """Runs beside each other; a list to choose from where fewer than two are named."""
    names = list(dict.fromkeys(run or ()))
    rows: list[dict[str, Any]] = []
    trouble = ""
    if len(names) >= 2:
        names = [existing(service, name) for name in names]
        try:
            rows = side_by_side(service.root, names)
        except MechshiftError as error:
            trouble = str(error).replace(f"{service.root.folder}/", "")
    offered = list_runs(service.index.database, state=("complete", "partial"), limit=OFFERED).rows
    shown = [{**row, "difference": difference(row["runs"])} for row in rows]
    return page(
        request,
        "compare",
        names=names,
        rows=shown,
        differing=sum(bool(row["difference"]) for row in shown),
        refusal=trouble,
        offered=offered,
        most=MOST_RUNS,
    )


def difference(runs: list[dict[str, Any] | None]) -> str:
    """How the verdicts of some runs differ; empty where they are the same."""
    verdicts = ["not there" if one is None else str(one["verdict"]) for one in runs]
    if len(set(verdicts)) == 1:
        return ""
    if len(verdicts) == 2:
        return f"{verdicts[0]}, then {verdicts[1]}"
    counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
