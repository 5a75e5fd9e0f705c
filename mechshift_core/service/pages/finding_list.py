"""Findings across runs: filtered, drawn measure by measure, and as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from mechshift_core.service.api.shared import TheService
from mechshift_core.service.pages.drawings import Scale, axis, forest, scale_of
from mechshift_core.service.pages.templating import page
from mechshift_core.service.pages.words import VERDICTS, query_of
from mechshift_core.service.search import MOST_ROWS, known, list_findings
from mechshift_core.service.service import Service
from mechshift_core.service.table_rows import FORMULA

router = APIRouter(include_in_schema=False)
MOST_DRAWN = 300
Word = Annotated[str, Query(max_length=200)]
Text = Annotated[str, Query(max_length=500)]
COLUMNS = (
    "run study sort choice id claim measure pair task side estimate low high confidence p p_corrected verdict status "
    "message prompts last"
).split()


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for, as in the address."""

    q: Text = ""
    run: Word = ""
    measure: Word = ""
    task: Word = ""
    model: Word = ""
    verdict: Word = ""


Asked = Annotated[Filters, Depends()]
Sort = Literal["hypothesis", "estimate"]


@router.get("/findings")
def findings(
    request: Request, service: TheService, asked: Asked, sort: Sort = "hypothesis", choices: bool = False
) -> Response:
    """Findings, grouped by measure: each group has an axis of its own."""
    filters = asdict(asked)
    rows, total = _found(service, asked, sort=sort, choices=choices, limit=MOST_DRAWN)
    words = known(service.index.database)
    return page(
        request,
        "findings",
        groups=[_group(name, members) for name, members in _grouped(rows).items()],
        shown=len(rows),
        total=total,
        filters=filters,
        sort=sort,
        choices=choices,
        filtered=any(filters.values()) or choices or sort != "hypothesis",
        words={
            "measure": words["measures"],
            "task": words["tasks"],
            "model": words["models"],
            "verdict": VERDICTS,
        },
        csv=f"/findings.csv{query_of(**filters, sort=sort, choices=choices)}",
        most=MOST_ROWS,
    )


@router.get("/findings.csv")
def download(service: TheService, asked: Asked, sort: Sort = "hypothesis", choices: bool = False) -> Response:
    """The same as a file."""
    rows, _ = _found(service, asked, sort=sort, choices=choices, limit=MOST_ROWS)
    return as_csv("findings", COLUMNS, ([row[name] for name in COLUMNS] for row in rows))


def as_csv(name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
    """A file for spreadsheets: a text that one of them would take for a formula begins with an apostrophe."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(_plain(column) for column in columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(target.getvalue().encode("utf-8", errors="replace"), media_type="text/csv", headers=headers)


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and re.match(FORMULA, value) else value


def _found(
    service: Service, asked: Filters, *, sort: Sort, choices: bool, limit: int
) -> tuple[list[dict[str, Any]], int]:
    words = asdict(asked)
    text = words.pop("q")
    if words["verdict"] not in VERDICTS or sort == "estimate":
        words["verdict"] = ""
    found = list_findings(service.index.database, text=text, sort=sort, choices=choices, limit=limit, **words)
    return [*found.rows], found.total


def _grouped(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Measure (with its side, where a level and a shift have other axes) -> rows, in order of first appearance."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        side = {"shift": ", shift", "before": ", level", "after": ", level"}.get(row["side"], "")
        groups.setdefault(f"{row['measure']}{side}", []).append(row)
    return dict(sorted(groups.items()))


def _group(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    scale: Scale = scale_of([row[key] for row in rows for key in ("estimate", "low", "high")])
    drawn = [{**row, "drawing": forest(row, scale, name=f"{row['run']}, {row['id'] or row['task']}")} for row in rows]
    return {"name": name, "axis": axis(scale, name), "rows": drawn}
