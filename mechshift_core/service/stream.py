"""A run as it goes on, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from mechshift_core.errors import MechshiftError
from mechshift_core.service.jobs import Job
from mechshift_core.service.logs import read_log
from mechshift_core.service.service import Service

EVERY = 0.3
"""Seconds between two looks at a run."""
ALIVE = 15.0
"""Seconds after which something is sent in any case, so that nobody in between closes the connection."""
MOST_STREAMS = 200
"""Pages that may watch at the same time."""
GOING = ("queued", "running", "cancelling", "died")


async def watch(
    service: Service, name: str, gone: Callable[[], Awaitable[bool]], position: tuple[int, int] = (0, 0)
) -> AsyncIterator[str]:
    """Events of a run until it has ended: `run` (its answer as JSON), `log` (text and where it goes on), `end`.

    A `log` has an id, `ATTEMPT:BYTE`, by which a client that was cut off says what it has seen.

    Args:
        service: The server.
        name: The run.
        gone: Says whether the client has left.
        position: Attempt and byte at which the log goes on.
    """
    service.streams += 1
    try:
        last, quiet = "", 0.0
        while not await gone():
            try:
                text, state, log, number, following = await asyncio.to_thread(_look, service, name, position)
            except MechshiftError:
                yield _event("end", {"state": "deleted"})
                return
            if log["text"]:
                position = (number, following)
                quiet = 0.0
                yield f"id: {number}:{following}\n{_event('log', log)}"
            if text != last:
                last, quiet = text, 0.0
                yield f"event: run\ndata: {text}\n\n"
            if state not in GOING and not log["text"]:
                yield _event("end", {"state": state})
                return
            if quiet >= ALIVE:
                quiet = 0.0
                yield ": still there\n\n"
            quiet += EVERY
            await asyncio.sleep(EVERY)
    finally:
        service.streams -= 1


def _look(service: Service, name: str, position: tuple[int, int]) -> tuple[str, str, dict[str, object], int, int]:
    from mechshift_core.service.api.runs import details

    found = details(service, name)
    job = Job(service.root.job(name))
    last = job.attempt()
    number = 0 if last is None else last.number
    part = read_log(job, offset=position[1] if position[0] == number else 0)
    log: dict[str, object] = {"text": part.text, "next": part.next, "attempt": part.attempt}
    return found.model_dump_json(), found.state, log, part.attempt, part.next


def _event(name: str, content: dict[str, object]) -> str:
    return f"event: {name}\ndata: {json.dumps(content)}\n\n"
