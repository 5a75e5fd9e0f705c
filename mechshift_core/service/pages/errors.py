"""Errors as pages, for whoever asks with a browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from mechshift_core.service.pages.templating import page

TITLES = {
    400: "That is not possible",
    403: "Not taken",
    404: "Not found",
    405: "Not possible here",
    409: "Not possible as things stand",
    413: "Too large",
    422: "Something is wrong with that",
    429: "Too many requests",
    500: "Something went wrong on the server",
    503: "The server takes on no more now",
}


def error_page(request: Request, status: int, error: Mapping[str, Any], headers: Mapping[str, str]) -> Response | None:
    """The page that says what went wrong; None where a program asks."""
    path = request.url.path
    if path.startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return None
    title = TITLES.get(status, "That did not work")
    made = page(request, "error", status, title=title, message=error["message"], problems=error["problems"])
    made.headers.update(headers)
    return made
