"""Forms that a page sends: read without a package, and taken only with the token that the page was given."""

from __future__ import annotations

import hmac
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from mechshift_core.service.pages.templating import HEADERS, form_token

MOST_FIELDS = 500
TOKEN = "form_token"
STALE = "this page is older than the server's last start, or not one of its own; load it again and repeat what you did"


class Form:
    """The fields of a form; each may be there several times."""

    def __init__(self, fields: dict[str, list[str]], *, genuine: bool) -> None:
        self._fields = fields
        self.genuine = genuine
        """Whether the token of the page is there."""

    def one(self, name: str) -> str:
        """A field; empty where it is not there."""
        return self._fields.get(name, [""])[0]

    def all(self, name: str) -> list[str]:
        """Every field of a name."""
        return self._fields.get(name, [])

    def text(self, name: str) -> str:
        """A field with several lines, each ended as in a file."""
        return self.one(name).replace("\r\n", "\n")


async def _body(request: Request) -> bytes:
    return await request.body()


def _read(request: Request, body: Annotated[bytes, Depends(_body)]) -> Form:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "expected a form")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace")
    except ValueError as error:
        raise HTTPException(400, f"not a form: {error}") from error
    sent = fields.get(TOKEN, [""])[0]
    return Form(fields, genuine=hmac.compare_digest(sent.encode(), form_token(request).encode()))


def _genuine(form: Annotated[Form, Depends(_read)]) -> Form:
    if not form.genuine:
        raise HTTPException(403, STALE)
    return form


AnyForm = Annotated[Form, Depends(_read)]
"""A form whose handler looks at `genuine` itself, so that what somebody typed is not lost."""
GenuineForm = Annotated[Form, Depends(_genuine)]


def go_to(address: str) -> RedirectResponse:
    """Send a browser on with a GET, so that loading the page again sends no form again."""
    return RedirectResponse(address, 303, headers=HEADERS)
