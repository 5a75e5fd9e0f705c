"""The connection of a client with its server: requests, what is sent again, and what an answer that is none means."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.service.client_errors import checked_address, checked_token, error_of, unreachable

if TYPE_CHECKING:
    import httpx

NEEDED = "pip install httpx"
SECONDS = 60.0
"""Longest time between two parts of an answer."""
AWAY = (502, 503, 504)
"""What a server says that has just been started, and who stands before one that is not there."""
EVERY = 0.5
"""Seconds between two tries."""
MOST = 256 * 2**20
"""Bytes of an answer that is read as a whole: more is none of a server's."""
EVENTS = "text/event-stream"
KEPT = ("content-type", "location", "retry-after")
"""Headers of an answer that somebody asks for."""


class Connection:
    """Requests to one server.

    Args:
        server: Its address; MECHSHIFT_SERVER, or this machine's, unless given.
        token: Who asks; MECHSHIFT_TOKEN unless given.
        patience: Seconds for which something is tried again when the server goes away in the middle of it.

    Raises:
        UsageError: if httpx is missing, the address is none, or the token would be sent unencrypted.
    """

    def __init__(self, server: str | None, token: str | None, patience: float) -> None:
        try:
            import httpx
        except ImportError as error:
            raise UsageError(f"speaking with a server needs httpx: {NEEDED}") from error
        self._token = checked_token(token)
        self.server = checked_address(server, self._token)
        self.patience = patience
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        self._http = httpx.Client(base_url=f"{self.server}/api/v1/", headers=headers, timeout=SECONDS)

    def close(self) -> None:
        """Close it."""
        self._http.close()

    def json(self, method: str, path: str, *, spec: str = "", **options: Any) -> Any:
        """The content of an answer.

        Args:
            method: Of the request.
            path: Behind `/api/v1/`.
            spec: What problems of a spec are shown with: its path.
            options: Of the request, as httpx takes them.

        Raises:
            MechshiftError: if it is no success.
        """
        response = self._sent(method, path, options, stream=False)
        self._require(response, spec)
        try:
            return json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise ExecutionError(f"{self.server}: expected JSON, got something else; is it mechshift's?") from error

    @contextmanager
    def answer(self, path: str, **options: Any) -> Iterator[httpx.Response]:
        """An answer that is read part by part.

        Raises:
            MechshiftError: if it is no success, or breaks off.
        """
        import httpx

        response = self._sent("GET", path, options, stream=True)
        try:
            self._require(response)
            yield response
        except httpx.DecodingError as error:
            raise self._unreadable(str(error)) from error
        except httpx.TransportError as error:
            raise unreachable(self.server, error) from error
        finally:
            response.close()

    def events(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Server-sent events, kind and content each; where the connection breaks it is made again, and goes on there.

        Raises:
            ExecutionError: if the server stays away.
        """
        import httpx

        seen, there = "", time.monotonic()
        while True:
            headers = {"accept": "text/event-stream", "last-event-id": seen}
            try:
                with self._http.stream("GET", path, headers=headers) as response:
                    if response.status_code in AWAY and time.monotonic() - there <= self.patience:
                        time.sleep(EVERY)
                        continue
                    self._require(response)
                    if not response.headers.get("content-type", EVENTS).startswith(EVENTS):
                        raise self._unreadable("expected events")
                    for kind, content, id_ in _parsed(response):
                        there, seen = time.monotonic(), id_ or seen
                        yield kind, content
                if time.monotonic() - there > self.patience:
                    raise self._unreadable("it ends without a word, again and again")
            except httpx.DecodingError as error:
                raise self._unreadable(str(error)) from error
            except httpx.TransportError as error:
                if time.monotonic() - there > self.patience:
                    raise unreachable(self.server, error) from error
            time.sleep(EVERY)

    def _sent(self, method: str, path: str, options: dict[str, Any], *, stream: bool) -> httpx.Response:
        """Send a request; once more where the answer was lost and twice does no harm: a question, or what has a key."""
        import httpx

        twice, end = method == "GET" or "headers" in options, time.monotonic() + self.patience
        lost = False
        while True:
            try:
                response = self._http.send(self._http.build_request(method, path, **options), stream=True)
                response = response if stream else self._whole(response)
            except httpx.DecodingError as error:
                raise self._unreadable(str(error)) from error
            except httpx.TransportError as error:
                # A server that was never there is not waited for; one that went away may come back.
                lost = lost or not isinstance(error, httpx.ConnectError)
                if not (twice and lost) or time.monotonic() > end:
                    raise unreachable(self.server, error) from error
            else:
                if not _soon(response) or time.monotonic() > end:
                    return response
                response.close()
            time.sleep(EVERY)

    def _require(self, response: httpx.Response, spec: str = "") -> None:
        if not response.is_success:
            read = response if response.is_closed else self._whole(response)
            raise error_of(self.server, read, spec=spec or "spec.yaml", token=bool(self._token))

    def _whole(self, response: httpx.Response) -> httpx.Response:
        """An answer, read: unpacked, and no more of it than there can be."""
        import httpx

        parts: list[bytes] = []
        size = 0
        try:
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > MOST:
                    raise self._unreadable(f"it has more than {MOST} bytes")
        finally:
            response.close()
        headers = {name: response.headers[name] for name in KEPT if name in response.headers}
        return httpx.Response(response.status_code, headers=headers, content=b"".join(parts))

    def _unreadable(self, reason: str) -> ExecutionError:
        return ExecutionError(f"{self.server}: its answer can't be read ({reason}); is it mechshift's?")


def _soon(response: httpx.Response) -> bool:
    """Whether a server asks to try again in a moment: too many requests, or its index is being made anew."""
    wait = response.headers.get("retry-after", "")
    return response.status_code in (429, 503) and wait.isdecimal() and int(wait) <= 5


def _parsed(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Server-sent events: kind, content, id."""
    kind = data = id_ = left = ""
    for text in response.iter_text():
        # Nothing else ends a line: content may hold what Unicode counts as one.
        *lines, left = (left + text).split("\n")
        if len(left) + len(data) > MOST:
            raise ExecutionError(f"an event of a run has more than {MOST} bytes; is it mechshift's server?")
        for line in lines:
            field, _, value = line.removesuffix("\r").partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                kind = value
            elif field == "id":
                id_ = value
            elif field == "data":
                data += value
            elif not field and not value and data:
                yield kind, _content(data), id_
                kind = data = id_ = ""


def _content(data: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ExecutionError(f"expected an event of a run, got {data[:80]!r}")
    return content
