"""Starting a server, and ending it when it is asked to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from pathlib import Path

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.service.root import Root
from mechshift_core.service.settings import read_settings

NEEDED = "pip install fastapi uvicorn"


def serve(folder: Path, *, host: str, port: int, up: Callable[[str], None]) -> None:
    """Serve a folder until the process is asked to end; runs go on, and are found again by the next server.

    Args:
        folder: The root.
        host: Address to listen on. One that other machines reach needs a token.
        port: Port to listen on; 0 for one that is free.
        up: Called with the server's address once it answers.

    Raises:
        UsageError: if a package is missing, or the address needs a token, or can't be listened on.
        ExecutionError: if another server serves the folder.
    """
    try:
        import uvicorn

        from mechshift_core.service.app import make_app
    except ImportError as error:
        raise UsageError(f"the server needs {error.name}: {NEEDED}") from error
    from mechshift_core.service.service import Service

    root = Root(folder.resolve())
    with root.claim():
        service = Service.of(root, read_settings(root))
        if not is_loopback(host) and not service.tokens.all():
            raise UsageError(
                f"--host {host}: other machines would reach the server, and it asks for no token; make one first: "
                f"mechshift tokens create NAME --root {folder}"
            )
        listening = _listen(host, port)
        clear(root)
        service.index.open()
        service.index.refresh()
        config = uvicorn.Config(
            make_app(service, host=host),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=3,
            limit_concurrency=1000,
            h11_max_incomplete_event_size=64 * 1024,
            proxy_headers=False,
        )

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets=sockets)
                if self.started:
                    up(f"http://{_shown(host)}:{listening.getsockname()[1]}")

        server = Server(config)
        server.run(sockets=[listening])
        if not server.started:
            raise ExecutionError("the server could not be started; --debug shows why")


def clear(root: Root) -> None:
    """Remove what a server that was killed had begun to take on."""
    from mechshift_core.files import remove

    for pattern in (".new-*", ".check-*"):
        for left in root.own.glob(pattern):
            remove(left)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen on {host}:{port}: {reason}; choose another with --host and --port") from error
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
