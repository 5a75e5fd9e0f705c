"""The application: the interface and the pages behind the guard."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI

from mechshift_core import __version__
from mechshift_core.service.api import files, findings, operation, runs, specs
from mechshift_core.service.api.shared import answer_errors
from mechshift_core.service.guard import Guard
from mechshift_core.service.pages import (
    assets,
    comparing,
    finding_list,
    login,
    new_run,
    overview,
    questions,
    run_page,
    trash,
    trends,
)
from mechshift_core.service.pages.errors import error_page
from mechshift_core.service.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
DESCRIPTION = (
    "Hand in specs, watch them run, read what they found. Times are UTC. What is not a success is answered by "
    "`{error: {message, problems}}`."
)


class Counting:
    """Counts answers by status."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._service.answers[message["status"]] += 1
            await send(message)

        await self._app(scope, receive, counted)


def make_app(service: Service, *, host: str = "127.0.0.1") -> ASGIApp:
    """The application of a server.

    Args:
        service: Its parts; the keeper is started and stopped with the application.
        host: The address it listens on, by which it may be addressed.
    """

    @asynccontextmanager
    async def alive(app: FastAPI) -> AsyncIterator[None]:
        service.keeper.start()
        try:
            yield
        finally:
            service.checker.stop()
            service.keeper.stop()

    app = FastAPI(
        title="mechshift",
        version=__version__,
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=alive,
    )
    app.state.service = service
    answer_errors(app, error_page)
    api = APIRouter(prefix="/api/v1")
    for part in (specs, runs, files, findings):
        api.include_router(part.router)
    app.include_router(api)
    app.include_router(operation.router)
    for pages in (assets, overview, run_page, new_run, finding_list, trends, comparing, questions, trash, login):
        app.include_router(pages.router)
    hosts = frozenset(name.lower() for name in (*LOOPBACK, host, *service.settings.hosts))
    guard = Guard(app, settings=service.settings, tokens=service.tokens, hosts=hosts, secret=secrets.token_bytes(32))
    return Counting(guard, service)
