"""Showing a token once, and leaving."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from mechshift_core.service.api.shared import TheService
from mechshift_core.service.guard import COOKIE
from mechshift_core.service.pages.forms import GenuineForm, go_to
from mechshift_core.service.pages.templating import page

router = APIRouter(include_in_schema=False)
DAYS = 30
"""How long a browser keeps a token."""


@router.get("/login")
def ask(request: Request, service: TheService, next: Annotated[str, Query(max_length=2000)] = "/") -> Response:
    """Ask for a token; whoever needs none, or has shown one, is sent on."""
    if not service.tokens.required or request.scope["state"]["by"]:
        return go_to(_own(next))
    return page(request, "login", next=_own(next), wrong=False)


@router.post("/login")
def show(request: Request, service: TheService, form: GenuineForm) -> Response:
    """Keep a token in a cookie that no script can read."""
    token, next = form.one("token").strip(), _own(form.one("next"))
    if service.tokens.required and service.tokens.owner(token) is None:
        return page(request, "login", 401, next=next, wrong=True)
    answer = go_to(next)
    if service.tokens.required:
        answer.set_cookie(
            COOKIE,
            token,
            max_age=DAYS * 86400,
            httponly=True,
            samesite="strict",
            secure=service.settings.secure_cookies,
        )
    return answer


@router.post("/logout")
def leave(request: Request, service: TheService, form: GenuineForm) -> Response:
    """Forget the token."""
    answer = go_to("/login")
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=service.settings.secure_cookies)
    return answer


def _own(address: str) -> str:
    """An address on this server; its first page in place of any other."""
    plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if plain and address.startswith("/") and not address.startswith("//") else "/"
