"""What the parts of the interface share: the service of a request, who asks, and how errors are answered."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict
from starlette.exceptions import HTTPException

from mechshift_core.errors import ExecutionError, MechshiftError, UsageError
from mechshift_core.service.service import Service
from mechshift_core.service.submissions import ConflictError, RefusedError, as_json
from mechshift_core.spec.problems import SpecError

MOST_ERRORS = 20
LONGEST = 4000
"""Of what is wrong with a request, so much is said."""


def at_most(most: int) -> BeforeValidator:
    """Refuse what holds more before any of it is looked at: of a million wrong values each would be an error."""

    def check(value: Any) -> Any:
        if isinstance(value, list | dict) and len(value) > most:
            raise ValueError(f"at most {most} of them")
        return value

    return BeforeValidator(check)


class Answer(BaseModel):
    """An answer; fields that are added later break no client."""

    model_config = ConfigDict(frozen=True)


class ProblemAnswer(Answer):
    """One thing that is wrong with a spec; line and column are counted from 1, 0 where there is none."""

    line: int
    column: int
    message: str
    source_line: str = ""


class ErrorBody(Answer):
    """What went wrong."""

    message: str
    problems: tuple[ProblemAnswer, ...] = ()


class ErrorAnswer(Answer):
    """Every answer that is no success."""

    error: ErrorBody


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "the request is wrong"},
    401: {"model": ErrorAnswer, "description": "a token is needed"},
    403: {"model": ErrorAnswer, "description": "a request of another site's page"},
    404: {"model": ErrorAnswer, "description": "there is no such thing"},
    409: {"model": ErrorAnswer, "description": "that is not possible as things stand"},
    413: {"model": ErrorAnswer, "description": "too large"},
    422: {"model": ErrorAnswer, "description": "the spec, or an argument, is wrong"},
    429: {"model": ErrorAnswer, "description": "too many requests"},
    503: {"model": ErrorAnswer, "description": "the server takes on no more now"},
}
"""For the description of the interface."""


class MissingError(UsageError):
    """There is no such thing."""


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _by(request: Request) -> str:
    return str(request.scope["state"]["by"])


ErrorPage = Callable[[Request, int, Mapping[str, Any], Mapping[str, str]], Response | None]
TheService = Annotated[Service, Depends(_service)]
By = Annotated[str, Depends(_by)]


def existing(service: Service, name: str) -> str:
    """The name of a run that is there.

    Raises:
        MissingError: if it is not.
    """
    try:
        return service.require(name)
    except UsageError as error:
        raise MissingError(str(error)) from error


def error_of(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers that answer an error."""
    problems: list[dict[str, Any]] = []
    headers: dict[str, str] = {}
    status, message = 500, f"internal error: {type(error).__name__}"
    if isinstance(error, SpecError):
        status, message = 422, "the spec is wrong"
        problems = as_json(error)
    elif isinstance(error, RefusedError):
        status, message, headers = 503, str(error), {"Retry-After": str(error.retry)}
    elif isinstance(error, MissingError):
        status, message = 404, str(error)
    elif isinstance(error, ConflictError | ExecutionError):
        status, message = 409, str(error)
    elif isinstance(error, MechshiftError):
        status, message = 400, str(error)
    elif isinstance(error, sqlite3.DatabaseError):
        status, message, headers = 503, f"the index can't be read now ({error}); it is mended", {"Retry-After": "2"}
    elif isinstance(error, UnicodeEncodeError):
        status, message = 400, "a text of the request holds half a character"
    elif isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        status, message, headers = 503, f"the server's disk: {reason}; try again later", {"Retry-After": "60"}
    elif isinstance(error, RequestValidationError):
        status = 422
        named = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:MOST_ERRORS]]
        message = "; ".join(named)[:LONGEST]
    elif isinstance(error, HTTPException):
        status, message, headers = error.status_code, str(error.detail), dict(error.headers or {})
    return status, {"error": {"message": message, "problems": problems}}, headers


def answer_errors(app: FastAPI, page: ErrorPage | None = None) -> None:
    """Have every error answered in one form.

    Args:
        app: The application.
        page: Makes the answer to whoever asks with a browser, of status, error and headers; None where a program asks.
    """

    def answer(request: Request, error: Exception) -> Response:
        status, body, headers = error_of(error)
        service: Service = request.app.state.service
        if isinstance(error, sqlite3.DatabaseError):
            service.index.suspect = True
            service.keeper.wake()
        text = body["error"]["message"].replace(f"{service.root.folder}/", "")
        body["error"]["message"] = text
        if page is not None and (made := page(request, status, body["error"], headers)) is not None:
            return made
        return JSONResponse(body, status, headers)

    kinds = (MechshiftError, RequestValidationError, HTTPException, sqlite3.DatabaseError, UnicodeEncodeError, OSError)
    for sort in (*kinds, Exception):
        app.add_exception_handler(sort, answer)
