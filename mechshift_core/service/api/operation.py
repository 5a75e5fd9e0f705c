"""For whoever runs the server: is it up, does it do its work, and numbers for Prometheus."""

from __future__ import annotations

import shutil
import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse

from mechshift_core import __version__
from mechshift_core.service.api.shared import ERRORS, Answer, TheService

router = APIRouter(tags=["operation"], responses=ERRORS)


class Health(Answer):
    """Whether the server is up, and what keeps it from working; empty if nothing does."""

    version: str
    trouble: str


@router.get("/health")
def health(service: TheService) -> Health:
    """The server is up."""
    return Health(version=__version__, trouble=service.trouble())


@router.get("/ready")
def ready(service: TheService) -> JSONResponse:
    """The server takes on runs and executes them; 503 with the reason where it does not."""
    trouble = service.trouble()
    return JSONResponse({"ready": not trouble, "trouble": trouble}, 503 if trouble else 200)


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(service: TheService) -> PlainTextResponse:
    """Numbers for Prometheus."""
    connection = service.index.database.connection()
    states = connection.execute("SELECT state, count(*) FROM runs GROUP BY state").fetchall()
    verdicts = ("supported", "refuted", "inconclusive", "not_estimable")
    sums = connection.execute(f"SELECT {', '.join(f'total({one})' for one in verdicts)} FROM runs").fetchone()
    now = time.monotonic()
    families: list[tuple[str, str, str, list[tuple[str, float]]]] = [
        ("mechshift_info", "gauge", "Version of the server.", [(f'{{version="{__version__}"}}', 1)]),
        ("mechshift_up_seconds", "gauge", "Time since the server began.", [("", now - service.began)]),
        ("mechshift_runs", "gauge", "Runs by state.", [(f'{{state="{state}"}}', count) for state, count in states]),
        (
            "mechshift_hypotheses",
            "gauge",
            "Hypotheses of all runs by verdict.",
            [(f'{{verdict="{name}"}}', value) for name, value in zip(verdicts, sums, strict=True)],
        ),
        ("mechshift_open_runs", "gauge", "Runs that wait or run.", [("", service.index.count_open())]),
        ("mechshift_executing_runs", "gauge", "Runs that run.", [("", service.keeper.running)]),
        ("mechshift_streams", "gauge", "Pages that watch a run.", [("", service.streams)]),
        (
            "mechshift_looked_seconds",
            "gauge",
            "Time since the last look at the runs.",
            [("", now - service.keeper.looked)],
        ),
        ("mechshift_free_bytes", "gauge", "Space on the disk.", [("", shutil.disk_usage(service.root.folder).free)]),
        (
            "mechshift_answers_total",
            "counter",
            "Answers by status.",
            [(f'{{status="{status}"}}', count) for status, count in sorted(service.answers.items())],
        ),
    ]
    lines = []
    for name, kind, text, values in families:
        lines += [
            f"# HELP {name} {text}",
            f"# TYPE {name} {kind}",
            *(f"{name}{label} {value:g}" for label, value in values),
        ]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4; charset=utf-8")
