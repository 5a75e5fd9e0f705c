"""Filling templates: autoescape always on, control characters made visible, and what every page shows."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader

from mechshift_core import __version__
from mechshift_core.service.pages import words
from mechshift_core.service.pages.assets import address
from mechshift_core.service.service import Service
from reports.templating import new_environment

NAVIGATION = (
    ("/", "Runs"),
    ("/new", "New run"),
    ("/findings", "Findings"),
    ("/trend", "Trend"),
    ("/sql", "SQL"),
    ("/trash", "Trash"),
)
"""Address and name of the pages that every page links to."""
HEADERS = {"Referrer-Policy": "same-origin", "Vary": "Cookie"}
"""With `no-referrer` a browser says of a form that its origin is `null`, and the guard refuses it."""


@cache
def environment() -> Environment:
    """The one environment of the pages; `report/` are the report's templates."""
    made = new_environment(
        ChoiceLoader(
            [PackageLoader("mechshift_core.service.pages"), PrefixLoader({"report": PackageLoader("reports")})]
        )
    )
    made.filters.update(duration=words.duration, ago=words.ago, clock=words.clock, plural=words.plural)
    made.globals.update(
        asset=address, version=__version__, navigation=NAVIGATION, STATES=words.STATES, VERDICTS=words.VERDICTS
    )
    return made


def page(request: Request, template: str, /, status: int = 200, **context: Any) -> HTMLResponse:
    """A page: the template `templates/NAME.html.j2`, filled."""
    service: Service = request.app.state.service
    shown = {
        "form_token": form_token(request),
        "by": request.scope["state"]["by"],
        "let_in": not service.tokens.required or bool(request.scope["state"]["by"]),
        "trouble": service.trouble().replace(f"{service.root.folder}/", ""),
        "path": request.url.path,
        **context,
    }
    text = environment().get_template(f"{template}.html.j2").render(**shown)
    return HTMLResponse(text.encode("utf-8", errors="replace"), status, headers=HEADERS)


def form_token(request: Request) -> str:
    """What the forms of a page send along."""
    state = request.scope["state"]
    return str(state["guard"].form_token(request.scope))
