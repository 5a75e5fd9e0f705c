"""What a run left: spec, findings, provenance, report, tables, and its files as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, PlainTextResponse, Response
from pydantic import Field

from mechshift_core.execution.store import EVENTS
from mechshift_core.run_files import DECLARATIONS, FINDINGS, PLAN, PROVENANCE, REPORT, SPEC, STATE
from mechshift_core.service.api.shared import ERRORS, Answer, MissingError, TheService, existing
from mechshift_core.service.guard import REPORT_POLICY
from mechshift_core.service.jobs import Job
from mechshift_core.service.service import Service
from mechshift_core.service.table_rows import read_table, table_names

router = APIRouter(tags=["runs"], responses=ERRORS)
FILES = (SPEC, PLAN, FINDINGS, PROVENANCE, STATE, DECLARATIONS, "calibration.json", EVENTS, REPORT)
"""Files of a run directory that are sent as they are, beside its tables; cells are not."""


class FileAnswer(Answer):
    """A file of a run."""

    path: str
    bytes: int


class TableAnswer(Answer):
    """Rows of a table."""

    columns: list[str]
    rows: list[list[Any]]
    total: Annotated[int, Field(description="rows that fit the filters")]


@router.get("/runs/{name}/spec", response_model=None, responses={200: {"content": {"text/plain": {}}}})
def spec(name: str, service: TheService) -> PlainTextResponse:
    """The spec, as it was handed in."""
    job = Job(service.root.job(existing(service, name)))
    content = _file(job.spec if job.exists else service.root.run(name) / SPEC).read_bytes()
    return PlainTextResponse(content)


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


@router.get("/runs/{name}/files")
def files(name: str, service: TheService) -> list[FileAnswer]:
    """The files of a run directory that can be had as they are: all but cells, data and stored statistics."""
    folder = service.root.run(existing(service, name))
    paths = [*FILES, *(f"tables/{table}.parquet" for table in table_names(folder))]
    return [FileAnswer(path=one, bytes=(folder / one).stat().st_size) for one in paths if (folder / one).is_file()]


@router.get("/runs/{name}/files/{path:path}", response_class=FileResponse)
def file(name: str, path: str, service: TheService) -> FileResponse:
    """A file of a run, byte by byte."""
    folder = service.root.run(existing(service, name))
    kind, _, table = path.partition("/")
    known = path in FILES or (kind == "tables" and table in {f"{one}.parquet" for one in table_names(folder)})
    if not known:
        raise MissingError(f"{name} has no file {path!r}")
    headers = {"Content-Disposition": f'attachment; filename="{Path(path).name}"'}
    return FileResponse(_file(folder / path), media_type="application/octet-stream", headers=headers)


def _json(service: Service, name: str, file: str) -> FileResponse:
    return FileResponse(_file(service.root.run(existing(service, name)) / file), media_type="application/json")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise MissingError(f"{path.parent.name} has no {path.name} yet")
    return path
