"""What every request passes before anything looks at it: host, origin, size, rate, token; and the headers of answers.

A server that asks for no token listens to its own machine only, where any page of a browser can send requests, too. So
the Host must be one of the server's own (a page elsewhere whose name was pointed here is refused), and what changes
something must come from the server's own pages or from no page at all.
"""

from __future__ import annotations

import hmac
import json
import re
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from mechshift_core.errors import MechshiftError
from mechshift_core.service.places import Places
from mechshift_core.service.settings import Settings
from mechshift_core.service.tokens import Tokens

COOKIE = "mechshift_token"
SAFE = ("GET", "HEAD", "OPTIONS")
HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
OPEN_PATHS = ("/health", "/ready", "/login", "/assets/")
"""What is answered without a token: whether the server is there, and how to show it one."""
UNCOUNTED = ("/health", "/ready")
"""What is answered at once, however much else a client has asked for; so are events, which take no thread."""
LITTLE = 65536
"""Bytes of a request of somebody who has shown no token where one is needed."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Of a report: it runs its own script, in an origin of its own, and reaches nothing."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
    "content-security-policy": POLICY,
}
"""Of every answer that does not set them itself."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]


class TooLargeError(Exception):
    """The body of a request is larger than allowed."""


@dataclass(slots=True)
class Rates:
    """How many requests each client has sent in the last minute, about."""

    most: int
    clock: Callable[[], float] = time.monotonic
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def allows(self, client: str) -> bool:
        """Count a request; False where it is one too many."""
        moment = self.clock()
        with self._lock:
            left, before = self._left.get(client, (float(self.most), moment))
            left = min(float(self.most), left + (moment - before) * self.most / 60)
            self._left[client] = (max(0.0, left - 1), moment)
            if len(self._left) > 10_000:
                self._left = {name: one for name, one in self._left.items() if moment - one[1] < 60}
        return left >= 1


class Guard:
    """The outermost layer of the application.

    Args:
        app: What is guarded.
        settings: Of the server.
        tokens: Who is let in.
        hosts: Names by which the server may be addressed, in lower case, without port.
        secret: From which the tokens in forms are made; another one at every start.
    """

    def __init__(self, app: Any, *, settings: Settings, tokens: Tokens, hosts: frozenset[str], secret: bytes) -> None:
        self.app = app
        self.settings = settings
        self.tokens = tokens
        self.hosts = hosts
        self.secret = secret
        self.rates = Rates(settings.requests_per_minute)
        self.places = Places()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        began = over = False

        async def answering(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            if over:
                return  # the reason was given; what the application makes of the rest is of no interest
            if message["type"] == "http.response.start":
                began = True
                there = {name.lower() for name, _ in message["headers"]}
                added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in there]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(answering, scope, *refusal)
            return
        most, seen = scope["state"]["most_bytes"], 0

        async def counting() -> Any:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > most:
                if not began:
                    await _answer(answering, scope, 413, f"the request is larger than {most} bytes")
                over = True
                raise TooLargeError
            return message

        with suppress(TooLargeError):
            if scope["path"] in UNCOUNTED or scope["path"].endswith("/events"):
                await self.app(scope, counting, answering)
                return
            async with self.places.one(scope["state"]["client"], changing=scope["method"] not in SAFE):
                await self.app(scope, counting, answering)

    def form_token(self, scope: Scope) -> str:
        """What a form of a page must send along, so that no other page's form is taken for it."""
        return hmac.new(self.secret, str(scope["state"]["credential"]).encode(), sha256).hexdigest()

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and reason where a request is not let in; otherwise None, and the scope says whose it is."""
        if _host(headers.get("host", "")) not in self.hosts:
            return 421, "this server is not addressed by that Host; its administrator names hosts in server.yaml"
        if scope["method"] not in SAFE and not self._own_page(headers):
            return 403, "a request of another site's page is not taken"
        credential = _credential(headers)
        try:
            required = self.tokens.required
            owner = self.tokens.owner(credential) if required and credential else None
        except MechshiftError as error:
            return 503, str(error)
        address = scope["client"][0] if scope.get("client") else ""
        client = owner.name if owner else f"address {address}"
        most = LITTLE + (0 if required and owner is None else self.settings.most_bytes * 2)  # JSON may write one as six
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            return 413, f"the request is larger than {most} bytes"
        if not self.rates.allows(client):
            return 429, f"more than {self.settings.requests_per_minute} requests a minute; wait a little"
        scope.setdefault("state", {})
        scope["state"]["by"] = owner.name if owner else ""
        scope["state"]["credential"] = credential if owner else ""
        scope["state"]["guard"] = self
        scope["state"]["client"], scope["state"]["most_bytes"] = client, most
        if (
            required
            and owner is None
            and not any(
                scope["path"] == path or (path.endswith("/") and scope["path"].startswith(path)) for path in OPEN_PATHS
            )
        ):
            return 401, "a token is needed: `Authorization: Bearer TOKEN`"
        return None

    def _own_page(self, headers: dict[str, str]) -> bool:
        """Whether a request comes from one of our pages, or from no page at all."""
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        return origin is None or origin.partition("://")[2] == headers.get("host")


def _host(header: str) -> str:
    """The name in a Host header, without the port; empty where it is anything else."""
    found = HOST.fullmatch(header)
    return "" if found is None else found["name"].strip("[]").lower()


def _credential(headers: dict[str, str]) -> str:
    """The token that a request shows: in its header, or in the cookie that the login page has set."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if cookie is None else cookie.value


def _asked(scope: Scope) -> str:
    """The page to show after the login: the one that was asked for, or that has the form that was sent."""
    if scope["method"] not in SAFE:
        return "/"
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


async def _answer(send: Send, scope: Scope, status: int, reason: str) -> None:
    """Refuse a request; a browser that needs a token is sent to the page that asks for it."""
    headers = [(b"content-type", b"application/json")]
    body = json.dumps({"error": {"message": reason, "problems": []}}).encode()
    wants_page = b"text/html" in dict(scope["headers"]).get(b"accept", b"")
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="mechshift"'))
        if wants_page and not scope["path"].startswith("/api/"):
            status, body = 303, b""
            headers.append((b"location", f"/login?next={quote(_asked(scope), safe='')}".encode()))
    if body and wants_page and not scope["path"].startswith("/api/"):
        headers[0] = (b"content-type", b"text/html; charset=utf-8")
        body = f'<!DOCTYPE html><html lang="en"><title>mechshift</title><h1>Not taken</h1><p>{escape(reason)}'.encode()
    if status == 429:
        headers.append((b"retry-after", b"5"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
