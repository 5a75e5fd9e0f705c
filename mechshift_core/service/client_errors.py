"""What goes wrong between a client and a server, in words: where, what was expected, what came, what to do."""

from __future__ import annotations

import json
import os
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mechshift_core.errors import ExecutionError, MechshiftError, UsageError
from mechshift_core.markdown import printable
from mechshift_core.service.serving import is_loopback
from mechshift_core.spec.problems import Problem, SpecError

if TYPE_CHECKING:
    import httpx

HERE = "http://127.0.0.1:8300"
SERVER, TOKEN, INSECURE = "MECHSHIFT_SERVER", "MECHSHIFT_TOKEN", "MECHSHIFT_INSECURE"
"""Variables of the environment: the address, the token, and whether it may go unencrypted."""


def checked_address(given: str | None, token: str) -> str:
    """The address of a server: the given one, that of the environment, or this machine's.

    Raises:
        UsageError: if it is none, or a token would be sent to another machine unencrypted.
    """
    address = (given or os.environ.get(SERVER) or HERE).strip().rstrip("/")
    try:
        parts = urlsplit(address)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_ok = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or not port_ok:
        raise UsageError(
            f"server {address!r}: expected http://HOST:PORT or https://HOST, as `mechshift serve` shows it"
        )
    if token and parts.scheme == "http" and not is_loopback(parts.hostname) and not os.environ.get(INSECURE):
        raise UsageError(
            f"{address}: the token would go through the network unencrypted; use https:// or a tunnel "
            f"(`ssh -L 8300:127.0.0.1:8300 {parts.hostname}`), or set {INSECURE}=1 in a network that is yours alone"
        )
    return address


def checked_token(given: str | None) -> str:
    """The token: the given one, that of the environment, or none.

    Raises:
        UsageError: if it can be none; the message does not hold it.
    """
    token = (given if given is not None else os.environ.get(TOKEN, "")).strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise UsageError(f"the token ({TOKEN}) holds characters that no token has")
    return token


def unreachable(address: str, error: Exception) -> ExecutionError:
    """A server did not answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ExecutionError(
                f"{address}: its certificate is not trusted ({cause.verify_message}); set SSL_CERT_FILE to the file of "
                "whoever signed it"
            )
        if isinstance(cause, ssl.SSLError):
            return ExecutionError(f"{address}: no TLS is spoken there ({cause.reason}); is it http://?")
        cause = cause.__cause__ or cause.__context__
    reason = str(error) or type(error).__name__
    return ExecutionError(
        f"{address}: not reachable ({reason}); start it with `mechshift serve`, or name another server with --server "
        f"or {SERVER}"
    )


def error_of(address: str, response: httpx.Response, *, spec: str, token: bool) -> MechshiftError:
    """The error that an answer tells of.

    Args:
        address: Of the server.
        response: What it answered, read.
        spec: What its problems are shown with: the path of the spec file.
        token: Whether a token was sent.
    """
    status = response.status_code
    message, problems = _body(response)
    if status == 422 and problems:
        return SpecError(_problem(spec, one) for one in problems)
    if status == 401:
        if token:
            return UsageError(f"{address}: the token is not let in (revoked, or another server's); ask for a new one")
        return UsageError(
            f"{address}: a token is needed; set {TOKEN} to one that `mechshift tokens create NAME` has made there"
        )
    if message is None:
        if response.is_redirect:
            target = printable(response.headers.get("location", ""))
            return UsageError(f"{address}: it says to go to {target} ({status}); give that as the server")
        if status in (502, 503, 504):
            return ExecutionError(f"{address}: what stands in front of the server does not reach it (status {status})")
        return ExecutionError(f"{address}: expected a mechshift server's answer, got status {status} of something else")
    if status == 421:
        return UsageError(f"{address}: {message}")
    if status in (400, 403, 404, 405, 413, 415, 422):
        return UsageError(f"{address}: {message}")
    return ExecutionError(f"{address}: {message}")


def _body(response: httpx.Response) -> tuple[str | None, list[Any]]:
    """Message and problems of an answer; None where it is not in the form of a server's."""
    try:
        error = json.loads(response.content)["error"]
        message, problems = error["message"], error.get("problems", [])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, []
    if not isinstance(message, str) or not isinstance(problems, list):
        return None, []
    return printable(message), [one for one in problems if isinstance(one, dict)]


def _problem(spec: str, content: dict[str, Any]) -> Problem:
    def whole(name: str) -> int:
        value = content.get(name)
        return value if isinstance(value, int) and value > 0 else 0

    line, column = whole("line"), whole("column")
    message, source = printable(str(content.get("message", ""))), str(content.get("source_line", ""))
    return Problem(spec, line if column else 0, min(column, len(source) + 1) if source else column, message, source)
